"""The error function in buffers, which NumPy lacks: Cody's two rational approximations.

W. J. Cody, Rational Chebyshev approximations for the error function, Math. Comp. 23 (1969) 631–637:

    erf x = x P(x²) / Q(x²)                  for |x| ≤ 0.46875
    erfc x = e^(−x²) R(x) / S(x)             above, where erf x = sign x · (1 − erfc |x|)

Both are computed for all entries. Beyond |x| = 6 erfc is below half an ulp of 1, so |x| stops there.
"""

import numpy as np

from manual.buffered.program import Program, borrows
from manual.numbers import Array

# the highest power first
P = (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2,
     3.20937758913846947e3)  # fmt: skip
Q = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3)
R = (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1,
     2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
     1.23033935479799725e3)  # fmt: skip
S = (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
     3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3)  # fmt: skip


@borrows
def erf(do: Program, x: Array, out: Array) -> None:
    """The error function of x, within 4 ulp of its dtype."""
    t, top, bottom = (do.scratch(x) for _ in range(3))
    do(np.abs, x, out=t)
    do(np.minimum, t, 6, out=t)
    _polynomial(do, R, t, top)
    _polynomial(do, S, t, bottom)
    do(np.divide, top, bottom, out=top)
    do(np.multiply, t, t, out=bottom)
    do(np.negative, bottom, out=bottom)
    do(np.exp, bottom, out=bottom)
    do(np.multiply, top, bottom, out=top)  # erfc |x|
    do(np.subtract, 1, top, out=out)
    do(np.copysign, out, x, out=out)
    near = do.mask(np.less_equal, t, 0.46875, like=x)
    do(np.minimum, t, 0.46875, out=t)
    do(np.multiply, t, t, out=t)
    _polynomial(do, P, t, top)
    _polynomial(do, Q, t, bottom)
    do(np.divide, top, bottom, out=top)
    do(np.multiply, top, x, out=top)
    do.copy(top, out, where=near)


# c₀ xⁿ + c₁ xⁿ⁻¹ + … + cₙ, by Horner's rule
def _polynomial(do: Program, coefficients: tuple[float, ...], x: Array, out: Array) -> None:
    do(np.multiply, x, coefficients[0], out=out)
    for c in coefficients[1:-1]:
        do(np.add, out, c, out=out)
        do(np.multiply, out, x, out=out)
    do(np.add, out, coefficients[-1], out=out)
