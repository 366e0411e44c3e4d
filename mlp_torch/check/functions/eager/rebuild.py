"""Copies of the author's code for the graph's arrays: what stands for NumPy, `math` and `float` in it."""

from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from mlp_torch.check.functions.copies import KEPT, Copies
from mlp_torch.check.functions.eager.array import Traced
from mlp_torch.check.functions.eager.module import BUILTINS, MATH, Module, of_math, replaced
from mlp_torch.check.functions.eager.run import active


class Rebuilt(Copies):
    """Copies that compute on arrays of the graph."""

    builtins = BUILTINS

    def of(self, value: Any) -> Any:
        return value if isinstance(value, Traced) else super().of(value)

    def array(self, value: Any) -> Any:
        if type(value) is np.ndarray and value.dtype.kind in "fc":
            active().of_data(value.dtype)
            return Traced.constant(value)
        return value.copy()

    def instead(self, value: Any) -> Any:
        if isinstance(value, FunctionType):
            return replaced(value)
        if isinstance(value, MethodType):
            return replaced(value) if isinstance(value.__self__, np.random.RandomState) else None
        if isinstance(value, ModuleType):
            name = value.__name__
            known = name.split(".")[0] in ("numpy", "scipy")
            return MATH if name == "math" else Module(value) if known else None
        if isinstance(value, type):
            found = replaced(value)
            return BUILTINS["float"] if found is None and value is float else found
        if isinstance(value, BuiltinFunctionType | np.ufunc):
            return of_math(value) or replaced(value)
        if hasattr(type(value), "__array_function__") or type(value).__module__.startswith(KEPT):
            return replaced(value)
        return None
