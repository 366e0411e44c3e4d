"""check_function: a person's loss_and_gradients against the derivative of their own forward pass."""

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.layers import align, flatten
from mlp_torch.check.functions.derivative import differentiate
from mlp_torch.check.functions.plain import compare
from mlp_torch.check.functions.purity import grown, judge_purity
from mlp_torch.check.functions.standard_losses import against_standard
from mlp_torch.check.report import CheckReport, Fault
from mlp_torch.errors import UserError


def check_function(
    loss_and_gradients: Callable[..., Any], parameters: Any, *data: Any, **description: Any
) -> CheckReport:
    """Judge `loss_and_gradients(parameters, *data)`, which gives (loss, gradients), on its own forward pass.

    `parameters`: arrays in any nesting, gradients in the same; `data` as the function takes it, x, y first.
    A method that takes only the data is called on a copy of its object whose attributes (or whose dict
    attribute) hold the parameters. The derivative is torch.autograd's of the author's own NumPy code, or
    complex-step or Richardson where tracing fails (`.method` says which). Purity, shapes and dtypes come
    first; the noise floor is the spread when every parameter moves by one unit in the last place. With
    `layers=` or `activations=` and `loss=` (any option of `check_gradients`) the faults are named too, and
    the loss is compared with the standard ones. Raises UserError where the function gives something else.
    """
    call = _caller(loss_and_gradients, parameters)
    names = flatten(parameters)
    values = {name: np.asarray(v) for name, v in names.items() if v is not None}
    notes: list[str] = []
    kept = copy.deepcopy((parameters, data))
    mine = copy.deepcopy((parameters, data))
    _seed()
    loss, gradients, output = _result(call(mine[0], *mine[1]))
    impure = _changed(kept[0], mine[0], "parameters") + [
        name
        for i, (a, b) in enumerate(zip(kept[1], mine[1], strict=True))
        for name in _changed(a, b, f"data[{i}]")
    ]
    _need_finite(loss, values, data)
    hand = _hand(names, gradients, values)
    _seed()
    again = _hand(names, _result(call(*_fresh(kept)))[1], values)
    steady = all(np.array_equal(hand[n], again[n], equal_nan=True) for n in hand)
    floats = {name: v.astype(np.float64) for name, v in values.items() if v.dtype.kind in "fiub"}

    def only_loss(arrays: dict[str, Any]) -> Any:
        _, *rest = _fresh(kept)
        _seed()
        return _result(call(_nested(parameters, arrays), *rest))[0]

    traceable = _caller(loss_and_gradients, parameters, "traced") if call is not loss_and_gradients else call

    def traced_loss(arrays: dict[str, Any]) -> Any:
        return _first(traceable(_nested(parameters, arrays), *kept[1]))

    _seed()
    exact = float(np.real(only_loss(dict(floats))))
    forward = traced_loss if not impure else only_loss
    true, method, accuracy, traced = differentiate(forward, only_loss, floats, exact)
    allowed = _floors(call, kept, names, values, hand, true, accuracy, steady)
    x = np.asarray(next(iter(data), np.zeros(1)))
    data_sizes = {"N": float(len(np.atleast_1d(x)))}
    if x.ndim == 2:
        data_sizes["columns of x"] = float(x.shape[1])
    constants = {**{k: v for k, v in data_sizes.items() if v > 1}, "2": 2.0, "4": 4.0}
    verdict, rows, faults = compare(hand, true, allowed, constants)
    for name, v in hand.items():
        if v.dtype.kind in "iub":
            notes.append(f"note: d{name} has the integer dtype {v.dtype}; fractions are lost")
    report = CheckReport(verdict, rows, faults, notes=tuple(notes), method=method)
    if ("layers" in description or "activations" in description) and "loss" in description:
        report = _described(report, values, hand, data, loss, output, description)
    elif description:
        raise UserError("check_function: a description needs layers= or activations=, and loss=")
    elif len(data) > 1:
        report = against_standard(report, traced, exact, output, kept[1], floats, hand, true, allowed)
    if report.verdict == "wrong" and not report.faults and not description:
        hint = "note: with activations=[…] or layers=[…], and loss=…, the fault is searched layer by layer"
        report = replace(report, notes=(*report.notes, hint))
    kept_object = _caller(loss_and_gradients, parameters, "same")
    if steady and kept_object is not loss_and_gradients:  # the object may keep what it adds to
        first, second = (_hand(names, _result(kept_object(*_fresh(kept)))[1], values) for _ in range(2))
        if grown(first, second, true):
            hand, again, steady = first, second, False
    report = judge_purity(report, impure, steady, hand, again, true)
    words = {"right": "every gradient is the derivative of your own loss"}.get(report.verdict, "")
    message = (
        report.message
        or words
        or " ".join(f"{', '.join('d' + a for a in f.arrays)}: {f.detail}." for f in report.faults)
        or f"{', '.join('d' + n for n, r in rows.items() if r.verdict != 'right')}: wrong, unexplained"
    )
    return replace(report, message=message, notes=(*report.notes, f"derivative by {method}"), method=method)


def _seed() -> None:
    np.random.seed(0)  # authors draw dropout masks from it: two calls must draw the same


def _fresh(kept: Any) -> tuple[Any, ...]:
    parameters, data = copy.deepcopy(kept)
    return (parameters, *data) if isinstance(data, tuple) else (parameters, data)


