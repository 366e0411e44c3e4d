"""What the bit ledger refuses: a trace that may round, an operand whose unit counts."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manual import MLP
from manual.structure.architecture import Architecture
from manual.structure.trace import Trace
from mlp_torch.verify.bits import RefusedError, unit
from mlp_torch.verify.dyadic import problem
from mlp_torch.verify.ledger import prove

DTYPES = {"float64": np.float64, "float32": np.float32}


def one_layer(
    x: Any, w: Any, b: Any, y: Any, loss: str = "mse", dtype: Any = np.float64, **rows: Any
) -> Trace:
    """A trace of one linear layer with these very numbers."""
    w = np.atleast_2d(np.array(w, dtype))
    model = MLP(w.shape[::-1], dtype=dtype, **rows)
    model.parameters["layers.0.weight"], model.parameters["layers.0.bias"] = w, np.array(b, dtype)
    y = np.array(y) if np.asarray(y).dtype.kind == "i" else np.array(y, dtype)
    with np.errstate(all="ignore"):
        return model.trace(np.atleast_2d(np.array(x, dtype)), y, loss)


REFUSED: dict[str, tuple[Any, str]] = {
    "normalization": (Architecture((2, 2, 2), normalization="batch_norm"), "divides by a square root"),
    "softplus": (Architecture((2, 2, 2), "softplus"), "softplus has no dyadic values"),
    "selu": (Architecture((2, 2, 2), "selu"), "selu has no dyadic values"),
    "softmax": (Architecture((2, 2, 2), output_activation="softmax"), "softmax has no dyadic values"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_architecture_without_a_dyadic_problem_is_refused(case: str) -> None:
    architecture, reason = REFUSED[case]
    with pytest.raises(RefusedError, match=reason):
        problem(architecture, "mse", 8, dtype=np.float64, seed=0)


def test_a_margin_over_three_classes_is_refused() -> None:
    with pytest.raises(RefusedError, match="3 classes, which is no power of two"):
        problem(Architecture((2, 3)), "multi_margin", 8, dtype=np.float64, seed=0)
    with pytest.raises(RefusedError, match="3 classes, which is no power of two"):
        prove(one_layer([[1.0]] * 2, [[1.0]] * 3, [0.0] * 3, [0, 1], "multi_margin"))


HALF = [[0.5, 0.25]]
TRACES: dict[str, tuple[Trace, str]] = {
    "mean over 3": (one_layer([[1.0]], [[1.0]] * 3, [0.0] * 3, [[1.0, 2, 3]]), "mean over 3"),
    "not a sentinel": (
        one_layer(HALF, [[1.0, 1.0]], [0.0], [[1.0]], output_activation="tanh"),
        "tanh is dyadic only at",
    ),
    "softplus": (
        one_layer(HALF, [[1.0, 1.0]], [0.0], [[1.0]], output_activation="softplus"),
        "no dyadic values",
    ),
    "leaky relu of 0.01": (
        one_layer([[-1.0, 0.5]], [[1.0, 1.0]], [0.0], [[1.0]], output_activation="leaky_relu"),
        "needs 6. bits of 53|needs 5[4-9] bits",
    ),
    "logits": (one_layer(HALF, np.eye(2), [0.0, 0.0], [1], "cross_entropy"), "only for logits in"),
    "tie": (one_layer([[0.0, 0.0]], np.eye(2), [0.0, 0.0], [1], "cross_entropy"), "without ties"),
    "soft targets": (
        one_layer([[1024.0, 0.0]], np.eye(2), [0.0, 0.0], [[0.1, 0.9]], "cross_entropy"),
        "bits of 53",
    ),
    "soft labels": (one_layer([[1024.0]], [[1.0]], [0.0], [[0.1]], "bce_with_logits"), "bits of 53"),
    "underflow": (
        one_layer([[2.0**-80]], [[2.0**-80]], [0.0], [[1.0]], dtype=np.float32),
        "leave the range",
    ),
    "overflow": (
        one_layer([[2.0**64]], [[2.0**63]], [0.0], [[1.0]], dtype=np.float32),
        "leave the range",
    ),
    "not finite": (one_layer([[np.inf]], [[1.0]], [0.0], [[1.0]]), "not all of its numbers are finite"),
    "normalization": (
        MLP((2, 2, 2), normalization="layer_norm").trace(np.eye(2), np.eye(2), "mse"),
        "bits|square root",
    ),
}


@pytest.mark.parametrize("case", TRACES)
def test_a_trace_that_may_round_is_refused_with_its_reason(case: str) -> None:
    t, reason = TRACES[case]
    with pytest.raises(RefusedError, match=reason):
        prove(t)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_ledger_that_is_one_bit_short_refuses(dtype: str) -> None:
    """1 + 2ᵏ needs one bit more for each k: accepted up to the precision itself, then refused."""
    precision = 53 if dtype == "float64" else 24

    def bits(k: int) -> int:
        return prove(one_layer([[1.0, 2.0**k]], [[1.0, 1.0]], [0.0], [[0.0]], "l1", DTYPES[dtype])).most

    largest = max(k for k in range(precision) if not refused(bits, k))
    assert bits(largest) == precision
    assert bits(largest - 1) == precision - 1
    with pytest.raises(RefusedError, match=f"needs {precision + 1} bits of {precision}"):
        bits(largest + 1)


def refused(f: Any, k: int) -> bool:
    try:
        f(k)
    except RefusedError:
        return True
    return False


# Each operand of z = x Wᵀ + b with a unit of 2⁻³⁰ beside a term of 2³⁰: 61 bits, which float64 lacks.
FINE: dict[str, tuple[Any, Any, Any]] = {
    "x": ([[2.0**30, 2.0**-30]], [[1.0, 1.0]], [0.0]),
    "W": ([[1.0, 1.0]], [[2.0**30, 2.0**-30]], [0.0]),
    "b": ([[2.0**30]], [[1.0]], [2.0**-30]),
    "b, the large one": ([[2.0**-30]], [[1.0]], [2.0**30]),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operand", FINE)
def test_the_unit_of_every_operand_counts(operand: str, dtype: str) -> None:
    precision = 53 if dtype == "float64" else 24
    with pytest.raises(RefusedError, match=f"z1: needs (61|62) bits of {precision}"):
        prove(one_layer(*FINE[operand], [[0.0]], "l1", DTYPES[dtype]))


def test_a_bias_that_rounds_away_is_refused_where_everything_else_is_whole() -> None:
    """Planted: 1 + 2⁻⁶⁰ is 1, and the rest of the pass is exact; nothing but the bias's unit says so."""
    t = one_layer([[1.0]], [[1.0]], [2.0**-60], [[0.0]], "l1")
    assert t["z1"] == 1
    with pytest.raises(RefusedError, match="z1: needs 61 bits of 53"):
        prove(t)


@given(st.integers(-(2**52), 2**52), st.integers(-60, 60))
def test_the_unit_is_the_largest_power_of_two_that_divides_every_entry(mantissa: int, exponent: int) -> None:
    q = unit(np.array([mantissa * 2.0**exponent, 0.0]))
    if mantissa:
        exactly = Fraction(mantissa) * Fraction(2) ** (exponent + q)
        assert exactly.denominator == 1
        assert exactly.numerator % 2
