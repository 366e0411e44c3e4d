"""The buffered step is the plain one: same gradients, same training, no allocation."""

import tracemalloc
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manual import ACTIVATIONS, LOSSES, MLP, OPTIMIZERS, fit
from manual.architecture import NORMALIZATIONS
from manual.buffered import BufferedEngine, activations, losses, optimizers
from manual.buffered.erf import erf
from manual.buffered.program import Program, Workspace, borrows
from manual.numbers import Array
from manual.training.engine import ManualEngine
from manual.training.fit import NotFiniteError
from manual.training.recipe import Recipe
from tests.problems import DTYPES, Problem, disagreements, near_kink, problems, share_of_gradients

PROBLEM = Problem(11, (3, 7, 5, 2), 0)
RULES: dict[str, list[dict[str, Any]]] = {
    "sgd": [
        {},
        {"momentum": 0.9, "dampening": 0.3, "weight_decay": 1e-2},
        {"momentum": 0.8, "nesterov": True},
    ],
    "rmsprop": [{}, {"momentum": 0.7, "weight_decay": 1e-2}],
    "adagrad": [{"lr_decay": 0.1}, {"weight_decay": 1e-2}],
    "adam": [{}, {"betas": (0.7, 0.95), "weight_decay": 1e-2}],
    "adamw": [{}, {"weight_decay": 0.1}],
}


def engine(kind: Any, model: MLP, loss: str, optimizer: str = "sgd", l1: float = 0.0, **options: Any) -> Any:
    return kind(model, loss, OPTIMIZERS[optimizer](model.parameters, **options), Recipe(l1=l1))


def test_every_row_has_its_buffered_kernel() -> None:
    assert set(activations.KERNELS) == set(ACTIVATIONS)
    assert set(losses.KERNELS) == set(LOSSES)
    assert set(optimizers.UPDATE_RULES) == set(OPTIMIZERS.values())
    assert set(RULES) == set(OPTIMIZERS)


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


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_no_two_arrays_are_one_in_layers_of_one_and_two_units(activation: str, loss: str) -> None:
    """There a row, a column and a number have the shape of a whole stage."""
    sizes = [(1, 1, 1), (1, 2, 1), (2, 1, 2), (2, 1, 1, 2), (2, 2, 2)]
    for i, (n, normalization) in enumerate(product((1, 2), NORMALIZATIONS)):
        if n == 1 and normalization == "batch_norm":
            continue
        for shape in sizes[loss == "multi_margin" and 2 :]:
            problem = Problem(n, shape, i)
            model = problem.model(activation=activation, normalization=normalization, dropout=0.2)
            x, y = problem.batch(loss)
            given: dict[str, Any] = {"masks": model.draw_masks(n), "weights": np.linspace(0.5, 2, n)}
            plain = model.trace(x, y, loss, **given)
            learner = engine(BufferedEngine, model, loss)
            if near_kink(plain):
                continue
            assert disagreements(plain, learner.trace(x, y, **given)) == {}
            model.architecture = replace(model.architecture, dropout=0.0)
            steps = engine(BufferedEngine, model, loss)  # which keeps no stage for itself
            plain = model.trace(x, y, loss)
            steps.epoch(x, y, np.arange(n), n, np.zeros(1))
            for name, gradient in plain.gradients.items():
                np.testing.assert_allclose(steps.gradients[name], gradient, rtol=1e-9, atol=1e-9)


def test_arrays_that_were_one_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    shared: dict[Any, Array] = {}

    def lend(self: Workspace, shape: tuple[int, ...], dtype: Any = None) -> Array:
        return shared.setdefault((shape, dtype), np.zeros(shape, dtype or self.dtype))

    monkeypatch.setattr(Workspace, "lend", lend)
    with pytest.raises(AssertionError):
        test_no_two_arrays_are_one_in_layers_of_one_and_two_units("tanh", "mse")


