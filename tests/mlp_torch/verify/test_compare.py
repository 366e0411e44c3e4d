"""`compare`: the very model that was given, left as it was found, and a report that says what was found."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import manual
from manual.numbers import Array
from mlp_torch.model import MLP
from mlp_torch.verify import ComparisonReport, WrongGradientError, compare
from mlp_torch.verify.certificate import SEVERITY
from tests.mutants import MUTANTS


def given(dtype: torch.dtype = torch.float64, **rows: Any) -> tuple[MLP, Array, Array]:
    """A model and a batch."""
    model = MLP((5, 7, 6, 3), **{"activation": "tanh", "seed": 3, **rows}, dtype=dtype)
    rng = np.random.default_rng(0)
    return model, rng.normal(size=(8, 5)), rng.integers(0, 3, 8)


def wrong_stages(report: ComparisonReport) -> set[str]:
    return {name for name, row in report.stages.items() if row.verdict == "wrong"}


# ---- it runs the very model ------------------------------------------------------------------------


def test_a_right_model_passes_with_a_row_for_every_parameter_and_stage() -> None:
    model, x, y = given()
    report = compare(model, x, y, loss="cross_entropy")
    assert report.passed
    assert report.verdict in ("exact", "certified")
    assert list(report.parameters) == [name for name, _ in model.named_parameters()]
    assert {"z1", "a3", "loss", "dloss", "dx"} <= set(report.stages)
    assert sum(row.size for row in report.parameters.values()) == model.counts.parameters


HOOKS: dict[str, tuple[Callable[[MLP], Any], str]] = {
    "forward hook": (lambda m: m.layers[1].register_forward_hook(lambda *a: a[2] * 2), "z2 dW2 db2 da1"),
    "activation's forward hook": (
        lambda m: m.activations[0].register_forward_hook(lambda *a: a[2] * 1.5),
        "a1 dz1",
    ),
    "parameter hook": (lambda m: m.layers[1].weight.register_hook(lambda g: g * (1 + 1e-9)), "dW2"),
    "bias hook": (lambda m: m.layers[0].bias.register_hook(lambda g: g.clamp(-1e-3, 1e-3)), "db1"),
    "full backward hook": (
        lambda m: m.layers[1].register_full_backward_hook(lambda mod, gi, go: (gi[0] * 2,)),
        "da1",
    ),
    "activation's full backward hook": (
        lambda m: m.activations[1].register_full_backward_hook(lambda mod, gi, go: (gi[0] + 1,)),
        "dz2",
    ),
}


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_tampers_is_seen_at_its_stage(hook: str) -> None:
    """A forward hook's product stands between z and what follows, so autograd's way back has it too."""
    model, x, y = given()
    register, stages = HOOKS[hook]
    handle = register(model)
    report = compare(model, x, y, loss="cross_entropy")
    assert wrong_stages(report) == set(stages.split())
    for stage in stages.split():
        evidence = report.stages[stage].evidence
        assert [e for e, j in evidence.items() if j.verdict == "wrong"] == ["autograd"]
    handle.remove()
    assert compare(model, x, y, loss="cross_entropy").passed


def test_a_hook_that_only_looks_runs_and_changes_nothing() -> None:
    model, x, y = given()
    seen: list[Any] = []
    model.layers[0].register_forward_hook(lambda *a: seen.append(a[2].shape))
    assert compare(model, x, y, loss="cross_entropy").passed
    assert seen == [(8, 7)]


def test_a_forward_of_ones_own_is_the_one_that_is_judged() -> None:
    class Doubled(nn.Tanh):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(z)

    model, x, y = given()
    model.activations[1] = Doubled()
    assert wrong_stages(compare(model, x, y, loss="cross_entropy")) == {"a2", "dz2"}


def test_a_fault_in_manual_is_wrong_at_its_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = next(m for m in MUTANTS if m.name == "bias mean for sum").plant
    right = manual.MLP.trace
    monkeypatch.setattr(manual.MLP, "trace", lambda self, *a, **o: plant(right(self, *a, **o), "db2"))
    report = compare(*given()[:2], given()[2], loss="cross_entropy")
    assert wrong_stages(report) == {"db2"}
    assert report.parameters["layers.1.bias"].verdict == "wrong"
    with pytest.raises(WrongGradientError, match=r"db2, layers.1.bias: manual's db2\[\d\] is .*proven to be"):
        report.raise_if_wrong()


# ---- the report ------------------------------------------------------------------------------------


def test_the_json_is_valid_and_says_what_the_report_says() -> None:
    model, x, y = given()
    model.layers[1].weight.register_hook(lambda g: g * float("nan"))
    report = compare(model, x, y, loss="cross_entropy", tier="all")

    def refuse(token: str) -> Any:
        raise AssertionError(f"{token} is no JSON")

    found = json.loads(report.to_json(), parse_constant=refuse)
    assert (found["passed"], found["verdict"]) == (False, "wrong")
    assert list(found["parameters"]) == list(report.parameters)
    assert list(found["stages"]) == list(report.stages)
    row = found["parameters"]["layers.1.weight"]
    assert (row["verdict"], row["stage"]) == ("wrong", "dW2")
    assert row["autograd"] is None  # NaN
    assert found["twin"]["passed"]


def test_the_verdict_is_the_worst_row_and_only_wrong_fails() -> None:
    model, x, y = given()
    report = compare(model, x, y, loss="cross_entropy")
    rows = [*report.parameters.values(), *report.stages.values()]
    assert report.verdict == max((row.verdict for row in rows), key=SEVERITY.index)
    report.raise_if_wrong()


def test_the_text_is_a_table_with_a_row_for_every_parameter_and_the_summary() -> None:
    model, x, y = given()
    text = str(compare(model, x, y, loss="cross_entropy"))
    for name, _ in model.named_parameters():
        assert name in text
    assert text.splitlines()[0].startswith("certified: 6 gradients in float64")
    assert max(map(len, text.splitlines()[1:])) <= 118


# ---- tiers -----------------------------------------------------------------------------------------


def test_the_exact_tier_is_bit_equal_on_the_twin_and_says_what_it_changed() -> None:
    model, x, y = given(activation="relu", dropout=0.25)
    report = compare(model, x, y, loss="mse" if y.ndim == 2 else "cross_entropy", tier="exact")
    assert {row.verdict for row in report.parameters.values()} == {"exact"}
    assert "dropout 0.25 → 0.5" in report.twin_note


def test_the_exact_tier_changes_a_mean_that_would_round_into_a_sum_and_says_so() -> None:
    model, x, _ = given(activation="relu")
    report = compare(model, x, np.zeros((8, 3)), loss="mse", tier="exact")
    assert report.reduction == "sum"
    assert "reduction mean → sum" in report.twin_note


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ({"activation": "softplus"}, "softplus has no dyadic values"),
        ({"activation": "selu"}, "selu has no dyadic values"),
        ({"normalization": "layer_norm"}, "layer_norm divides by a square root"),
    ],
)
def test_where_no_twin_exists_the_report_says_so_and_the_certificate_judges(rows: Any, reason: str) -> None:
    model, x, y = given(**rows)
    report = compare(model, x, y, loss="cross_entropy", tier="exact")
    assert reason in report.twin_note
    assert "the certificate judges" in report.twin_note
    assert report.verdict == "certified"
    both = compare(model, x, y, loss="cross_entropy", tier="all")
    assert both.twin is None
    assert reason in both.twin_note


def test_all_tiers_have_the_batch_and_the_twin() -> None:
    model, x, y = given(activation="relu")
    report = compare(model, x, y, loss="cross_entropy", tier="all")
    assert report.twin is not None
    assert {row.verdict for row in report.twin.parameters.values()} == {"exact"}
    assert compare(model, x, y, loss="cross_entropy").twin is None


def test_a_wrong_twin_fails_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: one ulp, far within rounding on an ordinary batch, is a fault on the twin."""
    right = manual.MLP.trace

    def nudged(self: manual.MLP, *a: Any, **o: Any) -> Any:
        t = right(self, *a, **o)
        t.values["db3"] = np.nextafter(t["db3"], np.inf)
        return t

    monkeypatch.setattr(manual.MLP, "trace", nudged)
    model, x, y = given(activation="relu")
    assert compare(model, x, y, loss="cross_entropy").passed
    report = compare(model, x, y, loss="cross_entropy", tier="all")
    assert not report.passed
    with pytest.raises(WrongGradientError, match=r"db3, layers\.2\.bias: no operation rounds here"):
        report.raise_if_wrong()


