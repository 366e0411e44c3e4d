"""The author's function, method or object in the one form that is judged: (parameters by name, *data)."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlp_torch.check.describe.layers import Layer, Penalty
from mlp_torch.check.functions.calling.calls import heard, told
from mlp_torch.check.functions.calling.orders import (
    Order,
    adapter,
    label,
    need_place,
    orders,
    returned,
    signature,
    switched_off,
)
from mlp_torch.check.functions.calling.results import Form, along, gradients_by_name, recognise
from mlp_torch.check.functions.calling.targets import Target, targets
from mlp_torch.check.functions.calling.trees import (
    Change,
    Path,
    get,
    in_numpy,
    is_record,
    leaves,
    mapped,
    rebuilder,
    written,
)
from mlp_torch.check.functions.calling.vocabulary import CONSTANTS
from mlp_torch.errors import UserError


@dataclass(frozen=True)
class Adapted:
    """What check_function calls: `fresh` and `kept` give (loss, gradients, output), `loss` is traceable.

    `read` of a `result`: its loss, and what gives its gradients by name once their leaves are changed.
    `kept` goes on with one copy of the author's object, to see what it adds up; None for a function.
    """

    fresh: Callable[..., Any]
    loss: Callable[..., Any]
    result: Callable[..., Any]  # all that the function gives, traceable
    read: Callable[[Any], tuple[Any, Callable[[Change], Mapping[str, Any]]]]
    kept: Callable[..., Any] | None
    parameters: dict[str, Any]
    data: tuple[Any, ...]
    description: dict[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Try:
    """One way of calling that ran, with what came of it."""

    target: Target
    order: Order
    form: Form
    paths: Mapping[str, Path]
    fits: int
    notes: tuple[str, ...] = ()


def adapt(function: Any, parameters: Any, data: tuple[Any, ...], options: Mapping[str, Any]) -> Adapted:
    """Find the arguments' order and the result's form by calling the function. Raises UserError."""
    tensors = any(hasattr(v, "detach") for v in (*leaves(parameters).values(), *data))
    parameters, data = in_numpy(parameters), tuple([in_numpy(v) for v in data])
    candidates, trouble = targets(function, parameters, data, options)
    failed: list[UserError] = []
    for candidate in candidates:
        try:
            target, extras, description = candidate()
            chosen = _tried(target, extras)
        except UserError as error:
            failed.append(error)
            continue
        break
    else:
        raise UserError(f"{trouble(failed)}{_hint(parameters, data, tensors)}")
    order, form = chosen.order, chosen.form
    values = leaves(target.tree)
    held = {name: values[path] for name, path in chosen.paths.items()}
    build = rebuilder(target.tree, {path: name for name, path in chosen.paths.items()})

    def judged(use: str) -> Callable[..., Any]:
        call = target.bind(use)

        def run(arrays: dict[str, Any], *given: Any) -> Any:
            tree = build(arrays)
            positional, named = order.arguments(tree, given)
            result = told(call, *positional, **named, **copy.deepcopy(extras))
            for name, path in chosen.paths.items():  # a parameter that was replaced is seen as changed
                if path and (new := _look(tree, path)) is not None:
                    arrays[name] = new
            try:
                gradients = gradients_by_name(form.tree(result), chosen.paths)
                output = None if form.output is None else get(result, form.output)
                return get(result, form.loss), gradients, output
            except (LookupError, AttributeError, TypeError):
                text = "your function returns something of another form when it is called again"
                raise UserError(text) from None

        return run

    off = tuple(
        f"note: {keyword} is the default: what it multiplies was not judged; judge it with another number too"
        for keyword in switched_off(target.function, len(order.slots) - target.holds, {*order.named, *extras})
    )
    traced, given_extras = target.bind("traced"), copy.deepcopy(extras)

    def result(arrays: Mapping[str, Any], *given: Any) -> Any:
        positional, named = order.arguments(build(arrays), given)
        return traced(*positional, **named, **given_extras)

    def loss(arrays: Mapping[str, Any], *given: Any) -> Any:
        return form.loss_of(result(arrays, *given))

    def read(found: Any) -> tuple[Any, Callable[[Change], Mapping[str, Any]]]:
        return form.loss_of(found), lambda change: gradients_by_name(
            form.tree(mapped(found, change)), chosen.paths
        )

    return Adapted(
        judged("fresh"), loss, result, read, judged("same") if target.holds else None, held, target.data,
        _renamed(description, parameters, target.paths), (*target.notes, *chosen.notes, *off),
    )  # fmt: skip


def _hint(parameters: Any, data: Sequence[Any], tensors: bool) -> str:
    """What may be behind the failure of every way to call."""
    if tensors:
        return (
            "; check_function judges NumPy code and hands over arrays for tensors: "
            "for torch code there is check_autograd_function"
        )
    if isinstance(parameters, np.ndarray) and any(isinstance(v, Mapping) for v in data):
        return "; the parameters come first: check_function(f, parameters, x, y)"
    return ""


def _look(tree: Any, path: Path) -> Any:
    try:
        return get(tree, path)
    except (KeyError, IndexError, AttributeError, TypeError):
        return None


def _tried(target: Target, extras: Mapping[str, Any]) -> Try:
    """The first order of arguments that runs and gives gradients of the parameters' shapes."""
    name = getattr(target.function, "__name__", "f")
    name = "f" if name == "<lambda>" else name
    whole = Order((("all", None), *[("data", i) for i in range(len(target.data))]), sure=True)
    need_place(target.function, name, len(target.data), target.holds)
    ways = [whole] if target.holds else list(orders(target.function, target.tree, len(target.data), extras))
    if not ways:
        wanted = f"{name}{signature(target.function)}"
        given = ", ".join(["parameters", *[label(i) for i in range(len(target.data))]])
        how = adapter(target.function, name, target.tree, len(target.data))
        raise UserError(f"{wanted} cannot be called with {given}; write {how}")
    ran: list[Try] = []
    failed: list[str] = []
    for order in ways:
        try:
            found = _try(target, order, extras)
        except UserError as error:
            failed.append(str(error))
            continue
        ran.append(found)
        if found.fits == 2:
            break
    if not ran:
        if len(ways) == 1 or ways[0].sure:
            raise UserError(failed[0])
        shown = ", ".join(o.shown(name) for o in ways)
        how = adapter(target.function, name, target.tree, len(target.data))
        raise UserError(f"{failed[0]}; tried {shown}; if the order is another, write {how}")
    best = max(ran, key=lambda t: t.fits)
    if best.order.slots[:1] == (("all", None),) and best.order == replace(whole, sure=best.order.sure):
        return best
    return replace(best, notes=(f"note: your function was called as {best.order.shown(name)}", *best.notes))