@given(st.lists(st.sampled_from(["nested", "scratch", "mask", "column", "read"]), max_size=40))
def test_scratch_is_nobody_elses_until_it_is_given_back(events: list[str]) -> None:
    do, like = Program(Workspace(np.float64)), np.zeros((1, 1))
    column, out = np.zeros((1, 1)), np.zeros((1, 1))
    waiting: list[Array] = []

    @borrows
    def written(do: Program, held: list[Array], rest: list[str]) -> None:
        held = [*held]
        while rest:
            event = rest.pop()
            if event == "nested":
                written(do, held, rest)
            elif event == "scratch":
                held.append(do.scratch(like))
            elif event == "read" and waiting:
                do(np.add, waiting.pop(), 1, out=out)
            elif event != "read":
                mask = event == "mask"
                waiting.append(
                    do.mask(np.greater, like, 0, like=like) if mask else do.broadcast(column, like)
                )
            arrays = [*held, *waiting]
            assert len({id(a) for a in arrays}) == len(arrays)

    written(do, [], events)


def test_scratch_is_lent_again_to_what_comes_after() -> None:
    do, like = Program(Workspace(np.float64)), np.zeros((3, 5))
    given: list[Array] = []

    @borrows
    def written(do: Program) -> None:
        given.append(do.scratch(like))

    written(do)
    written(do)
    assert given[0] is given[1]
    assert do.scratch(like) is given[0]
    assert do.scratch(like) is not given[0]
    masks = [do.mask(np.greater, like, 0, like=like) for _ in range(2)]
    assert masks[0] is not masks[1]
    do.copy(masks[0].T, np.zeros((5, 3)))  # read through a view
    assert do.mask(np.greater, like, 0, like=like) is masks[0]


