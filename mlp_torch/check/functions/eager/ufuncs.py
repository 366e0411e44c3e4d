"""NumPy's ufuncs (and scipy.special's) on the graph: which torch function each is, and where it has a kink.

An operation that is singular at some entries (log 0, x/0, an overflow) is kept from those entries in the
graph: they get the value that NumPy gives and no gradient, for `np.where` may never have chosen them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlp_torch.check.functions.eager.array import Traced, calculated, tensor_of, wrapped
from mlp_torch.check.functions.eager.corners import EXTREMES, STEPS, absolute, extreme, guarded, sign, step
from mlp_torch.check.functions.eager.ndarray import grows, plain
from mlp_torch.check.functions.eager.run import NoValue, UntraceableError, active

UNARY: dict[str, Callable[..., Tensor]] = {
    "negative": torch.neg, "positive": lambda a: a + 0.0, "exp": torch.exp, "exp2": torch.exp2,
    "expm1": torch.expm1, "log": torch.log, "log2": torch.log2, "log10": torch.log10, "log1p": torch.log1p,
    "sqrt": torch.sqrt, "square": torch.square, "reciprocal": torch.reciprocal, "sin": torch.sin,
    "cos": torch.cos, "tan": torch.tan, "arcsin": torch.arcsin, "arccos": torch.arccos,
    "arctan": torch.arctan, "sinh": torch.sinh, "cosh": torch.cosh, "tanh": torch.tanh,
    "arcsinh": torch.arcsinh, "arccosh": torch.arccosh, "arctanh": torch.arctanh,
    "deg2rad": torch.deg2rad, "rad2deg": torch.rad2deg, "radians": torch.deg2rad, "degrees": torch.rad2deg,
    "conjugate": lambda a: torch.conj(a).resolve_conj().clone(),
    "cbrt": lambda a: torch.sign(a) * torch.abs(a) ** (1 / 3),
    # scipy.special
    "expit": torch.special.expit, "logit": torch.special.logit, "erf": torch.special.erf,
    "erfc": torch.special.erfc, "erfinv": torch.special.erfinv, "erfcx": torch.special.erfcx,
    "ndtr": torch.special.ndtr, "ndtri": torch.special.ndtri, "log_ndtr": torch.special.log_ndtr,
    "gammaln": torch.special.gammaln, "psi": torch.special.digamma, "digamma": torch.special.digamma,
    "i0": torch.special.i0, "i0e": torch.special.i0e, "i1": torch.special.i1, "i1e": torch.special.i1e,
    "j0": torch.special.bessel_j0, "j1": torch.special.bessel_j1, "entr": torch.special.entr,
    "log_expit": torch.nn.functional.logsigmoid, "gamma": lambda a: torch.exp(torch.special.gammaln(a)),
}  # fmt: skip
BINARY: dict[str, Callable[..., Tensor]] = {
    "add": torch.add, "subtract": torch.subtract, "multiply": torch.multiply, "divide": torch.divide,
    "true_divide": torch.divide, "power": torch.pow, "float_power": torch.pow, "arctan2": torch.arctan2,
    "hypot": lambda a, b: torch.sqrt(a * a + b * b), "logaddexp": torch.logaddexp,
    "logaddexp2": torch.logaddexp2,
    "remainder": torch.remainder, "fmod": torch.fmod, "copysign": torch.copysign, "matmul": torch.matmul,
    "vecdot": lambda a, b: (a * b).sum(-1), "matvec": lambda a, b: (a @ b[..., None])[..., 0],
    "vecmat": lambda a, b: (a[..., None, :] @ b)[..., 0, :], "ldexp": torch.ldexp,
    "xlogy": torch.special.xlogy, "xlog1py": torch.special.xlog1py,
    "rel_entr": lambda a, b: torch.special.xlogy(a, a) - torch.special.xlogy(a, b),
    "kl_div": lambda a, b: torch.special.xlogy(a, a) - torch.special.xlogy(a, b) - a + b,
}  # fmt: skip
SINGULAR = {
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "reciprocal", "multiply", "divide",
    "true_divide", "power", "float_power", "arctanh", "arccosh", "arcsin", "arccos", "sinh", "cosh", "square",
    "logit", "cbrt", "tan", "subtract", "hypot", "arctan2",
}  # fmt: skip
_ELEMENT = {"add": 0.0, "multiply": 1.0}


def apply(ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = ufunc.__name__
    if method == "at":
        return _at(name, *inputs)
    out = kwargs.pop("out", None)
    where = kwargs.pop("where", True)
    kwargs.pop("casting", None)
    kwargs.pop("order", None)
    if method == "reduce":
        found = _reduce(name, inputs[0], where, **kwargs)
    elif method == "accumulate":
        found = _accumulate(name, inputs[0], **kwargs)
    elif method == "outer":
        a, b = inputs
        found = apply(ufunc, "__call__", (np.reshape(a, np.shape(a) + (1,) * np.ndim(b)), b), {})
    elif method == "__call__":
        found = _call(ufunc, name, inputs, kwargs)
        if where is not True:
            first = out[0] if out else 0.0
            found = np.where(where, found, first)
    else:
        raise UntraceableError(f"{name}.{method}")
    return put(out, found)


def put(out: Any, found: Any) -> Any:
    if out is None:
        return found
    target = out[0] if isinstance(out, tuple) else out
    if target is None:
        return found
    if isinstance(target, Traced):
        target.write(Ellipsis, found)
    elif grows(found):
        raise UntraceableError("a result of the graph written into a plain array")
    else:
        target[...] = plain(found)
    return target


def _call(ufunc: Any, name: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if name in STEPS:
        return step(ufunc, name, *inputs)
    if not any(map(grows, inputs)):
        with np.errstate(all="ignore"):
            found = ufunc(*map(plain, inputs))
        return wrapped(found)
    if name in EXTREMES:
        return extreme(name, *inputs)
    if name in ("absolute", "fabs"):
        return absolute(inputs[0])
    if name in ("sign", "heaviside"):
        return sign(ufunc, name, *inputs)
    if name in UNARY or name in BINARY:
        tensors = [x if isinstance(x, int | float) and name != "matmul" else tensor_of(x) for x in inputs]
        if name not in ("add", "subtract", "multiply", "divide", "true_divide", "power"):
            tensors = [x if isinstance(x, Tensor) else torch.tensor(x, dtype=torch.float64) for x in tensors]
        if all(t.is_complex() for t in tensors if isinstance(t, Tensor)) is False and any(
            isinstance(t, Tensor) and t.is_complex() for t in tensors
        ):
            tensors = [t.to(torch.complex128) if isinstance(t, Tensor) else t for t in tensors]
        if name in ("power", "float_power"):
            return calculated(_power(*tensors))
        f = UNARY.get(name) or BINARY[name]
        return calculated(guarded(f, name, *tensors) if name in SINGULAR else f(*tensors))
    if name in ("equal", "not_equal") or ufunc.types[0][-1] in "?" or name in (
        "isnan", "isfinite", "isinf", "signbit", "floor", "ceil", "rint", "trunc", "floor_divide", "spacing",
    ):  # fmt: skip
        found = active().decide(lambda: ufunc(*map(plain, inputs)))
        return wrapped(np.array(found))
    if name == "divmod":
        return np.floor_divide(*inputs), np.remainder(*inputs)
    if name == "modf":
        return inputs[0] - np.trunc(inputs[0]), np.trunc(inputs[0])
    raise UntraceableError(f"the function {name}")


def _power(a: Any, b: Any) -> Tensor:
    """a**b; a fractional power has no slope at 0, and a constant power asks for no log of a."""
    if isinstance(b, Tensor) and not b.requires_grad and b.numel() == 1:
        b = float(b) if not b.is_complex() else b.item()
    if not isinstance(a, Tensor):
        a = torch.tensor(float(a), dtype=torch.float64)
    value = a.detach()
    whole = isinstance(b, int | float) and ((float(b).is_integer() and b >= 1) or b >= 1)
    if whole:
        return guarded(torch.pow, "power", a, b)
    zero = torch.broadcast_to(value == 0, torch.pow(value, b.detach() if isinstance(b, Tensor) else b).shape)
    if not bool(zero.any()):
        return guarded(torch.pow, "power", a, b)
    active().side("power", zero.numpy(), None)
    found = torch.pow(value, b.detach() if isinstance(b, Tensor) else b)
    return torch.where(zero, found, guarded(torch.pow, "power", torch.where(zero, 0.5, a), b))


def _reduce(name: str, a: Any, where: Any, axis: Any = 0, keepdims: bool = False, **rest: Any) -> Any:
    dtype, start = rest.get("dtype"), rest.get("initial")
    if name in ("maximum", "minimum"):
        return (np.max if name == "maximum" else np.min)(a, axis=axis, keepdims=keepdims)
    if name not in _ELEMENT:
        if not grows(a):
            return wrapped(getattr(np, name).reduce(plain(a), axis=axis, keepdims=keepdims))
        raise UntraceableError(f"{name}.reduce")
    function = np.sum if name == "add" else np.prod
    options = {} if start is None or isinstance(start, NoValue) else {"initial": start}
    return function(a, axis=axis, keepdims=keepdims, dtype=dtype, where=where, **options)


def _accumulate(name: str, a: Any, axis: int = 0, **_: Any) -> Any:
    if name in ("add", "multiply"):
        return (np.cumsum if name == "add" else np.cumprod)(a, axis=axis)
    if name in EXTREMES:
        rows = list(np.moveaxis(a, axis, 0))
        found = rows[:1]
        for row in rows[1:]:
            found.append(getattr(np, name)(found[-1], row))
        return np.moveaxis(np.stack(found), 0, axis)
    raise UntraceableError(f"{name}.accumulate")


def _at(name: str, target: Any, key: Any, *value: Any) -> None:
    if not isinstance(target, Traced):
        raise UntraceableError(f"{name}.at of a plain array")
    if name in ("add", "subtract"):
        target.write(key, value[0] if name == "add" else -1.0 * value[0], accumulate=True)
        return
    raise UntraceableError(f"{name}.at")
