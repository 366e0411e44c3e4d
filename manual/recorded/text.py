"""A row's formulas as people read them, in plain text or in LaTeX, made from the functions themselves.

    z (1 + erf(z/√2))/2        d²/2 if |d| < 1 else (2 |d| − 1)/2, d = ŷ − y

What is used several times has a letter and stands behind the formula. A product is written without a sign.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from manual.activations import Activation
from manual.catalogue.losses import WORDS
from manual.losses import Loss
from manual.recorded.formula import recorded
from manual.recorded.record import COMPARISONS, Recorded, walk

OPAQUE = ("sigmoid", "sign")
SHORT = 6  # characters of an option that stands in the formula; a longer one is named
INPUTS = {"output": "ŷ", "negative_slope": "slope"}
LETTERS = {"exp": "e", "tanh": "t", "sub": "d", "sigmoid": "s", "max": "m"}
OTHERS = "uvwpqr"
SIMPLE = ("neg", "abs")
# How strongly an operation binds what stands beside it.
POWERS = {"select": 0, "or": 1, "and": 2, "not": 3, **dict.fromkeys(COMPARISONS, 4), "add": 5, "sub": 5}
POWERS |= {"neg": 6, "mul": 6, "div": 6}
ATOM = 9


@dataclass(frozen=True)
class Style:
    """One way to write: signs and names by operation, symbols by name, and how parts are put together."""

    signs: Mapping[str, str]
    functions: Mapping[str, str]
    symbols: Mapping[str, str]
    over: str
    root: str
    choice: str
    separator: str
    beside: str
    times: str
    named: tuple[str, ...] = ()  # options whose value is not said
    drawn: bool = False  # the quotient shows by itself where its parts end


PLAIN = Style(
    {"add": " + ", "sub": " − ", "neg": "−", "not": "not ", "or": " or ", "and": " and "}
    | {"gt": " > ", "ge": " ≥ ", "lt": " < ", "le": " ≤ ", "eq": " = ", "ne": " ≠ "},
    {},
    {},
    "{0}/{1}",
    "√{0}",
    "{1} if {0} else {2}",
    ", ",
    " ",
    " · ",
)
LATEX = Style(
    {"add": " + ", "sub": " - ", "neg": "-", "not": r"\lnot ", "or": r" \lor ", "and": r" \land "}
    | {"gt": " > ", "ge": r" \geq ", "lt": " < ", "le": r" \leq ", "eq": " = ", "ne": r" \neq "},
    {"exp": r"\exp", "log": r"\log", "tanh": r"\tanh", "min": r"\min", "max": r"\max"},
    {"π": r"\pi", "ŷ": r"\hat{y}", "slope": r"\text{slope}", "delta": r"\delta", "alpha": r"\alpha"}
    | {"scale": r"\text{scale}"},
    r"\frac{{{0}}}{{{1}}}",
    r"\sqrt{{{0}}}",
    r"{1} \text{{ if }} {0} \text{{ else }} {2}",
    r",\quad ",
    r" \, ",
    r" \cdot ",
    named=("negative_slope",),
    drawn=True,
)


def formula(row: Activation | Loss, style: Style = PLAIN) -> str:
    """f, or the terms of a loss."""
    return _texts(row, style)[0]


def derivative(row: Activation | Loss, style: Style = PLAIN) -> str:
    """f′, which is written with z and a, or the derivative of a loss with respect to ŷ."""
    return _texts(row, style)[1]


_written: dict[tuple[Any, ...], tuple[str, str]] = {}


def _texts(row: Activation | Loss, style: Style) -> tuple[str, str]:
    """Both; of what cannot be recorded the row's own words, or its name."""
    if row.name in WORDS:
        return WORDS[row.name]
    key = row.name, row.derivative, *row.options.items(), style.over
    if key not in _written:
        long = {name: value for name, value in row.options.items() if len(str(value)) > SHORT}
        f = recorded(row, opaque=OPAQUE, given=[*long, *style.named])
        if f is None:
            return row.name, f"the derivative of {row.name}"
        clauses = [
            f"{style.symbols.get(name, name)} = {value}"
            for name, value in long.items()
            if name not in style.named
        ]
        names = {node: INPUTS.get(name, name) for name, node in f.inputs.items()}
        value = written(f.value, names, style)
        known = names if isinstance(row, Loss) else {f.value: "a", **names}
        derived = written(f.derivative, known, style)
        _written[key] = style.separator.join([value, *clauses]), style.separator.join([derived, *clauses])
    return _written[key]


