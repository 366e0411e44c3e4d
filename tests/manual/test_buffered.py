"""The buffered step is the plain one, stage by stage; a fault is seen at its stage."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manual import ACTIVATIONS, LOSSES, OPTIMIZERS
from manual.buffered import BufferedEngine, activations, losses, optimizers
from manual.buffered.erf import erf
from manual.buffered.program import Program, Workspace
from manual.structure.architecture import NORMALIZATIONS
from tests.manual.learners import PROBLEM, RULES, engine
from tests.problems import DTYPES, Problem, disagreements, near_kink, problems, share_of_gradients


def test_every_row_has_its_buffered_kernel() -> None:
    assert all(activations.kernel(row).forward is not None for row in ACTIVATIONS.values())
    assert all(losses.kernel(row).gradient is not None for row in LOSSES.values())
    assert set(activations.KERNELS) <= set(ACTIVATIONS)
    assert set(losses.KERNELS) <= set(LOSSES)
    assert set(optimizers.UPDATE_RULES) <= set(OPTIMIZERS.values())
    assert set(RULES) <= set(OPTIMIZERS)


@given(problems(), st.data())
@settings(max_examples=150)
def test_every_stage_is_the_plain_one_within_rounding(problem: Problem, data: st.DataObject) -> None:
    loss = data.draw(st.sampled_from(list(LOSSES)))
    dtype = DTYPES[data.draw(st.sampled_from(list(DTYPES)))]
    model = problem.model(
        dtype,
        activation=data.draw(st.sampled_from(list(ACTIVATIONS))),
        output_activation=data.draw(st.sampled_from(["identity", "identity", *ACTIVATIONS])),
        normalization=data.draw(st.sampled_from(NORMALIZATIONS)),
        dropout=data.draw(st.sampled_from([0.0, 0.4])),
    )
    probabilities = loss == "cross_entropy" and data.draw(st.booleans())
    x, y = problem.batch(loss, dtype, probabilities)
    masks = model.draw_masks(len(x))
    reduction = data.draw(st.sampled_from(["mean", "sum"]))
    plain = model.trace(x, y, loss, reduction=reduction, masks=masks)
    fast = engine(BufferedEngine, model, loss).trace(x, y, reduction=reduction, masks=masks)
    if not near_kink(plain):
        assert disagreements(plain, fast) == {}


@pytest.mark.parametrize("stage", ["d_tanh", "linear_backward_input", "d_cross_entropy"])
def test_a_fault_in_a_kernel_is_seen_at_its_stage(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from manual.buffered import layers

    def faulty(right: Any, array: int) -> Any:
        def wrong(do: Program, *arguments: Any) -> None:
            right(do, *arguments)
            do(np.multiply, arguments[array], 1 + 1e-9, out=arguments[array])

        return wrong

    if stage == "d_tanh":
        right = activations.kernel(ACTIVATIONS["tanh"])
        row = activations.ActivationKernel(right.forward, faulty(right.derivative, 2))
        monkeypatch.setitem(activations.KERNELS, "tanh", row)
    elif stage == "d_cross_entropy":
        row = losses.LossKernel(losses.cross_entropy, faulty(losses.d_cross_entropy, 2))
        monkeypatch.setitem(losses.KERNELS, "cross_entropy", row)
    else:
        monkeypatch.setattr(layers, stage, faulty(layers.linear_backward_input, 2))
    x, y = PROBLEM.batch("cross_entropy")
    model = PROBLEM.model(activation="tanh")
    plain = model.trace(x, y, "cross_entropy")
    assert share_of_gradients(plain) > 0.9
    found = disagreements(plain, engine(BufferedEngine, model, "cross_entropy").trace(x, y))
    assert next(iter(found)) == {"d_tanh": "dz2", "linear_backward_input": "da2"}.get(stage, "dloss")


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_erf_is_within_4_ulp(dtype: Any) -> None:
    import math

    x = np.concatenate([np.linspace(-7, 7, 40_001), np.logspace(-40, 1, 4001), [0.46875]]).astype(dtype)
    do, out = Program(Workspace(dtype)), np.empty_like(x)
    erf(do, x, out)
    for call in do.calls:
        call()
    truth = np.array([math.erf(v) for v in x.tolist()])
    ulp = np.spacing(np.abs(truth).astype(dtype)).astype(np.float64)
    assert np.max(np.abs(out - truth) / np.maximum(ulp, np.finfo(dtype).tiny * np.finfo(dtype).eps)) <= 4


def test_inputs_that_do_not_fit_are_named() -> None:
    learner = engine(BufferedEngine, PROBLEM.model(), "cross_entropy")
    rates, x = np.full(1, 0.1), np.ones((4, 3))
    with pytest.raises(ValueError, match=r"x has shape \(4, 4\); this network takes \(N, 3\)"):
        learner.epoch(np.ones((4, 4)), np.zeros(4, int), np.arange(4), 4, rates)
    with pytest.raises(ValueError, match="label 2 in row 1 is out of range"):
        learner.epoch(x, np.array([0, 2, 0, 0]), np.arange(4), 4, rates)
    with pytest.raises(ValueError, match="y has shape"):
        learner.epoch(x, np.zeros((4, 3)), np.arange(4), 4, rates)
    with pytest.raises(IndexError, match="an index is not among the 4 samples"):
        learner.epoch(x, np.zeros(4, int), np.array([0, 4]), 2, rates)
    learner = engine(BufferedEngine, PROBLEM.model(normalization="batch_norm"), "cross_entropy")
    with pytest.raises(ValueError, match="batch_norm needs at least 2 samples in a training batch, got 1"):
        learner.epoch(x, np.zeros(4, int), np.arange(4), 3, np.full(2, 0.1))
