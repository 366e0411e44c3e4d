"""How the author's function is called: what it takes, what it gives, and what a call may change."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.layers import align, flatten
from mlp_torch.errors import UserError


def seed() -> None:
    np.random.seed(0)  # authors draw dropout masks from it: two calls must draw the same


def fresh(kept: Any) -> tuple[Any, ...]:
    parameters, data = copy.deepcopy(kept)
    return (parameters, *data) if isinstance(data, tuple) else (parameters, data)


def result_of(result: Any) -> tuple[Any, Any, Any]:
    """(loss, gradients, output or None)."""
    if not isinstance(result, tuple | list) or len(result) < 2:
        raise UserError("the function must return (loss, gradients), or (loss, gradients, output)")
    loss = result[0]
    if np.asarray(loss).dtype.kind not in "fiubc":
        raise UserError(f"the loss is a {type(loss).__name__}; it must be a number, the first thing returned")
    if np.size(loss) != 1:
        raise UserError(f"the loss has shape {np.shape(loss)}; it must be a scalar, the first thing returned")
    return np.asarray(loss).reshape(())[()], result[1], result[2] if len(result) > 2 else None


def need_finite(loss: Any, values: Mapping[str, Array], data: tuple[Any, ...]) -> None:
    """Raise UserError where the loss is no finite number, with the array that it may come from."""
    if np.isfinite(loss):
        return
    given = {**values, **{f"data[{i}]": v for i, v in enumerate(data) if isinstance(v, np.ndarray)}}
    empty = [f"{name} is empty" for name, v in given.items() if not v.size]
    bad = [
        f"{name} holds NaN or infinite entries"
        for name, v in given.items()
        if v.dtype.kind == "f" and not np.isfinite(v).all()
    ]
    cause = "; ".join([*empty, *bad]) or "it overflows, or takes the log of 0, on the way"
    raise UserError(f"the loss is {loss}, and nothing can be compared with that: {cause}")


def gradients_of(names: Mapping[str, Any], gradients: Any, values: Mapping[str, Array]) -> dict[str, Array]:
    aligned = align(names, flatten(gradients, what="gradients"))
    missing = [n for n in values if aligned.get(n) is None]
    if missing:
        raise UserError(
            f"no gradient for {', '.join(missing)}; give one an array, under the parameters' names"
        )
    return {n: np.array(aligned[n], copy=True) for n in values}


def changed(before: Any, after: Any, name: str) -> list[str]:
    try:
        old, new = flatten(before), flatten(after)
    except UserError:
        return []
    where = "" if name == "parameters" else f"{name} "
    if set(old) != set(new):
        return [name]
    return [f"{where}{k}".strip() if name == "parameters" or k != "0" else name
            for k in old if not _same(np.asarray(old[k]), np.asarray(new[k]))]  # fmt: skip


def _same(a: Array, b: Array) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def nested(tree: Any, arrays: Mapping[str, Any], prefix: str = "") -> Any:
    """The arrays put back into the author's nesting."""
    if tree is None:
        return None
    if isinstance(tree, Mapping):
        return {k: nested(v, arrays, f"{prefix}.{k}" if prefix else str(k)) for k, v in tree.items()}
    if isinstance(tree, list | tuple) and not (f"{prefix or '0'}" in arrays and prefix):
        items = [nested(v, arrays, f"{prefix}.{i}" if prefix else str(i)) for i, v in enumerate(tree)]
        return items if isinstance(tree, list) else tuple(items)
    return arrays.get(prefix or "0", tree)