def written(root: Recorded, names: Mapping[Recorded, str], style: Style) -> str:
    """The value as a formula, and behind it what its letters stand for."""
    known, letters, clauses = dict(names), iter(OTHERS), list[str]()
    parents: dict[Recorded, int] = {}
    order = [n for n in walk(root, names) if n.args and not n.constant]
    for node in order:
        for argument in dict.fromkeys(node.args):
            parents[argument] = parents.get(argument, 0) + 1
    for node in order:
        if node is not root and parents[node] > 1 and not node.condition and not _simple(node, known):
            letter = LETTERS.get(node.op, "")
            text = _text(node, known, style)[0]
            known[node] = letter if letter and letter not in known.values() else next(letters)
            clauses.append(f"{known[node]} = {text}")
    return style.separator.join([_text(root, known, style)[0], *reversed(clauses)])


def _simple(node: Recorded, known: Mapping[Recorded, str]) -> bool:
    return node.op in SIMPLE and node.args[0] in known


def _factors(node: Recorded, known: Mapping[Recorded, str]) -> Iterator[Recorded]:
    """What a product is made of, from left to right."""
    if node.op == "mul" and node not in known:
        yield from _factors(node.args[0], known)
        right = node.args[1]
        yield from _factors(right, known) if right.op == "mul" and right not in known else [right]
    else:
        yield node


def _text(node: Recorded, known: Mapping[Recorded, str], style: Style) -> tuple[str, float]:
    """The formula and how strongly its outermost operation binds."""
    if node in known or node.op == "input":
        name = known.get(node, INPUTS.get(str(node.value), str(node.value)))
        return style.symbols.get(name, name), ATOM
    if node.op == "const":
        whole = node.value.denominator == 1
        text = f"{abs(node.value.numerator)}" if whole else f"{abs(float(node.value)):.16g}"
        return (f"{style.signs['neg']}{text}", POWERS["neg"]) if node.value < 0 else (text, ATOM)
    if node.op == "pi":
        return style.symbols.get("π", "π"), ATOM
    power = POWERS.get(node.op, ATOM)

    def inside(argument: Recorded, above: float) -> str:
        text, own = _text(argument, known, style)
        return text if own > above else f"({text})"

    def alone(argument: Recorded) -> str:
        return _text(argument, known, style)[0]

    a = node.args
    match node.op:
        case "mul":
            return _product(list(_factors(node, known)), known, style), power
        case "div" if style.drawn:
            return style.over.format(alone(a[0]), alone(a[1])), POWERS["mul"] + 0.5
        case "div":
            return style.over.format(inside(a[0], power - 0.5), inside(a[1], power + 1)), power
        case "sqrt":
            return style.root.format(alone(a[0]) if style.drawn else inside(a[0], ATOM - 1)), ATOM
        case "abs":
            return f"|{alone(a[0])}|", ATOM
        case "select" if a[1].is_(1) and a[2].is_(0):
            return f"[{alone(a[0])}]", ATOM
        case "select":
            return style.choice.format(*(inside(part, power) for part in a)), power
        case "neg" | "not":
            return f"{style.signs[node.op]}{inside(a[0], power - 0.5 if node.op == 'neg' else power)}", power
        case op if op in style.signs:
            return f"{inside(a[0], power - 0.5)}{style.signs[op]}{inside(a[1], power)}", power
    name = style.functions.get(node.op, rf"\operatorname{{{node.op}}}" if style.drawn else node.op)
    return f"{name}({', '.join(alone(argument) for argument in a)})", ATOM


def _product(factors: list[Recorded], known: Mapping[Recorded, str], style: Style) -> str:
    """Factors side by side, the same one several times as a power; the sign of the first stands before."""
    sign, parts = "", list[str]()
    factors = [f for f in factors if not f.is_(1)] or factors[:1]
    while factors:
        first = factors[0]
        if first.op == "neg" and first not in known and not parts and not sign:
            sign, factors = style.signs["neg"], [first.args[0], *factors[1:]]
            continue
        times = next((i for i, f in enumerate(factors) if f is not first), len(factors))
        text, own = _text(first, known, style)
        text = text if own > POWERS["mul"] and not (own < ATOM and times > 1) else f"({text})"
        parts.append(text + ("" if times == 1 else "²³⁴⁵⁶⁷⁸"[times - 2] if not style.drawn else f"^{times}"))
        factors = factors[times:]
    text = parts[0]
    for part in parts[1:]:
        text += (style.times if part[0].isdigit() else style.beside) + part
    return sign + text
