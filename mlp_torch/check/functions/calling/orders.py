"""In which order the author's function takes parameters, x and y: from its signature, and by trying."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlp_torch.check.functions.calling.vocabulary import PARAMETERS, STRENGTHS, X, Y
from mlp_torch.errors import UserError

Slot = tuple[str, Any]  # ("all", None), ("one", key of the parameters), ("data", i), ("batch", None)


@dataclass(frozen=True)
class Order:
    """The arguments of one way to call the function, by position and by name."""

    slots: tuple[Slot, ...]
    named: Mapping[str, Slot] = field(default_factory=dict)
    sure: bool = False  # the signature's names say so

    def arguments(self, tree: Any, data: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """May be traced."""
        return [_take(s, tree, data) for s in self.slots], {
            n: _take(s, tree, data) for n, s in self.named.items()
        }

    def shown(self, name: str) -> str:
        parts = [_shown(s) for s in self.slots] + [f"{n}={_shown(s)}" for n, s in self.named.items()]
        return f"{name}({', '.join(parts)})"


def _take(slot: Slot, tree: Any, data: Sequence[Any]) -> Any:
    kind, key = slot
    if kind == "one":
        return tree[key]
    return data[key] if kind == "data" else tuple(data) if kind == "batch" else tree


def _shown(slot: Slot) -> str:
    kind, key = slot
    if kind == "one":
        return str(key) if isinstance(key, str) else f"parameters[{key}]"
    names = {"all": "parameters", "batch": "(x, y)"}
    return label(key) if kind == "data" else names[kind]


def label(i: int) -> str:
    """How the i-th thing after the parameters is called: x, y, then data[2]."""
    return ("x", "y")[i] if i < 2 else f"data[{i}]"


def switched_off(function: Callable[..., Any], count: int, named: Collection[str]) -> Iterator[str]:
    """The keywords that stay at a default of 0, as reg=0.0, beside `count` arguments and the `named`."""
    found = signature(function)
    for i, (name, given) in enumerate(found.parameters.items() if found else ()):
        passed = i < count or name in named
        number = isinstance(given.default, float) or (
            type(given.default) is int and name.lower() in STRENGTHS
        )
        if not passed and number and given.default == 0:
            yield f"{name}={given.default}"


def signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):
        return None


def positional(shape: inspect.Signature | None) -> list[inspect.Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p for p in shape.parameters.values() if p.kind in kinds] if shape else []


def orders(function: Callable[..., Any], tree: Any, count: int, extras: Mapping[str, Any]) -> Iterator[Order]:
    """Every call that the signature allows with these parameters and `count` data, the likeliest first."""
    shape = signature(function)
    data: tuple[Slot, ...] = tuple(("data", i) for i in range(count))
    whole: Slot = ("all", None)
    keys = _keys(tree)
    spread: tuple[Slot, ...] = tuple(("one", k) for k in keys)
    tried = [by_name(shape, keys, count, extras)]
    tried += [Order((whole, *data)), Order((*data, whole))]
    if count == 2:
        tried += [
            Order((data[0], whole, data[1])),
            Order((whole, ("batch", None))),
            Order((whole, *data[::-1])),
        ]
    if keys:
        tried += [Order((*spread, *data)), Order((*data, *spread))]
    seen: set[Any] = set()
    for order in tried:
        key = order and (order.slots, tuple(order.named.items()))
        if order is None or key in seen or not _binds(shape, order, extras):
            continue
        seen.add(key)
        yield order


def _keys(tree: Any) -> list[Any]:
    if isinstance(tree, Mapping):
        return list(tree)
    return list(range(len(tree))) if isinstance(tree, list | tuple) else []


def _binds(shape: inspect.Signature | None, order: Order, extras: Mapping[str, Any]) -> bool:
    if shape is None:
        return True
    try:
        shape.bind(*order.slots, **order.named, **extras)
    except TypeError:
        return False
    return True


def by_name(
    shape: inspect.Signature | None, keys: Sequence[Any], count: int, extras: Mapping[str, Any]
) -> Order | None:
    """The order that the signature settles: parameters under their own names, or x and y told by theirs."""
    if shape is None:
        return None
    free = [p for p in shape.parameters.values() if p.name not in extras]
    free = [
        p for p in free if p.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    ]
    low = {str(k).lower(): k for k in keys}
    by_key = {p.name: _key(p.name, keys, low) for p in free}
    whole = [p for p in free if p.default is p.empty]
    left: list[Slot] = [("data", i) for i in range(count)]
    if len(keys) > 1 and sum(k is not None for k in by_key.values()) == len(keys):
        chosen: dict[str, Slot] = {}
        for p in free:
            if by_key[p.name] is not None:
                chosen[p.name] = ("one", by_key[p.name])
            elif left:
                chosen[p.name] = left.pop(0)
        return None if left else _ordered(free, chosen)
    names = [p.name.lower() for p in whole]
    if len(whole) != count + 1 or not count:
        return None
    xs, ys = [i for i, n in enumerate(names) if n in X], [i for i, n in enumerate(names) if n in Y]
    own = [i for i, n in enumerate(names) if n in PARAMETERS]
    if len(own) != 1 or len(xs) > 1 or len(ys) > 1 or not xs:
        return None
    placed: dict[int, Slot] = {own[0]: ("all", None), xs[0]: left[0]}
    rest = left[1:]
    if ys and rest:
        placed[ys[0]] = rest.pop(0)
    for i in range(len(whole)):
        if i not in placed and rest:
            placed[i] = rest.pop(0)
    return _ordered(whole, {whole[i].name: s for i, s in placed.items()})


def _key(name: str, keys: Sequence[Any], low: Mapping[str, Any]) -> Any:
    return name if name in keys else low.get(name.lower()) if len(low) == len(keys) else None


def _ordered(free: Sequence[inspect.Parameter], chosen: Mapping[str, Slot]) -> Order:
    slots: list[Slot] = []
    named: dict[str, Slot] = {}
    for p in free:
        if p.name not in chosen:
            continue
        if p.kind is inspect.Parameter.KEYWORD_ONLY or len(slots) < free.index(p):
            named[p.name] = chosen[p.name]
        else:
            slots.append(chosen[p.name])
    return Order(tuple(slots), named, sure=True)


def need_place(function: Callable[..., Any], name: str, count: int, holds: bool) -> None:
    """Raise UserError where x and y are all that the function takes: no parameters to differentiate by."""
    needed = [p.name.lower() for p in positional(signature(function)) if p.default is p.empty]
    every = signature(function)
    alone = every is not None and len(every.parameters) == len(needed)
    if not holds and alone and count == 2 == len(needed) and needed[0] in X and needed[1] in Y:
        raise UserError(
            f"{name}({', '.join(needed)}) takes no parameters, and a gradient is by parameters; write "
            f"def f(p, x, y), which reads its weights from p, and say check_function(f, parameters, x, y)"
        )


def adapter(function: Callable[..., Any], name: str, tree: Any, count: int) -> str:
    """The lambda that a person may write for this signature, with its names."""
    keys = _keys(tree)
    low = {str(k).lower(): k for k in keys}
    data = ["p", *[label(i) if i < 2 else f"d{i}" for i in range(count)]]
    taken = []
    for p in positional(signature(function)):
        n = p.name.lower()
        if p.default is not p.empty:
            continue
        key = _key(p.name, keys, low)
        if key is not None:
            taken.append(f"p[{key!r}]")
        else:
            taken.append("p" if n in PARAMETERS else "x" if n in X else "y" if n in Y else p.name)
    called = ", ".join(taken) or "…"
    return (
        f"check_function(lambda {', '.join(data)}: {name}({called}), {', '.join(['parameters', *data[1:]])})"
    )


def source(function: Callable[..., Any]) -> ast.FunctionDef | None:
    """The function's own text, parsed; None where there is none (a lambda, code that was typed in)."""
    try:
        parsed = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError, ValueError):
        return None
    return parsed if isinstance(parsed, ast.FunctionDef) else None


