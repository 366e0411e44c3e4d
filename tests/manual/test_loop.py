"""The NumPy training loop: it finds what can be found, by its seed, and stops at what is not finite."""

from typing import Any

import numpy as np
import pytest

from manual import MLP, OPTIMIZERS, fit
from manual.numbers import Array
from manual.training.engine import ManualEngine
from manual.training.fit import NotFiniteError
from manual.training.recipe import Recipe
from tests.manual.comparing import PROBLEM, bits, copies

LINE = np.array([[-2.0], [-1.0], [1.0], [2.0]])
XOR = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


def engine(model: MLP, loss: str, optimizer: str, l1: float = 0.0, **options: Any) -> ManualEngine:
    return ManualEngine(model, loss, OPTIMIZERS[optimizer](model.parameters, **options), Recipe(l1=l1))


@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_the_loop_finds_the_line(batch_size: int) -> None:
    model = MLP((1, 1))
    epochs = list(
        fit(engine(model, "mse", "sgd"), LINE, 3 * LINE - 1, epochs=80, batch_size=batch_size, lr=0.1)
    )
    assert epochs[-1].loss < 1e-8 < 1e-2 < epochs[0].loss
    assert [e.epoch for e in epochs] == list(range(1, 81))
    assert epochs[-1].steps == 80 * -(-4 // batch_size)
    np.testing.assert_allclose(model.parameters["layers.0.weight"], 3, atol=1e-3)
    np.testing.assert_allclose(model.parameters["layers.0.bias"], -1, atol=1e-3)


@pytest.mark.parametrize(
    ("loss", "outputs", "y"),
    [
        ("cross_entropy", 2, np.array([0, 1, 1, 0])),
        ("multi_margin", 2, np.array([0, 1, 1, 0])),
        ("bce_with_logits", 1, np.array([[0.0], [1.0], [1.0], [0.0]])),
        ("hinge", 1, np.array([[-1.0], [1.0], [1.0], [-1.0]])),
    ],
)
def test_the_loop_learns_xor(loss: str, outputs: int, y: Array) -> None:
    model = MLP((2, 16, outputs), activation="tanh", seed=1)
    learner = engine(model, loss, "adam")
    assert learner.evaluate(XOR, y)[1] != 1
    list(fit(learner, XOR, y, epochs=150, batch_size=4, lr=0.05))
    assert learner.evaluate(XOR, y)[1] == 1
    assert list(learner.parameters()) == list(model.parameters)


def test_training_is_a_function_of_the_seed() -> None:
    def trained(seed: int) -> dict[str, tuple[Any, ...]]:
        model = MLP((2, 8, 2), dropout=0.25, normalization="batch_norm", seed=seed)
        list(
            fit(
                engine(model, "cross_entropy", "sgd", momentum=0.9),
                XOR,
                np.array([0, 1, 1, 0]),
                epochs=5,
                batch_size=2,
                lr=0.05,
                seed=seed,
            )
        )
        return bits(model.parameters | model.buffers)

    assert trained(1) == trained(1)
    assert trained(1) != trained(2)


def test_the_l1_penalty_is_in_the_loss_and_the_weights_gradients_only() -> None:
    x, y = PROBLEM.batch("mse")
    plain, penalised = (engine(PROBLEM.model(activation="tanh"), "mse", "sgd", l1) for l1 in (0.0, 0.1))
    weights = copies(plain.model.parameters)
    difference = penalised.step(x, y, 0.0) - plain.step(x, y, 0.0)
    total = sum(np.abs(w).sum() for n, w in weights.items() if n.endswith("weight"))
    np.testing.assert_allclose(difference, 0.1 * total)
    for name, weight in weights.items():
        expected = 0.1 * np.sign(weight) if name.endswith("weight") else 0
        gap = penalised.gradients[name] - plain.gradients[name]
        np.testing.assert_allclose(gap, np.broadcast_to(expected, weight.shape), atol=1e-15)


def test_a_loss_that_explodes_stops_the_loop_with_the_last_finite_weights() -> None:
    model = MLP((1, 1))
    with pytest.raises(NotFiniteError, match=r"the loss became (inf|nan) at step \d+ \(epoch \d+\)"):
        list(fit(engine(model, "mse", "sgd"), LINE, LINE, epochs=500, batch_size=4, lr=1e3))
    assert all(np.isfinite(p).all() for p in model.parameters.values())