# ---- bad inputs ------------------------------------------------------------------------------------


def nan_at(x: Array, index: tuple[int, int], value: float) -> Array:
    x = x.copy()
    x[index] = value
    return x


X, Y = given()[1:]
BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "NaN": ({"x": nan_at(X, (2, 3), np.nan)}, ValueError, r"x\[2, 3\] is nan"),
    "infinite": ({"x": nan_at(X, (0, 1), np.inf)}, ValueError, r"x\[0, 1\] is inf"),
    "no sample": ({"x": np.zeros((0, 5)), "y": Y[:0]}, ValueError, "no sample"),
    "features": ({"x": X[:, :4]}, ValueError, r"x has shape \(8, 4\); this network takes \(N, 5\)"),
    "one row": ({"x": X[0]}, ValueError, r"x has shape \(5,\); this network takes \(N, 5\)"),
    "labels' shape": ({"y": Y[:, None]}, ValueError, "one class label a sample"),
    "too few labels": ({"y": Y[:5]}, ValueError, r"y has shape \(5,\)"),
    "label": ({"y": np.array([0, 1, 9, 0, 0, 0, 0, 0])}, ValueError, "label 9 in row 2 is out of range"),
    "(N,) for (N, K)": ({"y": np.zeros(8), "loss": "mse"}, ValueError, r"y has shape \(8,\)"),
    "NaN in y": ({"y": np.full((8, 3), np.nan), "loss": "mse"}, ValueError, r"y\[0, 0\] is nan"),
    "loss": ({"loss": "crossentropy"}, ValueError, "cross_entropy"),
    "tier": ({"tier": "best"}, ValueError, "all, exact, certified"),
    "half": (
        {"model": given(torch.float64)[0].half()},
        ValueError,
        "float16; gradients are judged in float32",
    ),
    "bfloat16": ({"model": given()[0].bfloat16()}, ValueError, "bfloat16; gradients are judged in float32"),
    "Sequential": ({"model": nn.Sequential(nn.Linear(5, 3))}, TypeError, "mlp_torch.MLP, got Sequential"),
    "manual": ({"model": manual.MLP((5, 3))}, TypeError, "mlp_torch.MLP, got MLP"),
    "beyond float32": (
        {"x": X * 1e60, "model": given(torch.float32)[0]},
        ValueError,
        r"x\[0, 0\] is -?inf",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_input_is_refused_with_a_line_that_helps(case: str) -> None:
    changed, error, text = BAD[case]
    arguments = {"model": given()[0], "x": X, "y": Y, "loss": "cross_entropy", **changed}
    model, x, y = (arguments.pop(name) for name in ("model", "x", "y"))
    with pytest.raises(error, match=text):
        compare(model, x, y, **arguments)
