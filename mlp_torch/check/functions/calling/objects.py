"""An object that holds its parameters: which arrays they are, and which methods give loss and gradients."""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mlp_torch.check.functions.calling.orders import positional, signature
from mlp_torch.check.functions.calling.results import Form, along, number_like
from mlp_torch.check.functions.calling.trees import Path, assign, get, is_array, leaves, rebuilder, written
from mlp_torch.check.functions.calling.vocabulary import (
    BACKWARD,
    CONTAINERS,
    FORWARD,
    GIVES,
    GRADIENTS,
    LOSSES,
    OUT,
    PARAMETERS,
    STYLES,
    UPSTREAM,
    X,
    Y,
)
from mlp_torch.errors import UserError

Run = Callable[[Any, Sequence[Any], Mapping[str, Any]], Any]


def is_net(value: Any) -> bool:
    """An object with methods of its own, which is no function."""
    if inspect.isroutine(value) or isinstance(value, type | np.ndarray) or hasattr(value, "func"):
        return False
    return hasattr(value, "__dict__") and any(hasattr(value, n) for n in (*GIVES, *FORWARD))


def home(net: Any, parameters: Any) -> dict[str, Path] | None:
    """Where in the object the parameters that were given lie, by name; None where they are not its own."""
    given = {written(p) or "0": v for p, v in leaves(parameters).items()}
    if not given or not hasattr(net, "__dict__"):
        return None
    for attribute, value in vars(net).items():
        if value is parameters:
            return {written(p) or attribute: (("attribute", attribute), *p) for p in leaves(value)}
    paths = leaves(parameters)
    if isinstance(parameters, Mapping) and all(hasattr(net, str(k)) for k in parameters):
        return {written(p): (("attribute", str(p[0][1])), *p[1:]) for p in paths}
    for name in CONTAINERS:
        held = getattr(net, name, None)
        if isinstance(held, Mapping) and isinstance(parameters, Mapping) and set(held) == set(parameters):
            return {written(p): (("attribute", name), *p) for p in paths}
    own = {id(v): p for p, v in leaves(net).items()}
    if all(id(v) in own for v in given.values()):
        return {n: own[id(v)] for n, v in given.items()}
    return None


def found(net: Any) -> dict[str, Path]:
    """Every array of the object that may be a parameter, by name: those of `params`, or its attributes."""
    for name in CONTAINERS:
        held = getattr(net, name, None)
        if isinstance(held, Mapping) and (inside := _floats(held)):
            return {written(p): (("attribute", name), *p) for p in inside}
    return {written(p): p for p in _floats(net) if not any(str(s[1]).lower() in GRADIENTS for s in p)}


def _floats(tree: Any) -> list[Path]:
    return [p for p, v in leaves(tree).items() if isinstance(v, np.ndarray) and v.dtype.kind == "f"]


def stored(net: Any, paths: Mapping[str, Path]) -> dict[str, Any]:
    """The gradients that the object keeps after its backward pass, of those parameters that have one."""
    kept = {name: _stored(net, path) for name, path in paths.items()}
    return {name: value for name, value in kept.items() if value is not None}


def _stored(net: Any, path: Path) -> Any:
    value = get(net, path)
    for i in reversed(range(len(path))):
        kind, name = path[i]
        for style in STYLES[1:] if isinstance(name, str) else ():
            for shown in (style.format(name), style.format(name.lower())):
                if _same_shape(there := _look(net, (*path[:i], (kind, shown), *path[i + 1 :])), value):
                    return there
    for i in reversed(range(len(path))):
        for word in GRADIENTS:
            held = _look(net, (*path[:i], ("attribute", word)))
            for rest in (path[i:], path[i + 1 :]):
                if held is not None and rest and _same_shape(there := along(held, rest), value):
                    return there
    return None


def _same_shape(a: Any, b: Any) -> bool:
    return a is not None and is_array(a) and np.size(a) == np.size(b)


def _look(tree: Any, path: Path) -> Any:
    try:
        return get(tree, path)
    except (KeyError, IndexError, AttributeError, TypeError):
        return None


def protocols(net: Any, count: int) -> Iterator[tuple[str, Run]]:
    """(how it is called, what runs it) of every way in which the object may give a loss and its gradients."""
    for name in GIVES:
        if callable(getattr(net, name, None)) and _takes(getattr(net, name), count):
            yield f"{name}({', '.join('xy'[:count])})", _method(name)
    forward = next((n for n in FORWARD if callable(getattr(net, n, None))), None)
    backward = next((n for n in BACKWARD if callable(getattr(net, n, None))), None)
    if forward and backward and (run := _passes(net, forward, backward)):
        yield run


def _takes(method: Callable[..., Any], count: int) -> bool:
    """The method can be given the data, and its first argument is not the output or the upstream gradient."""
    names = _names(method)
    if names and names[0] in (*OUT, *UPSTREAM) and names[0] not in X:
        return False
    return 0 < count <= len(positional(signature(method))) and len(names) <= count


def _method(name: str) -> Run:
    return lambda net, data, named: getattr(net, name)(*data, **named)


def _names(method: Callable[..., Any]) -> list[str]:
    return [p.name.lower() for p in positional(signature(method)) if p.default is p.empty]


