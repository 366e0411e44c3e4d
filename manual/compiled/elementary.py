"""exp, expm1, log1p, tanh and sigmoid of one number in its own precision, without a branch.

Each is a power series on a small interval and an exact way back from there, so a loop of them becomes
vector code, several times as fast as calls of the C library. Tests hold them to 4 ulp.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from manual.compiled.memory import strict


class Precision(NamedTuple):
    """What the series need to know of a dtype.

    `integer` has its bits, of which `mantissa` are the fraction's; `smallest` is where e^x is the smallest
    normal number; ln 2 = `high` + `low`, and an exponent times `high` is exact; the series of e^r and of
    atanh end at `exp_degree` and `log_degree`, where |r| ≤ ½ ln 2 and s ≤ ⅓ leave less than ½ ulp.
    """

    real: Any
    integer: Any
    mantissa: int
    smallest: float
    high: float
    low: float
    exp_degree: int
    log_degree: int


PRECISIONS = {
    types.float32: Precision(
        np.float32, np.int32, 23, -87.33654, 0.693115234375, 3.1946184945309415e-05, 8, 7
    ),
    types.float64: Precision(
        np.float64, np.int64, 52, -708.396418532264, 0.6931471803691238, 1.9082149292705877e-10, 14, 17
    ),
}


def reduced(x: Any) -> Any:
    """(expm1(r), 2ⁿ) with x = n ln 2 + r, so that e^x = 2ⁿ (1 + expm1(r)); x below 88."""
    raise NotImplementedError


@overload(reduced, strict=False, jit_options={"error_model": "numpy", "fastmath": {"contract"}})
def _reduced(x: Any) -> Callable[..., Any] | None:
    if x not in PRECISIONS:
        return None
    kind = PRECISIONS[x]
    T, integer = kind.real, kind.integer
    smallest, per_ln2, high, low = T(kind.smallest), T(1 / math.log(2)), T(kind.high), T(kind.low)
    rounds, place = T(1.5 * 2.0**kind.mantissa), integer(kind.mantissa)  # adding it rounds to an integer
    one = integer(np.array(1, T).view(integer))
    series = tuple(T(1 / math.factorial(k)) for k in range(kind.exp_degree - 1, 0, -1))
    last, nothing = T(1 / math.factorial(kind.exp_degree)), T(0)

    def impl(x: Any) -> Any:
        bounded = smallest if x < smallest else x
        shifted = T(bounded * per_ln2 + rounds)
        n = shifted - rounds
        r = (bounded - n * high) - n * low
        p = last
        for coefficient in series:
            p = p * r + coefficient
        bits = integer((shifted.view(integer) << place) + one)
        return p * r, (nothing if x < smallest else bits.view(T))

    return impl


def twice_atanh(s: Any) -> Any:
    """2 atanh s = log((1 + s) / (1 − s)) for 0 ≤ s ≤ ⅓."""
    raise NotImplementedError


@overload(twice_atanh, strict=False, jit_options={"error_model": "numpy", "fastmath": {"contract"}})
def _twice_atanh(s: Any) -> Callable[..., Any] | None:
    if s not in PRECISIONS:
        return None
    kind = PRECISIONS[s]
    # 2 (1 + s²/3 + s⁴/5 + …): the even and the odd terms, so that neither chain of products is long
    even, odd = (
        tuple(kind.real(2 / (2 * k + 1)) for k in range(kind.log_degree, -1, -1))[i::2] for i in (1, 0)
    )

    def impl(s: Any) -> Any:
        square = s * s
        fourth = square * square
        p, q = even[0], odd[0]
        for coefficient in even[1:]:
            p = p * fourth + coefficient
        for coefficient in odd[1:]:
            q = q * fourth + coefficient
        return (p + q * square) * s

    return impl


@strict
def exp(x: Any) -> Any:
    """e^x, flushed below the smallest normal number; x below 88."""
    p, scale = reduced(x)
    return scale * p + scale


@strict
def expm1(x: Any) -> Any:
    """e^x − 1; x below 88."""
    p, scale = reduced(x)
    return scale * p + (scale - type(x)(1))


@strict
def log1p(e: Any) -> Any:
    """log(1 + e) for 0 ≤ e ≤ 1, where s = e / (2 + e) makes 1 + e = (1 + s) / (1 − s)."""
    return twice_atanh(e / (type(e)(2) + e))


@strict
def tanh(x: Any) -> Any:
    """(1 − e) / (1 + e), e = e^−2|x|, with the sign of x."""
    T = type(x)
    p = expm1(T(-2) * abs(x))
    t = -p / (T(2) + p)
    return -t if x < T(0) else t


@strict
def sigmoid(z: Any) -> Any:
    """1 / (1 + e^−z), written with e^−|z|, so that nothing overflows."""
    T = type(z)
    e = exp(-abs(z))
    return (e if z < T(0) else T(1)) / (T(1) + e)