def _caller(function: Callable[..., Any], parameters: Any, use: str = "fresh") -> Callable[..., Any]:
    """The function of (parameters, *data); for a method that takes only data, its object holds them.

    `use`: a "fresh" copy of the object for every call, the "same" copy for all, or one that can be "traced".
    """
    owner = getattr(function, "__self__", None)
    if owner is None or inspect.ismodule(owner):
        return function
    try:
        first = next(iter(inspect.signature(function).parameters), "")
    except ValueError:
        return function
    holds = isinstance(parameters, Mapping) and all(hasattr(owner, str(k)) for k in parameters)
    inside = (
        next((k for k, v in vars(owner).items() if v is parameters), None)
        if hasattr(owner, "__dict__")
        else None
    )
    if first.lower() in ("p", "params", "parameters", "theta", "weights", "w") or not (holds or inside):
        return function

    held = owner if use == "fresh" else copy.deepcopy(owner)

    def call(arrays: Any, *data: Any) -> Any:
        net = {"fresh": copy.deepcopy, "same": lambda o: o, "traced": copy.copy}[use](held)
        if inside:
            setattr(net, inside, arrays)
        else:
            for name, value in arrays.items():
                setattr(net, str(name), value)
        return getattr(net, function.__name__)(*data)

    return call


def _first(result: Any) -> Any:
    return result[0]


def _result(result: Any) -> tuple[Any, Any, Any]:
    """(loss, gradients, output or None)."""
    if not isinstance(result, tuple | list) or len(result) < 2:
        raise UserError("the function must return (loss, gradients), or (loss, gradients, output)")
    loss = result[0]
    if np.asarray(loss).dtype.kind not in "fiubc":
        raise UserError(f"the loss is a {type(loss).__name__}; it must be a number, the first thing returned")
    if np.size(loss) != 1:
        raise UserError(f"the loss has shape {np.shape(loss)}; it must be a scalar, the first thing returned")
    return np.asarray(loss).reshape(())[()], result[1], result[2] if len(result) > 2 else None


def _need_finite(loss: Any, values: Mapping[str, Array], data: tuple[Any, ...]) -> None:
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


def _hand(names: Mapping[str, Any], gradients: Any, values: Mapping[str, Array]) -> dict[str, Array]:
    aligned = align(names, flatten(gradients, what="gradients"))
    missing = [n for n in values if aligned.get(n) is None]
    if missing:
        raise UserError(
            f"no gradient for {', '.join(missing)}; give one an array, under the parameters' names"
        )
    return {n: np.array(aligned[n], copy=True) for n in values}


def _changed(before: Any, after: Any, name: str) -> list[str]:
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


def _nested(tree: Any, arrays: Mapping[str, Any], prefix: str = "") -> Any:
    """The arrays put back into the author's nesting."""
    if tree is None:
        return None
    if isinstance(tree, Mapping):
        return {k: _nested(v, arrays, f"{prefix}.{k}" if prefix else str(k)) for k, v in tree.items()}
    if isinstance(tree, list | tuple) and not (f"{prefix or '0'}" in arrays and prefix):
        items = [_nested(v, arrays, f"{prefix}.{i}" if prefix else str(i)) for i, v in enumerate(tree)]
        return items if isinstance(tree, list) else tuple(items)
    return arrays.get(prefix or "0", tree)


def _floors(
    call: Callable[..., Any], kept: Any, names: Mapping[str, Any], values: Mapping[str, Array],
    hand: Mapping[str, Array], true: Mapping[str, Array], accuracy: float, steady: bool,
) -> dict[str, float]:  # fmt: skip
    """‖h − t‖ that rounding explains: the spread of the author's own gradient under one-ULP nudges."""
    floats = [v.dtype for v in (*values.values(), *hand.values()) if v.dtype.kind == "f"]
    u = max((float(np.finfo(dtype).eps) for dtype in floats), default=2.0**-52)
    spread = dict.fromkeys(hand, 0.0)
    generator = np.random.default_rng(0)
    for _ in range(4 if steady else 0):
        moved = {
            n: _nudged(v, np.where(generator.random(v.shape) < 0.5, -1, 1), u) if v.dtype.kind == "f" else v
            for n, v in values.items()
        }
        parameters, *data = _fresh(kept)
        _seed()
        other = _hand(names, _result(call(_nested(parameters, moved), *data))[1], values)
        for n, h in hand.items():
            if other[n].shape == h.shape:
                spread[n] = max(spread[n], float(np.linalg.norm(other[n].astype(float) - h)))
    base = max(1e-9, 8 * u)
    return {
        n: 16 * spread[n] + max(base, 10 * accuracy) * float(np.linalg.norm(true[n])) + 1e-15 for n in true
    }


def _nudged(v: Array, ways: Array, u: float) -> Array:
    """Every entry one unit in the last place on: of its own dtype, or of the coarser one of `u`."""
    if u > np.finfo(v.dtype).eps:
        return v * (1 + u * ways)
    return np.nextafter(v, (ways * np.inf).astype(v.dtype))


def _described(
    report: CheckReport, values: Mapping[str, Array], hand: Mapping[str, Array], data: tuple[Any, ...],
    loss: Any, output: Any, description: Mapping[str, Any],
) -> CheckReport:  # fmt: skip
    from mlp_torch.check.gradients import check_gradients

    if len(data) < 2:
        raise UserError("check_function: a description needs the data x and y")
    given = {"output": output, **description}
    named = check_gradients(values, hand, data[0], data[1], loss_value=float(loss), **given)
    if report.verdict == "right" and named.verdict not in ("right", "other_loss", "not_comparable"):
        own = "note: your gradients are the derivatives of your own loss; it is the loss that differs"
        if not named.faults:
            fault = Fault(
                "wrong_loss_value",
                None,
                ("loss",),
                "the loss is not the described one",
                "its own gradient is right",
            )
            named = replace(named, faults=[fault])
        return replace(named, notes=(*named.notes, own))
    return named
