"""The algebra itself: each row's hand-derived source, run on exact numbers, is the derivative of its forward.

Every formula runs unchanged on object arrays: of `Fraction` where it is rational, then equality is
equality; of `arb` (proven enclosures, 240 bits), then the two sides agree to 1e-50. The other side is
`tests/duals.py`, which sees the forward pass only. A constant kept as a float spoils it to 1e-17.
"""

from typing import Any

import numpy as np
import pytest
from flint import arb

from manual import ACTIVATIONS, LOSSES
from manual.activations import Activation
from manual.catalogue.activations import prelu_slope_gradient
from manual.catalogue.layers import BatchNorm, BatchNormEvaluation, LayerNorm
from manual.layers import Dropout, Linear
from manual.numbers import Array
from manual.training.recipe import l1_penalty, l2_penalty
from tests.duals import derivative, entrywise, exact
from tests.manual.algebra.differences import (
    BASES,
    RATIONAL,
    RATIONAL_LOSSES,
    activation_differs,
    differs,
    generic,
    layer_differs,
    loss_differs,
    normalization_differs,
    rows,
)

# ---- activations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "base"), rows(ACTIVATIONS, RATIONAL))
def test_the_derivative_of_an_activation(name: str, base: Any) -> None:
    assert activation_differs(name, base) == ""


EIGHTHS = np.arange(-256, 257) / 8
BESIDE = 2.0**-46  # exact beside all of them; a smooth derivative moves by some 1e-14 there


def jumps(derivative: Any) -> tuple[float, ...]:
    """The eighths from −32 to 32 where a derivative jumps."""
    gap = np.abs(derivative(EIGHTHS + BESIDE) - derivative(EIGHTHS - BESIDE))
    return tuple(int(k) if k == int(k) else float(k) for k in EIGHTHS[gap > 1e-10])


@pytest.mark.parametrize("name", [name for name, row in ACTIVATIONS.items() if row.derivative is not None])
def test_the_kinks_of_an_activation_are_in_its_row(name: str) -> None:
    """Bounds are proven between them: one that is not named makes a bound too small."""
    row = ACTIVATIONS[name]
    slope = [] if row.slope is None else [np.array([0.25])]
    found = jumps(lambda z: row.backward(np.ones_like(z), z, row.forward(z, *slope), *slope))
    assert found == row.kinks, f"f′ of {name} jumps at {found}: write kinks={found} in its row"


@pytest.mark.parametrize("name", [name for name, row in LOSSES.items() if not row.per_sample])
def test_a_loss_says_whether_its_derivative_jumps(name: str) -> None:
    row = LOSSES[name]
    found = jumps(lambda output: row.derivative(output, np.ones_like(output), **row.options))
    assert bool(found) == row.kinks, f"∂ℓ/∂ŷ of {name} jumps at {found} for y = 1: kinks={bool(found)}"


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_floats_compute_the_same_function(name: str) -> None:
    row, z = ACTIVATIONS[name], generic((4, 5), 1, arb)
    slope = [] if row.slope is None else [exact([0.25], arb)]
    exactly = entrywise(float, row.forward(z, *slope)).astype(float)
    rounded = row.forward(entrywise(float, z).astype(float), *[s.astype(float) for s in slope])
    np.testing.assert_allclose(rounded, exactly, rtol=1e-14)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_float32_stays_float32(name: str) -> None:
    row, z = ACTIVATIONS[name], np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)
    slope = [] if row.slope is None else [np.array([0.25], np.float32)]
    a = row.forward(z, *slope)
    found = [a, row.backward(z, z, a, *slope), *([prelu_slope_gradient(z, z)] if slope else [])]
    assert {array.dtype for array in found} == {np.dtype(np.float32)}


def test_a_row_of_ones_own_may_read_all_that_its_backward_line_has() -> None:
    da, z, a = np.arange(3.0), np.arange(3.0) + 10, np.arange(3.0) + 100
    product = Activation("mine", lambda z: z, jacobian_product=lambda da, z, a: da + 2 * z + 3 * a)
    assert np.array_equal(product.backward(da, z, a), da + 2 * z + 3 * a)
    entrywise_row = Activation("mine", lambda z: z, lambda z, a: 2 * z + 3 * a)
    assert np.array_equal(entrywise_row.backward(da, z, a), da * (2 * z + 3 * a))


# ---- losses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("name", "base"), rows(LOSSES, RATIONAL_LOSSES))
def test_the_gradient_of_a_loss(name: str, base: Any, reduction: str) -> None:
    assert loss_differs(name, base, reduction) == ""


def test_the_gradient_of_cross_entropy_with_probabilities() -> None:
    assert loss_differs("cross_entropy", arb, probabilities=True) == ""


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
@pytest.mark.parametrize("penalty", [l1_penalty, l2_penalty])
def test_the_gradient_of_a_penalty(penalty: Any, base: Any) -> None:
    weights = generic((3, 2), 1, base)
    theirs = derivative(lambda w: penalty(w, 0.125)[0], (weights,), 0)
    assert differs(penalty(weights, 0.125)[1], theirs) == ""


# ---- layers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_the_backward_of_linear(base: Any) -> None:
    a, W, b = generic((5, 3), 1, base), generic((2, 3), 2, base), generic((2,), 3, base)

    def backward(d: Array) -> tuple[Any, ...]:
        return Linear.backward_input(d, W), Linear.backward_weight(d, a), Linear.backward_bias(d)

    assert layer_differs(Linear.forward, (a, W, b), backward) == []


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_the_backward_of_dropout(base: Any) -> None:
    a = generic((5, 3), 1, base)
    mask = Dropout.mask((5, 3), 0.25, a, np.random.default_rng(1))
    assert {str(m) for m in mask.flat} == {str(base(0)), str(base(4) / 3)}
    assert layer_differs(Dropout.forward, (a, mask), lambda d: (Dropout.backward(d, mask),)) == []


@pytest.mark.parametrize("layer", [BatchNorm, LayerNorm])
def test_the_backward_of_a_normalization(layer: Any) -> None:
    assert normalization_differs(layer) == []


def test_the_backward_of_batch_norm_in_evaluation() -> None:
    z, weight, bias = generic((5, 3), 1, arb), generic((3,), 2, arb), generic((3,), 3, arb)
    mean, variance = generic((3,), 4, arb), generic((3,), 5, arb, low=1)

    def backward(d: Array) -> tuple[Any, ...]:
        return (
            BatchNormEvaluation.backward_input(d, weight, variance),
            BatchNormEvaluation.backward_weight(d, z, mean, variance),
            BatchNorm.backward_bias(d),
        )

    assert layer_differs(BatchNormEvaluation.forward, (z, weight, bias, mean, variance), backward) == []


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_batch_statistics_are_the_mean_and_the_unbiased_variance(base: Any) -> None:
    mean, variance = BatchNorm.statistics(exact([[1, 0], [2, 4], [6, 5]], base))
    assert differs(mean, exact([3, 3], base)) == ""
    assert differs(variance, exact([7, 7], base)) == ""
