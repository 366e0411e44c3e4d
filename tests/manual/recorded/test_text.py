"""The formulas that people read are those that are computed: each is parsed and evaluated."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import erf, expit

from manual.activations import Activation
from manual.catalogue import ACTIVATIONS, LOSSES
from manual.numbers import Array
from manual.recorded import recorded
from manual.recorded.text import LATEX, PLAIN, Style, derivative, formula

EVERY: list[Any] = [*ACTIVATIONS.values(), *LOSSES.values()]
ROWS = [row for row in EVERY if recorded(row) is not None]
ROWS += [LOSSES["huber(delta=0.75)"], replace(ACTIVATIONS["leaky_relu"], options={"negative_slope": 0.3})]
FUNCTIONS: dict[str, Any] = {
    **{"exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p},
    **{"tanh": np.tanh, "erf": erf, "sigmoid": expit},
    **{"sign": np.sign, "min": np.minimum, "max": np.maximum, "√": np.sqrt},
}
COMPARE: dict[str, Any] = {
    ">": np.greater,
    "≥": np.greater_equal,
    "<": np.less,
    "≤": np.less_equal,
    "=": np.equal,
    "≠": np.not_equal,
}
TOKEN = re.compile(r"\s*(\d+\.?\d*(?:e-?\d+)?|[a-zα-ωŷ_]+\d?p?|[²³⁴⁵]|.)", re.IGNORECASE)
TEX = {
    **{r"\hat{y}": "ŷ", r"\geq": "≥", r"\leq": "≤", r"\neq": "≠", r"\lnot": "not ", r"\lor": " or "},
    **{r"\land": " and ", r"\text{ if }": " if ", r"\text{ else }": " else ", r"\,": " ", r"\cdot": "·"},
    **{r"\text{slope}": "slope", r"\text{scale}": "scale", r"\alpha": "alpha", r"\delta": "delta"},
    **{r"\pi": "π", r"\quad": "", "^2": "²", "^3": "³", "-": "−"},
}


def from_tex(tex: str) -> str:
    """The plain text that LaTeX stands for."""
    tex = re.sub(r"\\operatorname\{(\w+)\}", r"\1", tex)
    for command, sign in TEX.items():
        tex = tex.replace(command, sign)
    tex = re.sub(r"\\(exp|log|tanh|min|max)\b", r"\1", tex)
    while "\\" in tex:  # the innermost first
        tex, quotients = re.subn(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", tex)
        tex, roots = re.subn(r"\\sqrt\{([^{}]*)\}", r"√(\1)", tex)
        assert quotients or roots, tex
    return tex


class Reader:
    """A formula's value by recursive descent: a product needs no sign."""

    def __init__(self, text: str, names: dict[str, Any]) -> None:
        self.tokens, self.names, self.bars = TOKEN.findall(text), names, 0

    def peek(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def take(self, *expected: str) -> bool:
        if self.peek() in expected:
            self.tokens.pop(0)
            return True
        return False

    def need(self, token: str) -> None:
        assert self.take(token), (token, self.tokens)

    def choice(self) -> Any:
        value = self.either()
        if self.take("if"):
            condition = self.either()
            self.need("else")
            return np.where(condition, value, self.choice())
        return value

    def either(self) -> Any:
        value = self.both()
        while self.take("or"):
            value = value | self.both()
        return value

    def both(self) -> Any:
        value = self.opposite()
        while self.take("and"):
            value = value & self.opposite()
        return value

    def opposite(self) -> Any:
        return ~self.opposite() if self.take("not") else self.comparison()

    def comparison(self) -> Any:
        value = self.sum()
        if self.peek() in COMPARE:
            return COMPARE[self.tokens.pop(0)](value, self.sum())
        return value

    def sum(self) -> Any:
        value = -self.product() if self.take("−") else self.product()
        while self.peek() in ("+", "−"):
            sign = 1 if self.tokens.pop(0) == "+" else -1
            value = value + sign * self.product()
        return value

    def product(self) -> Any:
        value = self.power()
        while self.peek() not in ("", ")", "]", ",", "+", "−", *COMPARE, "if", "else", "or", "and"):
            if self.peek() == "|" and self.bars:
                break
            if self.take("/"):
                value = value / self.power()
            else:
                self.take("·")
                value = value * self.power()
        return value

    def power(self) -> Any:
        value = self.atom()
        if self.peek() in "²³⁴⁵" and self.peek():
            value = value ** ("²³⁴⁵".index(self.tokens.pop(0)) + 2)
        return value

    def atom(self) -> Any:
        token = self.tokens.pop(0)
        if token in ("(", "["):
            value = self.inside()
            self.need(")" if token == "(" else "]")
            return value * 1.0 if token == "[" else value
        if token == "|":
            self.bars += 1
            value = self.choice()
            self.need("|")
            self.bars -= 1
            return abs(value)
        if token == "−":
            return -self.power()
        if token == "√":
            return np.sqrt(self.atom())
        if token in FUNCTIONS:
            self.need("(")
            arguments = [self.inside()]
            while self.take(","):
                arguments.append(self.inside())
            self.need(")")
            return FUNCTIONS[token](*arguments)
        return float(token) if token[0].isdigit() else self.names[token]

    def inside(self) -> Any:
        bars, self.bars = self.bars, 0
        value = self.choice()
        self.bars = bars
        return value


def evaluated(text: str, names: dict[str, Any]) -> Array:
    """A formula with its clauses, `…, t = …`, the last of them first."""
    parts = re.split(r",\s*(?=[a-z]+ = )", text)
    names = {"π": np.pi, **names}
    for clause in reversed(parts[1:]):
        name, _, value = clause.partition(" = ")
        names[name.strip()] = Reader(value, names).choice()
    reader = Reader(parts[0], names)
    value = reader.choice()
    assert not reader.tokens, reader.tokens
    return np.asarray(value)


def judged(row: Any, style: Style, of_value: str, of_derivative: str) -> None:
    """Assert that both texts say what the row computes."""
    generator = np.random.default_rng(5)
    z = np.concatenate([generator.normal(0, 2, 300), generator.normal(0, 20, 50)])
    slope = np.array([0.37])
    if isinstance(row, Activation):
        given = [z] if row.slope is None else [z, slope]
        a = row.forward(*given)
        assert row.derivative is not None
        right = a, np.broadcast_to(row.derivative(z, a, *given[1:], **row.options), z.shape)
        names = {"z": z, "a": a, "slope": row.options.get("negative_slope", slope[0])}
        names["slope"] = float(names["slope"])
    else:
        y = generator.normal(0, 2, z.shape)
        right = row.terms(z, y, **row.options), row.derivative(z, y, **row.options)
        names = {"ŷ": z, "y": y}
    for text, expected in zip((of_value, of_derivative), right, strict=True):
        text = from_tex(text) if style is LATEX else text
        np.testing.assert_allclose(np.broadcast_to(evaluated(text, names), z.shape), expected, 1e-11, 1e-11)


@pytest.mark.parametrize("style", [PLAIN, LATEX], ids=["plain", "latex"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_is_printed_is_what_is_computed(row: Any, style: Style) -> None:
    judged(row, style, formula(row, style), derivative(row, style))


@pytest.mark.parametrize("style", [PLAIN, LATEX], ids=["plain", "latex"])
@pytest.mark.parametrize(
    ("name", "wrong"), [("tanh", "1 − a"), ("silu", "s (1 + z (1 + s)), s = sigmoid(z)"), ("gelu", "z")]
)
def test_a_wrong_text_is_seen(name: str, wrong: str, style: Style) -> None:
    row = ACTIVATIONS[name]
    with pytest.raises(AssertionError):
        judged(row, style, formula(row, style), wrong.replace("−", "-") if style is LATEX else wrong)


@pytest.mark.parametrize(
    ("row", "of_value", "of_derivative"),
    [
        ("sigmoid", "(e if z < 0 else 1)/(1 + e), e = exp(−|z|)", "a (1 − a)"),
        ("tanh", "tanh(z)", "1 − a²"),
        ("relu", "max(z, 0)", "[not z ≤ 0]"),
        ("silu", "z sigmoid(z)", "s (1 + z (1 − s)), s = sigmoid(z)"),
        ("gelu", "z (1 + erf(z/√2))/2", "(1 + erf(z/√2))/2 + z (exp(−z²/2)/√(2 π))"),
        ("mse", "(ŷ − y)²", "2 (ŷ − y)"),
        ("smooth_l1", "d²/2 if |d| < 1 else (2 |d| − 1)/2, d = ŷ − y", "min(max(ŷ − y, −1), 1)"),
    ],
)
def test_it_reads_as_the_row_is_written(row: str, of_value: str, of_derivative: str) -> None:
    found = ACTIVATIONS[row] if row in ACTIVATIONS else LOSSES[row]
    assert (formula(found), derivative(found)) == (of_value, of_derivative)


def test_what_cannot_be_recorded_has_its_own_words_or_its_name() -> None:
    assert formula(LOSSES["cross_entropy"]) == "−Σ y log softmax(ŷ)"
    assert formula(ACTIVATIONS["softmax"]) == "softmax"
