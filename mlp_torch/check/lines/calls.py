"""Small edits of a call: another function, other axes or bounds, the operands in another order."""

import ast
import itertools
from collections.abc import Iterator

from mlp_torch.check.lines.slips import MOST_ORDERS, ORDERS, Offer, Slips

OTHER_CALLS = {
    "sum": ("mean",), "mean": ("sum",), "maximum": ("minimum",), "minimum": ("maximum",), "sin": ("cos",),
    "cos": ("sin",), "max": ("sum",), "zeros_like": ("ones_like",), "ones_like": ("zeros_like",),
    "argmax": ("argmin",), "log": ("exp",), "exp": ("log",), "tanh": ("cosh",), "cumsum": ("sum",),
    "square": ("sqrt",), "sqrt": ("square",), "abs": ("sign",), "sign": ("abs",),
}  # fmt: skip
REDUCTIONS = frozenset(
    ("sum", "mean", "max", "min", "cumsum", "argmax", "softmax", "logsumexp", "prod", "flip")
)
AXES = (  # "": none is said
    "", "0", "1", "-1", "(0, 1)", "2", "(0, 2)", "(1, 2)", "(0, 2, 3)", "(2, 3)", "(2, 3, 4)", "(1, 2, 3)",
)  # fmt: skip


def call(slips: Slips, node: ast.Call) -> Iterator[Offer]:
    """Another function; other axes; the operands in another order; the call is too much."""
    func, text = node.func, slips.text
    name = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
    head, rest = text(func), [text(a) for a in node.args]
    keys = {k.arg: text(k.value) for k in node.keywords if k.arg}
    for other in OTHER_CALLS.get(name, ()):
        yield func, head[: -len(name)] + other, 1.1
    product = name in ("dot", "matmul", "outer", "multiply")
    if product and len(rest) == 2:
        a, b = (slips.tight(x) for x in node.args)
        yield from ((node, f"{head}({form.format(a=a, b=b)})".replace(" @ ", ", "), 1.4) for form in ORDERS)
        yield node, f"{a} * {b}", 1.5
    elif product and len(rest) == 1 and isinstance(func, ast.Attribute):
        a, b = slips.tight(func.value), slips.tight(node.args[0])
        for form in ORDERS:
            first, second = form.format(a=a, b=b).split(" @ ")
            yield node, f"{first}.{name}({second})", 1.4
    if name in REDUCTIONS:
        method = isinstance(func, ast.Attribute) and text(func.value) not in ("np", "numpy", "special")
        for axis, keep in itertools.product(AXES, ("", "True")):
            inside = [*([] if method else rest[:1]), *[f"axis={axis}"] * bool(axis)]
            inside += [f"keepdims={keep}"] * bool(keep)
            yield node, f"{head}({', '.join(inside)})", 1.1 + 0.2 * ((keep or None) != keys.get("keepdims"))
    if name == "transpose" and len(rest) > 2 and all(isinstance(a, ast.Constant) for a in node.args[-3:]):
        arrays = [a for a in rest if not a.lstrip("-").isdigit()]
        axes = [a for a in rest if a.lstrip("-").isdigit()]
        for order in itertools.islice(itertools.permutations(axes), MOST_ORDERS):
            yield node, f"{head}({', '.join([*arrays, *order])})", 1.1
    if name == "range" and rest:
        last, whole = rest[-1], ", ".join(rest)
        for new in (
            f"range({', '.join(['0', *rest[1:]])})", f"range({last} + 1)", f"range({last} - 1)",
            f"reversed(range({whole}))", f"range({last})",
        ):  # fmt: skip
            yield node, new, 1.1
    if name in ("reversed", "list") and rest:
        yield node, rest[0], 1.0
    if name in ("zip", "enumerate"):
        yield from ((argument, f"reversed({text(argument)})", 1.1) for argument in node.args)
    if len(rest) == 1 and not keys and not product:
        yield node, slips.tight(node.args[0]), 1.6
    if len(rest) > 1 and name == "where":
        yield node, f"{head}({', '.join([rest[0], *rest[:0:-1]])})", 1.0
