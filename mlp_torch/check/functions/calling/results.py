"""What the author's function gives: where in it the loss lies, and the gradients, and the output."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlp_torch.check.describe.layers import align, flatten
from mlp_torch.check.functions.calling.trees import (
    Path,
    get,
    is_array,
    is_matrix,
    is_number,
    is_record,
    members,
)
from mlp_torch.check.functions.calling.vocabulary import GRADIENTS, LOSS, OUTPUT, STYLES
from mlp_torch.errors import UserError

EACH = "give one an array, under the parameters' names"
WRITE = "return (loss, gradients), or (loss, gradients, output)"


@dataclass(frozen=True)
class Form:
    """Paths into a result: the loss, the gradients (several where returned one by one), the output."""

    loss: Path
    gradients: tuple[Path, ...]
    output: Path | None = None
    names: tuple[str, ...] | None = None  # of gradients returned one by one
    note: str = ""
    flat: bool = False  # the loss has a shape of one entry

    def tree(self, result: Any) -> Any:
        """The gradients as the author nests them."""
        if len(self.gradients) == 1 and self.names is None:
            return get(result, self.gradients[0])
        found = [get(result, p) for p in self.gradients]
        return found if self.names is None else dict(zip(self.names, found, strict=True))

    def loss_of(self, result: Any) -> Any:
        """The loss alone, without a look at the rest: may be traced."""
        loss = result
        for kind, name in self.loss:
            loss = getattr(loss, name) if kind == "attribute" else loss[name]
        return loss.reshape(()) if self.flat else loss


def number_like(value: Any) -> bool:
    """One number, in any shape."""
    if isinstance(value, str | bytes | Mapping) or value is None:
        return False
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        return False
    return array.size == 1 and array.dtype.kind in "fiubc"


def plain(tree: Any) -> Any:
    """The same with objects as dicts, and lists of numbers as arrays."""
    if is_matrix(tree):
        return np.asarray(tree)
    if tree is None or is_array(tree) or isinstance(tree, str | bytes):
        return tree
    if isinstance(tree, Mapping) or is_record(tree) or hasattr(tree, "_fields"):
        return {name: plain(v) for (_, name), v in members(tree)}
    if isinstance(tree, list | tuple):
        return type(tree)([plain(v) for v in tree])
    return tree


def gradients_by_name(tree: Any, paths: Mapping[str, Path]) -> dict[str, Any]:
    """The gradient of every parameter, by the parameters' names and the paths that lead to them.

    Raises UserError where it cannot be told which is which.
    """
    walked = {name: along(tree, path) for name, path in paths.items()}
    bare = {".".join(str(n) for _, n in path) or "0": name for name, path in paths.items()}
    named = set(bare.values())
    if all(v is not None for v in walked.values()) and not isinstance(tree, Mapping):
        return walked
    found = flatten(plain(tree), what="gradients")
    known = {style.format(name).lower() for name in bare for style in STYLES}
    if all(v is not None for v in walked.values()) and all(n.lower() in known for n in found):
        return walked
    if not found:
        raise UserError(f"the gradients are an empty {type(tree).__name__}; {EACH}")
    aligned = align(dict.fromkeys(bare if not named & set(found) else paths), found)
    if all(v is not None for v in walked.values()):
        return walked  # and every name is a parameter's
    return {bare.get(n, n): v for n, v in aligned.items()}


def along(tree: Any, path: Path) -> Any:
    """What lies at the parameter's own path, or under a name like dW1; None where nothing does."""
    if not path:
        if isinstance(tree, list | tuple) and len(tree) == 1 and is_array(tree[0]):
            tree = tree[0]
        return _array(tree)
    inside = {name: value for (_, name), value in members(tree)}
    low = {str(n).lower(): v for n, v in inside.items()}
    (kind, name), rest = path[0], path[1:]
    if kind == "item":
        return along(inside[name], rest) if name in inside else None
    for style in STYLES:
        shown = style.format(name)
        for held, key in ((inside, name if style == "{}" else shown), (low, shown.lower())):
            if key in held:
                return along(held[key], rest)
    return None


def _array(value: Any) -> Any:
    if isinstance(value, list | tuple) and not (is_matrix(value) or (value and all(map(is_number, value)))):
        return None
    return np.asarray(value) if isinstance(value, list | tuple) else value if is_array(value) else None