@pytest.mark.parametrize("stage", ["d_tanh", "linear_backward_input", "d_cross_entropy"])
def test_a_fault_in_a_kernel_is_seen_at_its_stage(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from manual.buffered import layers

    def faulty(right: Any, array: int) -> Any:
        def wrong(do: Program, *arguments: Any) -> None:
            right(do, *arguments)
            do(np.multiply, arguments[array], 1 + 1e-9, out=arguments[array])

        return wrong

    if stage == "d_tanh":
        row = activations.ActivationKernel(activations.tanh, faulty(activations.d_tanh, 2))
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


def losses_and_weights(kind: Any, optimizer: str, options: dict[str, Any], **rows: Any) -> Any:
    n, dtype = 23, rows.pop("dtype", np.float64)
    loss, l1 = rows.pop("loss", "cross_entropy"), rows.pop("l1", 0.0)
    batch_size = rows.pop("batch_size", 5)
    model = Problem(n, (3, 7, 5, 2), 4).model(dtype, **rows)
    model.generator = np.random.default_rng(7)
    x, y = Problem(n, (3, 7, 5, 2), 4).batch(loss, dtype)
    learner = engine(kind, model, loss, optimizer, l1, **options)
    epochs = list(
        fit(learner, x, y, epochs=4, batch_size=batch_size, lr=0.01, schedule="cosine", warmup_steps=3)
    )
    return [e.loss for e in epochs], learner.parameters(), learner.gradients


@pytest.mark.parametrize(
    ("optimizer", "options"), [(name, options) for name, some in RULES.items() for options in some]
)
def test_epochs_of_every_optimizer_are_the_plain_ones(optimizer: str, options: dict[str, Any]) -> None:
    """Smooth, so that rounding stays rounding over 20 steps."""
    plain, fast = (
        losses_and_weights(kind, optimizer, options, activation="tanh")
        for kind in (ManualEngine, BufferedEngine)
    )
    np.testing.assert_allclose(fast[0], plain[0], rtol=1e-12)
    for name, value in plain[1].items():
        np.testing.assert_allclose(fast[1][name], value, rtol=0, atol=1e-12)
        assert not np.array_equal(value, np.zeros_like(value))


@pytest.mark.parametrize(
    "rows",
    [
        {"dropout": 0.4},
        {"l1": 1e-2},
        {"normalization": "layer_norm"},
        {"normalization": "batch_norm", "dropout": 0.3, "batch_size": 7},
        {"activation": "prelu", "loss": "multi_margin"},
        {"loss": "hinge", "batch_size": 100},
        {"loss": "bce_with_logits", "batch_size": 1},
        {"loss": "mse", "l1": 1e-3, "dropout": 0.2, "batch_size": 22},
    ],
    ids=str,
)
def test_epochs_with_masks_penalties_and_ragged_batches_are_the_plain_ones(rows: dict[str, Any]) -> None:
    given_rows: dict[str, Any] = {"activation": "silu", **rows}
    plain, fast = (
        losses_and_weights(kind, "sgd", {"momentum": 0.9}, **given_rows)
        for kind in (ManualEngine, BufferedEngine)
    )
    np.testing.assert_allclose(fast[0], plain[0], rtol=1e-9)
    for name, value in plain[1].items():
        np.testing.assert_allclose(fast[1][name], value, rtol=0, atol=1e-9)
    for name, value in plain[2].items():
        np.testing.assert_allclose(fast[2][name], value, rtol=0, atol=1e-8)


def test_the_moments_are_the_plain_optimizers() -> None:
    x, y = PROBLEM.batch("mse")
    learners = [engine(kind, PROBLEM.model(), "mse", "adam") for kind in (ManualEngine, BufferedEngine)]
    for learner in learners:
        learner.epoch(x, y, np.arange(11), 3, np.full(4, 0.01))
    plain, fast = learners
    for name, state in plain.optimizer.state.items():
        for kind, value in state.items():
            np.testing.assert_allclose(fast.moments[kind][name], value, rtol=1e-12, atol=1e-18)


def test_the_model_holds_the_weights_of_the_moment_and_loading_brings_others_back() -> None:
    x, y = PROBLEM.batch("mse")
    model = PROBLEM.model()
    learner = engine(BufferedEngine, model, "mse", "sgd")
    before = learner.parameters()
    learner.epoch(x, y, np.arange(11), 4, np.full(3, 0.1))
    assert all(not np.array_equal(model.parameters[n], before[n]) for n in model.parameters)
    learner.load(before)
    assert all(np.array_equal(model.parameters[n], before[n]) for n in model.parameters)
    again = learner.epoch(x, y, np.arange(11), 4, np.full(3, 0.1))
    other = engine(BufferedEngine, PROBLEM.model(), "mse", "sgd")
    assert np.array_equal(again, other.epoch(x, y, np.arange(11), 4, np.full(3, 0.1)))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_after_the_first_allocates_nothing(optimizer: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(97, 31)), rng.integers(0, 7, 97)
    for activation in ACTIVATIONS:
        model = MLP((31, 61, 53, 7), activation=activation, dropout=0.3, normalization="batch_norm")
        learner = engine(BufferedEngine, model, "cross_entropy", optimizer, 1e-3)
        learner.epoch(x, y, np.arange(96), 32, np.full(3, 1e-3))
        (batches,) = learner._batches.values()
        tracemalloc.start()
        try:
            for place in range(3):
                learner.update.prepare(1e-3)
                for call in batches.calls[place]:
                    call()
            batches.step.losses()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 8 * 7 * 32, f"{activation}: {peak} bytes at once, as many as the smallest stage has"


def test_memory_that_a_step_takes_would_be_counted() -> None:
    tracemalloc.start()
    try:
        assert np.ones((53, 32)).sum() + np.ones((53, 32)).sum() > 0
        assert tracemalloc.get_traced_memory()[1] > 8 * 53 * 32
    finally:
        tracemalloc.stop()


def test_a_loss_that_is_not_finite_is_named_by_its_step() -> None:
    steps = []
    for kind in (ManualEngine, BufferedEngine):
        model = MLP((1, 1))
        line = np.array([[-2.0], [-1.0], [1.0], [2.0]])
        with pytest.raises(NotFiniteError) as caught:
            list(fit(engine(kind, model, "mse"), line, line, epochs=500, batch_size=4, lr=1e3))
        steps.append(caught.value.step)
    assert steps[0] == steps[1]


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


def test_a_chunk_takes_several_batches_and_gives_what_single_ones_give(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[Array] = []
    for bytes_ in (2**20, 1):
        monkeypatch.setattr("manual.buffered.engine.CHUNK_BYTES", bytes_)
        learner = engine(BufferedEngine, PROBLEM.model(), "mse")
        x, y = PROBLEM.batch("mse")
        found.append(learner.epoch(x, y, np.arange(11), 3, np.full(4, 0.1)))
        assert {key[1] for key in learner._batches} == ({3, 1} if bytes_ > 1 else {1})
    assert np.array_equal(*found)
