"""The compiled elementary functions are as close to the truth as the certificates say."""

from typing import Any

import numpy as np
import pytest
from flint import arb
from numba import njit

from manual.compiled import elementary
from manual.compiled.memory import OPTIONS
from tests.problems import DTYPES

TRUTHS: dict[str, tuple[float, float, Any]] = {
    "exp": (-87, 20, lambda v: v.exp()),
    "expm1": (-60, 0, lambda v: v.expm1()),
    "log": (1, 1e4, lambda v: v.log()),
    "log1p": (0, 1, lambda v: v.log1p()),
    "tanh": (-15, 15, lambda v: v.tanh()),
    "sigmoid": (-80, 80, lambda v: 1 / (1 + (-v).exp())),
    "erf": (-7, 7, lambda v: v.erf()),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TRUTHS)
def test_elementary_functions_are_within_the_4_ulp_of_the_certificates(name: str, dtype: str) -> None:
    low, high, truth = TRUTHS[name]
    function = getattr(elementary, name)

    @njit(**OPTIONS)
    def apply(x: Any, result: Any) -> None:
        for i in range(len(x)):
            result[i] = function(x[i])

    rng = np.random.default_rng(0)
    near = (1 if low >= 0 else -1) * 10.0 ** rng.uniform(-7, 0, 1000)
    x = np.concatenate([rng.uniform(low, high, 2000), near]).astype(dtype)
    result = np.empty_like(x)
    apply(x, result)
    for value, found in zip(x, result, strict=True):
        exact = truth(arb(float(value)))
        ulp = float(np.spacing(np.abs(x.dtype.type(float(exact)))))
        assert abs(float(arb(float(found)) - exact)) <= 4 * ulp, value
