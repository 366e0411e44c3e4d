"""Training on the buffered step is training on the plain one: every rule, masks, moments, batches."""

from typing import Any

import numpy as np
import pytest

from manual import MLP, fit
from manual.buffered import BufferedEngine
from manual.numbers import Array
from manual.training.engine import ManualEngine
from manual.training.fit import NotFiniteError
from tests.manual.learners import PROBLEM, RULES, engine
from tests.problems import Problem


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


def test_a_loss_that_is_not_finite_is_named_by_its_step() -> None:
    steps = []
    for kind in (ManualEngine, BufferedEngine):
        model = MLP((1, 1))
        line = np.array([[-2.0], [-1.0], [1.0], [2.0]])
        with pytest.raises(NotFiniteError) as caught:
            list(fit(engine(kind, model, "mse"), line, line, epochs=500, batch_size=4, lr=1e3))
        steps.append(caught.value.step)
    assert steps[0] == steps[1]


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