def unpacked(function: Callable[..., Any], count: int) -> list[str] | None:
    """The names that the function gives to the members of a list of parameters: `W1, b1 = params`."""
    text = source(function)
    if text is None:
        return None
    own = {a.arg for a in (*text.args.posonlyargs, *text.args.args)}
    found: dict[Any, str] = {}
    for node in ast.walk(text):
        if not (isinstance(node, ast.Assign) and len(node.targets) == 1):
            continue
        target, value = node.targets[0], node.value
        if isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Name) and value.id in own:
            names = [e.id for e in target.elts if isinstance(e, ast.Name)]
            if len(names) == len(target.elts) == count and len(set(names)) == count:
                return names
        if isinstance(target, ast.Name) and isinstance(value, ast.Subscript):
            at = value.slice
            if isinstance(value.value, ast.Name) and value.value.id in own and isinstance(at, ast.Constant):
                found.setdefault(at.value, target.id)
    if set(found) == set(range(count)) and len(set(found.values())) == count:
        return [found[i] for i in range(count)]
    return None


def returned(function: Callable[..., Any]) -> list[str | None]:
    """The names on the function's last return line, None for what is no name."""
    text = source(function)
    lines = [n for n in ast.walk(text) if isinstance(n, ast.Return)] if text else []
    if not lines or not isinstance(lines[-1].value, ast.Tuple):
        return []
    return [e.id if isinstance(e, ast.Name) else None for e in lines[-1].value.elts]
