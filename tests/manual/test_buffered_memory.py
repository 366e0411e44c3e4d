"""The buffered step's memory: no two arrays are one, scratch is lent again, and no step allocates."""

import tracemalloc
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manual import ACTIVATIONS, LOSSES, MLP, OPTIMIZERS
from manual.buffered import BufferedEngine
from manual.buffered.optimizers import UPDATE_RULES
from manual.buffered.program import Program, Workspace, borrows
from manual.numbers import Array
from manual.structure.architecture import NORMALIZATIONS
from tests.manual.learners import engine
from tests.problems import Problem, disagreements, near_kink
from tests.shares import pairs


@pytest.mark.parametrize(("activation", "loss"), pairs(ACTIVATIONS, LOSSES))
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


@pytest.mark.parametrize("optimizer", [name for name, rule in OPTIMIZERS.items() if rule in UPDATE_RULES])
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