def recognise(result: Any, fit: Callable[[Any], int], count: int, names: Sequence[str | None] = ()) -> Form:
    """Where the loss and the gradients lie. `fit` of a tree: 2 for the parameters' shapes, 1 for their names.

    `count` is how many parameters there are, `names` how the function's return line calls what it gives.
    Raises UserError, one line that says what came and what to write.
    """
    if isinstance(result, Mapping) or (
        (is_record(result) or hasattr(result, "_fields")) and not isinstance(result, list)
    ):
        form = _by_key(result, fit)
        if form is not None:
            return form
    if not isinstance(result, list | tuple) or len(result) < 2:
        raise UserError(f"the function must {WRITE}; it returns {came(result, fit)}")
    items = list(result)
    numbers = [i for i, v in enumerate(items) if number_like(v)]
    first = 0 if 0 in numbers else len(items) - 1 if len(items) - 1 in numbers else (numbers or [0])[0]
    rest = [i for i in range(len(items)) if i != first]
    if not numbers or (first == 0 and not rest):
        return _no_loss(items, fit)
    fits = {i: fit(items[i]) for i in rest}
    rule = 1 if first == 0 else None
    best = max(rest, key=lambda i: (fits[i], i == rule))
    loss: Path = (("item", first),)
    flat = np.shape(items[first]) != ()
    one_by_one = [i for i in rest if is_array(items[i]) or is_matrix(items[i])]
    if fits[best] < 2 and count > 1 and len(one_by_one) >= count:
        chosen = one_by_one[:count]
        given = [names[i] if i < len(names) else None for i in chosen]
        called = None if None in given else tuple(str(n) for n in given)
        many = [items[i] for i in chosen]
        if fit(many if called is None else dict(zip(called, many, strict=True))):
            left = [i for i in one_by_one if i not in chosen]
            return Form(
                loss, tuple((("item", i),) for i in chosen), (("item", left[0]),) if left else None, called,
                _places(first, "the gradients one by one"), flat,
            )  # fmt: skip
    if rule is not None and not fits[best]:
        best = rule  # whatever is wrong with it is told where the gradients are read
    left = [i for i in rest if i != best and is_array(items[i]) and (i == 2 or np.ndim(items[i]) > 0)]
    note = "" if (first, best) == (0, 1) else _places(first, f"the gradients at {best}")
    return Form(loss, ((("item", best),),), (("item", left[0]),) if left else None, None, note, flat)


def _places(first: int, rest: str) -> str:
    return f"note: your function's result was read as: the loss at {first}, {rest}"


def _by_key(result: Any, fit: Callable[[Any], int]) -> Form | None:
    """A dict, or an object with attributes, that holds the loss under its name."""
    inside = {str(name).lower(): ((kind, name),) for (kind, name), _ in members(result)}
    loss = next((inside[k] for k in LOSS if k in inside and number_like(get(result, inside[k]))), None)
    if loss is None:
        return None
    flat = np.shape(get(result, loss)) != ()
    output = next((inside[k] for k in OUTPUT if k in inside and is_array(get(result, inside[k]))), None)
    held = next((inside[k] for k in GRADIENTS if k in inside and fit(get(result, inside[k]))), None)
    if held is not None:
        note = f"note: your function's result was read as: {_said(loss)} and {_said(held)}"
        return Form(loss, (held,), output, None, note, flat)
    beside = [p for p in inside.values() if p not in (loss, output)]
    arrays = [p for p in beside if not number_like(get(result, p))]  # an accuracy is no gradient
    for others in (arrays, beside):
        names = tuple(str(p[0][1]) for p in others)
        if others and fit({n: get(result, p) for n, p in zip(names, others, strict=True)}):
            note = f"note: your function's result was read as: {_said(loss)}, the gradients beside it"
            return Form(loss, tuple(others), output, names, note, flat)
    return None


def _said(path: Path) -> str:
    kind, name = path[-1]
    return f".{name}" if kind == "attribute" else f"[{name!r}]"


def _no_loss(items: Sequence[Any], fit: Callable[[Any], int]) -> Form:
    loss = items[0]
    if is_array(loss) and np.size(loss) > 1 and any(fit(v) for v in items[1:]):
        raise UserError(
            f"the loss has shape {np.shape(loss)}; it must be a scalar, the first thing returned: "
            "its .sum() or .mean()"
        )
    if loss is None or isinstance(loss, str):
        kind = type(loss).__name__
        raise UserError(f"the loss is a {kind}; it must be a number, the first thing returned")
    raise UserError(f"the function must {WRITE}; no number is among the {len(items)} things that it returns")


def came(result: Any, fit: Callable[[Any], int]) -> str:
    """What a result is, in words."""
    if result is None:
        return "None: is its `return` missing?"
    if number_like(result):
        return "the loss alone: the gradients are what is judged"
    if isinstance(result, Mapping):
        held = ", ".join(map(str, result)) or "nothing"
        more = ", and no loss" if fit(result) else ""
        return f"a dict of {held}{more}"
    if isinstance(result, list | tuple):
        return f"a {type(result).__name__} of {len(result)}"
    if is_array(result):
        return f"an array of shape {np.shape(result)}"
    return f"a {type(result).__name__}"
