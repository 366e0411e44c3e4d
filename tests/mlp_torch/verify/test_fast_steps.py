"""The fast steps before the instrument: every stage certified against its proven value, and autograd's."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import manual
from manual import ACTIVATIONS, LOSSES, OPTIMIZERS
from manual.architecture import NORMALIZATIONS
from manual.buffered import BufferedEngine, layers
from manual.buffered.program import Program
from mlp_torch.model import to_torch
from mlp_torch.trace import trace
from mlp_torch.verify.verdicts import compare_traces
from tests.problems import DTYPES, Problem, problems


def buffered(model: manual.MLP, loss: str) -> Any:
    return BufferedEngine(model, loss, OPTIMIZERS["sgd"](model.parameters))


ENGINES = {"buffered": buffered}


@pytest.mark.parametrize("engine", ENGINES)
@given(problems(), st.data())
@settings(max_examples=60)
def test_no_stage_is_wrong_in_any_network(engine: str, problem: Problem, data: st.DataObject) -> None:
    loss = data.draw(st.sampled_from(list(LOSSES)))
    dtype = DTYPES[data.draw(st.sampled_from(list(DTYPES)))]
    model = problem.model(
        dtype,
        activation=data.draw(st.sampled_from(list(ACTIVATIONS))),
        output_activation=data.draw(st.sampled_from(["identity", "identity", *ACTIVATIONS])),
        normalization=data.draw(st.sampled_from(NORMALIZATIONS)),
        dropout=data.draw(st.sampled_from([0.0, 0.4])),
    )
    x, y = problem.batch(loss, dtype)
    masks = model.draw_masks(len(x))
    theirs = trace(to_torch(model), x, y, loss, masks=masks)
    report = compare_traces(
        ENGINES[engine](model, loss).trace(x, y, masks=masks), theirs, (engine, "autograd")
    )
    assert report.passed, str(report)
    assert not any(row.verdict == "wrong" for row in report.stages.values())


@pytest.mark.parametrize(("stage", "array"), [("linear", 2), ("linear_backward_weight", 2)])
def test_a_fault_in_the_last_digits_of_a_buffered_kernel_is_wrong_at_its_stage(
    stage: str, array: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = getattr(layers, stage)

    def faulty(do: Program, *arrays: Any) -> None:
        right(do, *arrays)
        do(np.multiply, arrays[array], 1 + 1e-12, out=arrays[array])

    problem = Problem(11, (3, 7, 5, 2), 0)
    x, y = problem.batch("mse")
    model = problem.model(activation="tanh")
    theirs = trace(to_torch(model), x, y, "mse")
    assert compare_traces(buffered(model, "mse").trace(x, y), theirs).passed
    monkeypatch.setattr(layers, stage, faulty)
    report = compare_traces(buffered(model, "mse").trace(x, y), theirs, ("buffered", "autograd"))
    wrong = [name for name, row in report.stages.items() if row.verdict == "wrong"]
    assert wrong[0] == {"linear": "z1", "linear_backward_weight": "dW3"}[stage]