def _try(target: Target, order: Order, extras: Mapping[str, Any]) -> Try:
    tree, data, named = _copied((target.tree, target.data, dict(extras)))
    inside = leaves(tree)  # lists of numbers are arrays from here on
    tree = rebuilder(tree, {p: n for n, p in target.paths.items()})(
        {n: inside[p] for n, p in target.paths.items()}
    )
    np.random.seed(0)
    with heard() as said:
        args, by_name = order.arguments(tree, data)
        result = told(target.bind("fresh"), *args, **by_name, **named)
    values = leaves(target.tree)
    paths = dict(target.paths)
    constants: tuple[str, ...] = ()

    def fit(gradients: Any) -> int:
        try:
            given = gradients_by_name(gradients, paths)
        except (UserError, ValueError, TypeError):
            return 0
        if any(v is None for v in given.values()):
            return 0
        shapes = [(np.shape(v), np.shape(values[paths[n]])) for n, v in given.items()]
        return 2 if all(_alike(a, b) for a, b in shapes) else 1

    names = returned(target.function)
    form = recognise(result, fit, len(paths), names)
    if not fit(form.tree(result)):
        missing = _without(form.tree(result), paths, values, target)
        if missing:
            paths = {n: p for n, p in paths.items() if n not in missing}
            constants = tuple(missing)
            form = recognise(result, fit, len(paths), names)
    gradients_by_name(form.tree(result), paths)  # raises where they cannot be told apart
    notes = [form.note] if form.note else []
    if constants:
        notes.append(f"note: {', '.join(constants)} has no gradient and was taken for a constant")
    return Try(target, order, form, paths, fit(form.tree(result)), (*notes, *said.notes()))


def _alike(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return a == b or [n for n in a if n > 1] == [n for n in b if n > 1]


def _without(tree: Any, paths: Mapping[str, Path], values: Mapping[Path, Any], target: Target) -> list[str]:
    """The parameters that are none: a record's other arrays, counts, and numbers with a constant's name."""
    missing = [n for n, p in paths.items() if along(tree, p) is None]

    def constant(name: str) -> bool:
        value, last = np.asarray(values[paths[name]]), str(paths[name][-1][1]).lower()
        number = value.ndim == 0 and (value.dtype.kind in "iub" or last in CONSTANTS)
        return number or is_record(target.tree) or target.holds or value.dtype.kind in "iub"

    return missing if len(missing) < len(paths) and all(map(constant, missing)) else []


def _copied(kept: tuple[Any, ...]) -> tuple[Any, ...]:
    try:
        return copy.deepcopy(kept)
    except Exception as error:  # locks, files, generators: whatever cannot be copied says so itself
        raise UserError(
            f"the arguments cannot be copied for every call ({error}); give arrays and numbers, and let the "
            "function reach the rest by itself"
        ) from None


def _renamed(description: Mapping[str, Any], tree: Any, paths: Mapping[str, Path]) -> dict[str, Any]:
    """A description whose layers name a list's members by number, under the names that the report uses."""
    if not isinstance(tree, list | tuple):
        return dict(description)
    new = {written(p): n for n, p in paths.items()}

    def named(value: Any) -> Any:
        return new.get(str(value), value)

    found = dict(description)
    if isinstance(found.get("layers"), list | tuple):
        found["layers"] = [
            replace(v, weight=named(v.weight), bias=named(v.bias)) if isinstance(v, Layer) else v
            for v in found["layers"]
        ]
    for option in ("l2", "l1"):
        if isinstance(p := found.get(option), Penalty) and p.per_array is not None:
            found[option] = replace(p, per_array={named(k): v for k, v in p.per_array.items()})
    return found
