"""exp, expm1, log, log1p, tanh, sigmoid and erf of one number in its own precision, without a branch.

Each is a series on a small interval and an exact way back from there, so a loop of them becomes vector
code, several times as fast as calls of the C library, and with the same bits on every processor and
system. Tests hold them to 4 ulp.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from manual.compiled.memory import fma, loops


class Precision(NamedTuple):
    """What the series need to know of a dtype.

    `integer` has its bits, of which `mantissa` are the fraction's; `smallest` is where e^x is the smallest
    normal number; ln 2 = `high` + `low`, and an exponent times `high` is exact; the series of e^r and of
    atanh end at `exp_degree` and `log_degree`, where |r| ≤ ½ ln 2 and s ≤ ⅓ leave less than ½ ulp, that of
    erf at `erf_degree`, where |x| ≤ 1 does. From 1 up to `erf_end`, where erf becomes 1, −log(1 − erf x) is
    the polynomial `erf_tail` in x − 2, lowest power first, fitted to less than ½ ulp of erf.
    """

    real: Any
    integer: Any
    mantissa: int
    smallest: float
    high: float
    low: float
    exp_degree: int
    log_degree: int
    erf_degree: int
    erf_end: float
    erf_tail: tuple[float, ...]


PRECISIONS = {
    types.float32: Precision(
        *(np.float32, np.int32, 23, -87.33654, 0.693115234375, 3.1946184945309415e-05, 8, 7, 9, 4.0),
        (
            *(5.364941044444002, 4.4181593899617846, 0.92375349211643374, 0.016487905205094397),
            *(-0.0035442694869131131, 0.00071106627156287777, -0.00018639998938644222),
        ),
    ),
    types.float64: Precision(
        *(
            np.float64,
            np.int64,
            52,
            -708.396418532264,
            0.6931471803691238,
            1.9082149292705877e-10,
            14,
            17,
            19,
            6.0,
        ),
        (
            *(5.3649412646166375911, 4.4181608059944148184, 0.92375084182377774188, 0.016465118136904342699),
            *(-0.0035707563455359109335, 7.3239938606113634416e-4, -1.3530933898323157371e-4),
            *(2.0706428098371282597e-5, -1.9521812218894510722e-6, -2.0362671902286339127e-7),
            *(1.7318520841899209936e-7, -5.7822469987432235955e-8, 1.3969741256168384102e-8),
            *(-2.5184637690003723485e-9, 2.6157016964795125172e-10, 3.4824937581369302016e-11),
            *(-3.1859563425603888604e-11, 1.1106817921922983338e-11, -2.150280223112942164e-12),
            1.7840781365542284798e-13,
        ),
    ),
}
JIT: dict[str, Any] = {"strict": False, "jit_options": {"error_model": "numpy"}}
LN2, TWO_BY_ROOT_PI, ROOT_HALF = 0.6931471805599453, 1.1283791670955126, 0.7071067811865476


def reduced(x: Any) -> Any:
    """(expm1(r), 2ⁿ) with x = n ln 2 + r, so that e^x = 2ⁿ (1 + expm1(r)); x below 88."""
    raise NotImplementedError


@overload(reduced, **JIT)
def _reduced(x: Any) -> Callable[..., Any] | None:
    if x not in PRECISIONS:
        return None
    kind = PRECISIONS[x]
    T, integer = kind.real, kind.integer
    smallest, per_ln2, high, low = T(kind.smallest), T(1 / LN2), T(kind.high), T(kind.low)
    rounds, place = T(1.5 * 2.0**kind.mantissa), integer(kind.mantissa)  # adding it rounds to an integer
    one = integer(np.array(1, T).view(integer))
    series = tuple(T(1 / math.factorial(k)) for k in range(kind.exp_degree, 0, -1))
    nothing = T(0)

    def impl(x: Any) -> Any:
        bounded = smallest if x < smallest else x
        shifted = T(fma(bounded, per_ln2, rounds))
        n = shifted - rounds
        r = fma(-n, low, fma(-n, high, bounded))
        p = series[0]
        for coefficient in series[1:]:
            p = fma(p, r, coefficient)
        bits = integer((shifted.view(integer) << place) + one)
        return p * r, (nothing if x < smallest else bits.view(T))

    return impl


def twice_atanh(s: Any) -> Any:
    """2 atanh s = log((1 + s) / (1 − s)) for |s| ≤ ⅓."""
    raise NotImplementedError


@overload(twice_atanh, **JIT)
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
            p = fma(p, fourth, coefficient)
        for coefficient in odd[1:]:
            q = fma(q, fourth, coefficient)
        return fma(q, square, p) * s

    return impl


def log(x: Any) -> Any:
    """log x = n ln 2 + log m for a normal x above 0, where x = 2ⁿ m and √½ ≤ m < √2."""
    raise NotImplementedError


@overload(log, **JIT)
def _log(x: Any) -> Callable[..., Any] | None:
    if x not in PRECISIONS:
        return None
    kind = PRECISIONS[x]
    T, integer, place = kind.real, kind.integer, kind.integer(kind.mantissa)
    high, low, one, infinite = T(kind.high), T(kind.low), T(1), T(np.inf)
    root_half = integer(np.array(ROOT_HALF, T).view(integer))

    def impl(x: Any) -> Any:
        n = integer((T(x).view(integer) - root_half) >> place)
        m = integer(T(x).view(integer) - integer(n << place)).view(T)
        times = T(n)
        found = fma(times, high, fma(times, low, twice_atanh((m - one) / (m + one))))
        return found if x < infinite else x

    return impl


def erf(x: Any) -> Any:
    """The error function: its power series up to |x| = 1, from there 1 − e^−(a polynomial)."""
    raise NotImplementedError


@overload(erf, **JIT)
def _erf(x: Any) -> Callable[..., Any] | None:
    if x not in PRECISIONS:
        return None
    kind = PRECISIONS[x]
    T, end, zero, one, two = kind.real, kind.real(kind.erf_end), kind.real(0), kind.real(1), kind.real(2)
    # erf x = x + x (2/√π − 1 + 2/√π Σ (−x²)ⁿ / (n! (2n + 1)))
    powers = range(kind.erf_degree, 0, -1)
    series = tuple(T((-1) ** n * TWO_BY_ROOT_PI / (math.factorial(n) * (2 * n + 1))) for n in powers)
    series = (*series, T(0.12837916709551256))
    tail = tuple(T(coefficient) for coefficient in reversed(kind.erf_tail))

    # in halves: a long loop over coefficients stays a loop, and what has one inside becomes no vector code
    near_first, near_last = series[1 : len(series) // 2], series[len(series) // 2 :]
    far_first, far_last = tail[1 : len(tail) // 2], tail[len(tail) // 2 :]

    def impl(x: Any) -> Any:
        size = abs(x)
        bounded = end if size > end else size
        square, shifted = bounded * bounded, bounded - two
        near, far = series[0], tail[0]
        for coefficient in near_first:
            near = fma(near, square, coefficient)
        for coefficient in near_last:
            near = fma(near, square, coefficient)
        for coefficient in far_first:
            far = fma(far, shifted, coefficient)
        for coefficient in far_last:
            far = fma(far, shifted, coefficient)
        inner, outer = fma(x, near, x), one - exp(-far)
        return inner if size < one else (-outer if x < zero else outer)

    return impl


@loops
def power(base: float, exponent: int) -> float:
    """baseⁿ for n ≥ 0 by squaring: multiplications in an order that n decides."""
    found = 1.0
    while exponent > 0:
        if exponent & 1:
            found *= base
        base *= base
        exponent >>= 1
    return found


@loops
def exp(x: Any) -> Any:
    """e^x, flushed below the smallest normal number; x below 88."""
    p, scale = reduced(x)
    return fma(scale, p, scale)


@loops
def expm1(x: Any) -> Any:
    """e^x − 1; x below 88."""
    p, scale = reduced(x)
    return fma(scale, p, scale - type(x)(1))


@loops
def log1p(e: Any) -> Any:
    """log(1 + e) for 0 ≤ e ≤ 1, where s = e / (2 + e) makes 1 + e = (1 + s) / (1 − s)."""
    return twice_atanh(e / (type(e)(2) + e))


@loops
def tanh(x: Any) -> Any:
    """(1 − e) / (1 + e), e = e^−2|x|, with the sign of x."""
    T = type(x)
    p = expm1(T(-2) * abs(x))
    t = -p / (T(2) + p)
    return -t if x < T(0) else t


@loops
def sigmoid(z: Any) -> Any:
    """1 / (1 + e^−z), written with e^−|z|, so that nothing overflows."""
    T = type(z)
    e = exp(-abs(z))
    return (e if z < T(0) else T(1)) / (T(1) + e)