def _passes(net: Any, forward: str, backward: str) -> tuple[str, Run] | None:
    """forward, loss and backward one after the other, each given what its arguments' names ask for."""
    ahead, back = _names(getattr(net, forward)), _names(getattr(net, backward))
    loss = next((n for n in LOSSES if callable(getattr(net, n, None)) and n not in (forward, backward)), None)
    asked = _names(getattr(net, loss)) if loss else []
    known = (*X, *Y, *OUT, *UPSTREAM)
    if any(n not in known for n in back) or not ahead or len(ahead) > 2 or len(asked) > 3:
        return None
    upstream = [n for n in back if n in UPSTREAM and n not in OUT and n not in Y]
    loss = None if upstream and len(ahead) == 1 else loss
    if len(ahead) == 1 and loss is None and not upstream:
        return None

    def run(held: Any, data: Sequence[Any], named: Mapping[str, Any]) -> Any:
        x, y = data[0], data[1] if len(data) > 1 else None
        out = getattr(held, forward)(*(x, y)[: len(ahead)])
        value = out if len(ahead) == 2 else None
        if isinstance(out, tuple):
            value = next((v for v in out if number_like(v)), None) if len(ahead) == 2 else None
            out = out[0]
        if loss and value is None:
            value = getattr(held, loss)(*[x if n in X else y if n in Y else out for n in asked])
            value = value[0] if isinstance(value, tuple) else value
        drawn = np.random.default_rng(0).normal(size=np.shape(out)) if upstream and value is None else None
        if drawn is not None:
            value = (out * drawn).sum()
        d = drawn if drawn is not None else 1.0
        given = [d if n in upstream else x if n in X else y if n in Y else out for n in back]
        gradients = getattr(held, backward)(*given)
        return value, gradients

    words = [f"{forward}({', '.join(('x', 'y')[: len(ahead)])})"]
    words += [f"{loss}({', '.join(asked)})"] if loss and len(ahead) == 1 else []
    words += [f"{backward}({', '.join(back)})"]
    if upstream and loss is None and len(ahead) == 1:
        words += ["the loss being Σ output · R for a drawn R that is the upstream gradient"]
    return ", ".join(words), run


def bound(
    net: Any, paths: Mapping[str, Path], run: Run, use: str, collect: Form | None
) -> Callable[..., Any]:
    """The object as a function of (parameters by name, *data).

    `use`: a "fresh" copy of the object for every call, the "same" copy for all, or one that can be "traced".
    `collect` says that the gradients are read from the object after the call, and where the loss lies.
    """
    held = net if use == "fresh" else copy.deepcopy(net)
    place = rebuilder(held, {p: n for n, p in paths.items()}) if use == "traced" else None
    alone = collect is not None and not collect.loss  # the call gives nothing but the loss

    def call(arrays: Mapping[str, Any], *data: Any, **named: Any) -> Any:
        if place is not None:
            result = run(place(arrays), data, named)
            return (result,) if alone else result
        own = copy.deepcopy(held) if use == "fresh" else held
        _fill(own, paths, arrays)
        result = run(own, data, named)
        if collect is not None:
            result = (result if alone else get(result, collect.loss), stored(own, paths))
        _write_back(own, paths, arrays)
        return result

    return call


def _fill(net: Any, paths: Mapping[str, Path], arrays: Mapping[str, Any]) -> None:
    try:
        for name, path in paths.items():
            assign(net, path, arrays[name])
    except (TypeError, AttributeError):
        made = rebuilder(net, {p: n for n, p in paths.items()})(arrays)
        for name, value in vars(made).items():
            object.__setattr__(net, name, value)


def _write_back(net: Any, paths: Mapping[str, Path], arrays: Mapping[str, Any]) -> None:
    """A parameter that the call replaced is the caller's now, so that the change is seen."""
    if isinstance(arrays, dict):
        arrays.update({n: v for n, p in paths.items() if (v := _look(net, p)) is not None})


def belongs(method: Callable[..., Any], parameters: Any, data: Sequence[Any]) -> bool:
    """The bound method takes its parameters as arguments, in place of holding them."""
    names = _names(method)
    return bool(names) and names[0] in PARAMETERS and len(names) > len(data)


def helpless(net: Any, count: int) -> UserError:
    """What to write for an object whose methods leave a choice."""
    kind = type(net).__name__
    methods = [
        f"{n}{signature(getattr(net, n))}"
        for n in dir(net)
        if not n.startswith("_") and callable(getattr(net, n, None)) and not inspect.isclass(getattr(net, n))
    ]
    names = list(dict.fromkeys(str(p[0][1]) for p in found(net).values()))[:4] or ["W1"]
    takes, gives = ", ".join(f"net.{n}" for n in names), ", ".join(f"p[{n!r}]" for n in names)
    grads = f"{{{', '.join(f'{n!r}: net.d{n}' for n in names)}}}"
    values = f"{{{', '.join(f'{n!r}: net.{n}' for n in names)}}}"
    if isinstance(getattr(net, names[0], None), Mapping):
        takes, gives, grads, values = f"net.{names[0]}", "p", "net.grads", f"net.{names[0]}"
    forward = next((n for n in FORWARD if callable(getattr(net, n, None))), "forward")
    backward = next((n for n in BACKWARD if callable(getattr(net, n, None))), "backward")
    ahead = "net" if forward == "__call__" else f"net.{forward}"
    asked = _names(getattr(net, backward)) if hasattr(net, backward) else ["y"]
    back = ", ".join("x" if n in X else "y" if n in Y else "out" if n in OUT else n for n in asked)
    text = (
        f"def f(p, x, y): {takes} = {gives}; out = {ahead}(x); net.{backward}({back}); "
        f"return loss_of(out, y), {grads}"
    )
    said = ", ".join(methods) or "none"
    return UserError(
        f"it is not clear how a {kind} gives a loss and its gradients (its methods: {said}); write the calls "
        f"down: `{text}`, and say check_function(f, {values}, {', '.join(['x', 'y'][: max(count, 1)])})"
    )
