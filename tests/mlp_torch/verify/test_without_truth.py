"""What has no truth is undecided, and only that; with its one row in `truth.py` it is certified."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from flint import arb

from manual import ACTIVATIONS, LOSSES
from manual.activations import Activation
from manual.losses import Loss
from manual.numbers import Array, number
from manual.structure.trace import Trace
from mlp_torch import model as torch_model
from mlp_torch import rows
from mlp_torch.__main__ import main
from mlp_torch.verify import ComparisonReport, WrongGradientError, compare
from mlp_torch.verify.bits import RefusedError
from mlp_torch.verify.certificate import shares
from mlp_torch.verify.kinds import ENTRIES
from mlp_torch.verify.missing import missing_rows, without_truth
from mlp_torch.verify.monitor import Monitor
from mlp_torch.verify.plot import draw
from mlp_torch.verify.propagation import propagate
from mlp_torch.verify.truth import FUNCTIONS, TERMS
from tests.problems import DTYPES, Problem

NETWORK = Problem(11, (3, 7, 5, 2), 5)


def softsign(z: Array) -> Array:
    return z / (1 + np.abs(z))


def d_softsign(z: Array, a: Array) -> Array:
    return 1 / ((1 + np.abs(z)) * (1 + np.abs(z)))


def slipped(z: Array, a: Array) -> Array:
    """A derivative that is a hundredth off above ½."""
    return d_softsign(z, a) * np.where(z > number("0.5", z), number("1.01", z), number(1, z))


def true_softsign(z: Any) -> Any:
    return z / (1 + abs(z)), 1 / (1 + abs(z)) ** 2


def log_cosh(output: Array, y: Array, scale: Any) -> Array:
    d = np.abs(output - y) * number(scale, output)
    return d + np.log1p(np.exp(-2 * d))


def d_log_cosh(output: Array, y: Array, scale: Any) -> Array:
    s = number(scale, output)
    return np.tanh((output - y) * s) * s


def true_log_cosh(output: Any, y: Any, scale: Any) -> Any:
    d = scale * (output - y)
    return abs(d) + (-2 * abs(d)).exp().log1p(), scale * d.tanh()


@pytest.fixture(autouse=True)
def _two_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """An activation, its row in `manual` and its row in the model, and nothing else."""
    row = Activation("softsign", softsign, d_softsign)
    monkeypatch.setitem(ACTIVATIONS, "softsign", row)
    monkeypatch.setitem(torch_model.ACTIVATIONS, "softsign", torch.nn.Softsign)


@pytest.fixture
def _truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FUNCTIONS, "softsign", true_softsign)


@pytest.fixture
def _slip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ACTIVATIONS, "softsign", Activation("softsign", softsign, slipped))


def given(dtype: str = "float64", loss: str = "mse", **names: Any) -> tuple[Any, Array, Array]:
    model = NETWORK.model(DTYPES[dtype], **(names or {"activation": "softsign"}))
    return torch_model.to_torch(model), *NETWORK.batch(loss, DTYPES[dtype])


def report(dtype: str = "float64", tier: str = "certified", **names: Any) -> ComparisonReport:
    return compare(*given(dtype, **names), loss="mse", tier=tier)


def trace_of(loss: str = "mse", **names: Any) -> Trace:
    model = NETWORK.model(**(names or {"activation": "softsign"}))
    return model.trace(*NETWORK.batch(loss), loss)


def undecided(found: ComparisonReport) -> set[str]:
    return {name for name, row in found.stages.items() if row.verdict == "undecided"}


# ---- an activation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_only_the_stages_of_a_row_without_a_truth_are_undecided(dtype: str) -> None:
    found = report(dtype)
    assert undecided(found) == {"a1", "a2", "dz1", "dz2"}
    assert {found.stages[name].note for name in undecided(found)} == {"no truth for softsign"}
    assert {row.verdict for row in found.stages.values()} <= {"exact", "certified", "undecided"}
    assert found.verdict == "undecided"
    assert found.passed


def test_the_report_says_what_is_missing_and_where_it_belongs() -> None:
    found = report()
    for text in (str(found), found._repr_html_()):
        assert "a1, a2, dz2, dz1: undecided, no truth for softsign" in text
        assert "add a row for softsign to mlp_torch/verify/truth.py" in text
    assert "no truth for softsign" in found.summary()
    assert json.loads(found.to_json())["parameters"]["layers.0.weight"]["ratio"] is None


def test_behind_a_row_without_a_truth_no_bound_is_known_and_before_it_every_one() -> None:
    bounds = propagate(trace_of(activation="tanh", output_activation="softsign"))
    known = {name for name, e in bounds.errors.items() if np.isfinite(e).all()}
    assert known == {"z1", "a1", "z2", "a2", "z3"}
    assert bounds.unknown == set(bounds.errors) - known
    assert bounds.kinks == {}


def test_a_parameter_behind_a_row_without_a_truth_is_undecided_and_says_why() -> None:
    found = report()
    assert {row.verdict for row in found.parameters.values()} == {"undecided"}
    assert found.parameters["layers.2.bias"].note == "a1: no truth for softsign"
    assert "–" in found.parameters["layers.2.bias"].cells()


@pytest.mark.usefixtures("_slip")
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_slip_in_a_derivative_without_a_truth_is_seen_against_autograd_and_not_called_wrong(
    dtype: str,
) -> None:
    found = report(dtype)
    assert found.verdict == "undecided"
    assert not found.passed
    assert [row.name for row in found.apart] == ["dz2", "dz1"]
    with pytest.raises(WrongGradientError, match="dz1: autograd differs from the plain formula by"):
        found.raise_if_wrong()


def test_there_is_no_twin_of_a_row_without_dyadic_values() -> None:
    assert report(tier="all").twin_note == "no dyadic twin: softsign has no dyadic values"
    with pytest.raises(RefusedError, match="a1: softsign has no dyadic values"):
        ENTRIES["activation"](trace_of().stage("a1"), trace_of().values)


def test_shares_leave_a_stage_without_a_truth_out() -> None:
    assert set(shares(trace_of(), ["z1", "a1", "dz1", "dW1"])) == {"z1", "dW1"}


def test_a_picture_says_that_a_truth_is_missing() -> None:
    texts = [text.get_text() for text in draw(*given(), "mse").texts]
    assert any("no truth for softsign" in text for text in texts)


def test_the_monitor_judges_what_has_a_bound() -> None:
    monitor = Monitor("mse", 1)
    monitor.observe(*given())
    assert monitor.ratios == {}


@pytest.mark.usefixtures("_slip")
def test_the_monitor_stops_at_a_slip_without_a_truth() -> None:
    with pytest.raises(WrongGradientError, match="no truth for softsign"):
        Monitor("mse", 1).observe(*given())


COMPARE = ["compare", "--data", "moons", "--hidden", "5", "--activation", "softsign", "--no-pager"]


def test_the_command_passes_and_tells_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(COMPARE) == 0
    assert "add a row for softsign to mlp_torch/verify/truth.py" in capsys.readouterr().out


@pytest.mark.usefixtures("_slip")
def test_the_command_fails_where_the_engines_differ(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(COMPARE) == 1
    assert "differs from the plain formula" in capsys.readouterr().out


# ---- and with a truth ------------------------------------------------------------------------------


@pytest.mark.usefixtures("_truth")
@pytest.mark.parametrize("dtype", DTYPES)
def test_with_its_row_of_truth_it_is_certified_and_no_other_file_was_touched(dtype: str) -> None:
    found = report(dtype)
    assert found.verdict in ("certified", "exact")
    assert all(np.isfinite(row.ratio) for row in found.parameters.values())


@pytest.mark.usefixtures("_truth", "_slip")
@pytest.mark.parametrize("dtype", DTYPES)
def test_with_its_row_of_truth_a_slip_is_wrong(dtype: str) -> None:
    assert {row.name for row in report(dtype).wrong} >= {"dz1", "dz2", "layers.0.weight"}


@pytest.mark.usefixtures("_truth")
def test_a_formula_that_cannot_be_recorded_has_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_if(z: Array) -> Array:
        return z / (1 + np.abs(z)) if z.size else z

    monkeypatch.setitem(ACTIVATIONS, "softsign", Activation("softsign", by_if, d_softsign))
    found = report()
    assert undecided(found) == {"a1", "a2", "dz1", "dz2"}
    assert found.stages["a1"].note == "no bound for softsign"
    assert found.passed


# ---- a loss ----------------------------------------------------------------------------------------


@pytest.fixture
def _loss(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_torch(output: torch.Tensor, y: torch.Tensor, reduction: str = "mean", scale: float = 1.0) -> Any:
        d = scale * (output - y).abs()
        terms = d + torch.log1p(torch.exp(-2 * d))
        return {"none": terms, "mean": terms.mean(), "sum": terms.sum()}[reduction]

    row = Loss("log_cosh", "real", log_cosh, d_log_cosh, options={"scale": "1.5"})
    monkeypatch.setitem(LOSSES, "log_cosh", row)
    monkeypatch.setitem(torch_model.LOSSES, "log_cosh", by_torch)


@pytest.mark.usefixtures("_loss")
@pytest.mark.parametrize("weighted", [True, False])
def test_only_the_stages_of_a_loss_without_a_truth_are_undecided(weighted: bool) -> None:
    weights = np.linspace(0.5, 2, NETWORK.n) if weighted else None
    found = compare(*given(activation="tanh"), loss="log_cosh", weights=weights, tier="all")
    assert undecided(found) == {"loss", "dloss"}
    assert found.stages["dloss"].note == "no truth for log_cosh"
    assert found.twin_note == "no dyadic twin: log_cosh has no dyadic values"
    assert found.passed


@pytest.mark.usefixtures("_loss")
@pytest.mark.parametrize("name", ["log_cosh", "log_cosh(scale=0.3)"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_with_its_truth_a_loss_is_certified_with_the_option_that_it_was_given(
    name: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TERMS, "log_cosh", true_log_cosh)
    found = compare(*given(dtype, activation="tanh"), loss=name)
    assert found.verdict == "certified"

    def wrong(output: Any, y: Any, scale: Any) -> Any:
        return true_log_cosh(output, y, scale * (1 + arb("1e-3")))

    monkeypatch.setitem(TERMS, "log_cosh", wrong)
    assert {row.name for row in compare(*given(dtype, activation="tanh"), loss=name).wrong} >= {"dloss"}


# ---- what is missing -------------------------------------------------------------------------------


def test_what_is_missing_is_named_with_its_place_and_what_is_done_without() -> None:
    assert [line for line in missing_rows() if "softsign" in line] == [
        "activation softsign: no row in FUNCTIONS of mlp_torch/verify/truth.py (optional: its stages are "
        "undecided)",
        "activation softsign: no row in ROWS of mlp_torch/verify/kinds/activation/rows.py (optional: its "
        "bounds are derived from its formulas, and it has no dyadic twin)",
    ]
    assert without_truth(trace_of()) == ["softsign"]


def test_nothing_that_stands_in_manual_lacks_its_truth() -> None:
    assert [line for line in missing_rows() if "truth.py" in line and "softsign" not in line] == []


@pytest.mark.parametrize(
    ("name", "room"), [("activation mish", "activation/rows.py"), ("loss huber", "loss/entries.py")]
)
def test_a_row_that_was_added_by_its_truth_alone_has_derived_bounds(name: str, room: str) -> None:
    found = [line.split(" (")[0] for line in missing_rows() if line.startswith(f"{name}: ")]
    assert found == [f"{name}: no row in ROWS of mlp_torch/verify/kinds/{room}"]


def test_the_list_of_all_that_is_missing_has_these_lines(capsys: pytest.CaptureFixture[str]) -> None:
    rows.main()
    assert set(missing_rows()) <= set(capsys.readouterr().out.splitlines())
