"""The fast steps before the instrument, through the door that `mlp train` and `mlp compare` take."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manual import ACTIVATIONS, LOSSES
from manual.buffered import layers
from manual.buffered.program import Program
from manual.structure.architecture import NORMALIZATIONS
from mlp_torch import compare
from mlp_torch.__main__ import main
from mlp_torch.model import to_torch
from mlp_torch.steps import STEPS
from tests.problems import DTYPES, Problem, problems

FAST = sorted(set(STEPS) - {"manual"})
PROBLEM = Problem(11, (3, 7, 5, 2), 0)


@pytest.mark.parametrize("engine", FAST)
@given(problems(), st.data())
@settings(max_examples=40)
def test_no_stage_of_any_network_is_wrong(engine: str, problem: Problem, data: st.DataObject) -> None:
    loss = data.draw(st.sampled_from(list(LOSSES)))
    dtype = DTYPES[data.draw(st.sampled_from(list(DTYPES)))]
    model = problem.model(
        dtype,
        activation=data.draw(st.sampled_from(list(ACTIVATIONS))),
        output_activation=data.draw(st.sampled_from(["identity", "identity", *ACTIVATIONS])),
        normalization=data.draw(st.sampled_from(["none"] if engine == "compiled" else NORMALIZATIONS)),
        dropout=data.draw(st.sampled_from([0.0, 0.4])),
    )
    torch.manual_seed(problem.seed)
    report = compare(to_torch(model), *problem.batch(loss, dtype), loss=loss, engine=engine)
    assert report.engines == (engine, "autograd")
    assert not any(row.verdict == "wrong" for row in (*report.stages.values(), *report.parameters.values()))


@pytest.mark.parametrize("engine", FAST)
@pytest.mark.parametrize("rows", [{"activation": "relu"}, {"activation": "gelu", "dropout": 0.5}], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_step_is_exact_where_nothing_rounds(engine: str, rows: dict[str, Any], dtype: str) -> None:
    model = to_torch(PROBLEM.model(DTYPES[dtype], **rows))
    x, y = PROBLEM.batch("cross_entropy", DTYPES[dtype])
    report = compare(model, x, y, loss="cross_entropy", engine=engine, tier="exact")
    assert report.title == "dyadic twin", report.twin_note
    assert all(row.verdict == "exact" for row in report.parameters.values())


@pytest.mark.parametrize(("stage", "array"), [("linear", 2), ("linear_backward_weight", 2)])
def test_a_fault_in_the_last_digits_of_a_buffered_kernel_is_wrong_at_its_stage(
    stage: str, array: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = getattr(layers, stage)

    def faulty(do: Program, *arrays: Any) -> None:
        right(do, *arrays)
        do(np.multiply, arrays[array], 1 + 1e-12, out=arrays[array])

    x, y = PROBLEM.batch("mse")
    model = to_torch(PROBLEM.model(activation="tanh"))
    assert compare(model, x, y, loss="mse", engine="buffered").passed
    monkeypatch.setattr(layers, stage, faulty)
    report = compare(model, x, y, loss="mse", engine="buffered")
    wrong = [name for name, row in report.stages.items() if row.verdict == "wrong"]
    assert wrong[0] == {"linear": "z1", "linear_backward_weight": "dW3"}[stage]


def test_what_a_step_cannot_do_is_said_with_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    model = to_torch(PROBLEM.model())
    x, y = PROBLEM.batch("mse")
    with pytest.raises(ValueError, match="unknown step 'numba': choose from manual, buffered"):
        compare(model, x, y, loss="mse", engine="numba")
    with pytest.raises(ValueError, match=r"the torch step: it only trains, .*call model.train\(\)"):
        compare(model.eval(), x, y, loss="mse", engine="torch")
    assert compare(model, x, y, loss="mse", engine="manual").passed
    assert main(["compare", "--data", "xor", "--normalization", "layer_norm", "--engine", "compiled"]) == 2
    error = capsys.readouterr().err
    assert error == "mlp compare: --engine compiled: the compiled engine has no layer_norm\n"


@pytest.mark.parametrize("engine", STEPS)
def test_compare_shows_the_step_that_was_asked_for(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--data", "moons", "--hidden", "7", "5", "--engine", engine]) == 0
    said = capsys.readouterr().out
    assert f" {engine}" in said
    assert "dyadic twin exact" in said
