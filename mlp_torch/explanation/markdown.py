"""An explanation as Markdown: the chain as one LaTeX formula, then a section a factor, then the product."""

import re

import numpy as np

from manual.catalogue import ACTIVATIONS
from manual.numbers import Array
from manual.recorded.text import LATEX, derivative
from mlp_torch.explanation.chain import REUSE, START, Explanation, Factor
from mlp_torch.explanation.text import held, layer_above, numbers, shape
from mlp_torch.explanation.text import product as in_text

LETTERS = {"gamma": r"\gamma", "beta": r"\beta", "slope": r"\text{slope}", "mask": r"\text{mask}"}
WIDEST = 8  # columns and rows of a matrix that is printed; a larger one is named by its shape


def tex(name: str) -> str:
    """`z_{2}` for `z2`, `W_{1}[2,0]` for `W1[2,0]`, `L` for `loss`."""
    if name == "loss":
        return "L"
    found = re.fullmatch(r"([A-Za-z]+)(\d*)(\[.*\])?", name)
    assert found is not None, name
    letter, layer, index = found.groups(default="")
    base = LETTERS.get(letter, letter)
    return (f"{base}_{{{layer}}}" if layer else base) + index


def partial(above: str, below: str) -> str:
    r"""`\frac{\partial z_{2}}{\partial a_{1}}`."""
    return rf"\frac{{\partial {tex(above)}}}{{\partial {tex(below)}}}"


def chain(explanation: Explanation) -> str:
    """The product of partial derivatives, with a brace under what is re-used."""
    parts = [(f, partial(f.numerator, _below(f, explanation))) for f in explanation.factors]
    reused = " ".join(text for f, text in parts if f.reused)
    new = r" \cdot ".join(text for f, text in parts if not f.reused)
    if reused:
        reused = rf"\underbrace{{{reused}}}_{{\text{{{REUSE}}}}}" + r" \cdot "
    return rf"{partial('loss', explanation.entry)} = {reused}{new}"


def _below(factor: Factor, explanation: Explanation) -> str:
    return explanation.entry if factor is explanation.factors[-1] else factor.denominator


def matrix(array: Array) -> str:
    """Numbers in LaTeX: one, a matrix of at most 8×8, else its shape and norm."""
    array = np.asarray(array, dtype=np.float64)
    if array.size == 1:
        return _number(array.item())
    flat = array.reshape([n for n in array.shape if n > 1])
    if flat.ndim > 2 or max(flat.shape) > WIDEST:
        norm, times = _number(float(np.linalg.norm(array))), shape(array).replace("×", r" \times ")
        return rf"\left[\,{times},\ \lVert\cdot\rVert = {norm}\,\right]"
    rows = flat if flat.ndim == 2 else flat[None]
    body = r" \\ ".join(" & ".join(_number(v) for v in row) for row in rows)
    return rf"\begin{{bmatrix}} {body} \end{{bmatrix}}"


def _number(value: float) -> str:
    mantissa, _, exponent = f"{value:.5g}".partition("e")
    return f"{mantissa} \\cdot 10^{{{int(exponent)}}}" if exponent else mantissa


def rule(factor: Factor) -> str:
    """The backward line in LaTeX, by its kind."""
    d, i = partial("loss", factor.stage[1:]), factor.layer
    up = partial("loss", factor.numerator)
    z = tex(factor.stage[1:])
    a = rf"a_{{{i}}}"
    by_kind = {
        "dropout_backward": rf"{d} = {up} \odot \text{{mask}}_{{{i}}}",
        "activation_backward": rf"{d} = {up} \odot f'({z})",
        "jacobian_product": rf"{d} = {up} \, (\operatorname{{diag}}({a}) - {a}^\top {a})",
        "linear_backward_input": rf"{d} = {up} \, W_{{{i}}}",
        "linear_backward_weight": rf"{d} = \left({up}\right)^{{\top}} {_input(factor)}",
        "backward_bias": rf"{d} = \sum_n {up}",
        "slope_gradient": rf"{partial('loss', f'slope{i}')} = \sum {up} \odot \min(0, z)",
    }
    formula = by_kind.get(factor.kind)
    if formula is None and factor.kind.endswith("backward_weight"):
        formula = rf"{d} = \sum_n {up} \odot \hat{{x}}_{{{i}}}"
    if formula is None and factor.kind == "batch_norm_evaluation_backward_input":
        formula = rf"{d} = {up} \odot \gamma_{{{i}}} / \sigma_{{{i}}}"
    if formula is None:  # batch_norm and layer_norm in training
        mean, x = r"\operatorname{mean}", rf"\hat{{x}}_{{{i}}}"
        formula = (
            rf"{d} = \frac{{g - {mean}(g) - {x} \, {mean}(g \odot {x})}}{{\sqrt{{\sigma^2 + \varepsilon}}}}"
            rf",\quad g = {up} \odot \gamma_{{{i}}}"
        )
    if factor.kind == "activation_backward":
        formula += rf",\quad f' = {derivative(ACTIVATIONS[factor.row], LATEX)}"
    return formula


def _input(factor: Factor) -> str:
    return tex(factor.label.partition("[")[0]) if factor.kind == "linear_backward_weight" else ""


def markdown(explanation: Explanation, formulas: bool = True) -> str:
    """The whole explanation; without `formulas` for TensorBoard, whose Text tab knows no LaTeX."""
    e = explanation
    lines = [f"## ∂L/∂{e.entry}", "", f"`{e.name}`, {e.title}; L = {e.loss:.6g}", ""]
    lines += ["$$", chain(e), "$$", ""] if formulas else []
    lines += ["| factor | shape | value | product so far | manual | autograd | verdict | |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for f in e.factors:
        name = f"${partial(f.numerator, _below(f, e))}$" if formulas else f"∂{f.numerator}/∂{_below(f, e)}"
        cells = [name, shape(f.values), _short(f.values), held(f, e), _short(f.manual), _short(f.autograd)]
        marks = "; ".join(mark for mark in (REUSE if f.reused else "", e.marked(f)) if mark)
        lines.append(f"| {' | '.join([*cells, f.verdict, marks])} |")
    lines.append("")
    for f in e.factors:
        mark = f" ({REUSE}, for ∂L/∂W{layer_above(e)})" if f.reused else ""
        lines += [f"**{held(f, e)}**{mark}", "", f"forward `{f.forward}`, backward `{f.backward}`", ""]
        if formulas:
            line = "" if f.rule == START else rf"{rule(f)}, \qquad "
            value = rf"{partial(f.numerator, _below(f, e))} = {matrix(f.values)}"
            lines += ["$$", line + value, "$$", ""]
        lines += [f"{f.note}", ""] if f.verdict == "wrong" else []
        lines += [f"**{e.marked(f)}**", ""] if e.marked(f) else []
    state = "is the gradient" if e.multiplies else "is **not** the gradient"
    lines += [
        f"Product: {in_text(e)} = {e.product + 0.0:.10g}, which {state} "
        f"(|Δ| {abs(e.product - e.manual):.1e}; rounding explains {e.tolerance:.1e}).",
        "",
        f"Gradient: manual {e.manual + 0.0:.10g}, autograd {e.autograd + 0.0:.10g}: **{e.row.verdict}**.",
    ]
    return "\n".join(lines)


def _short(array: Array) -> str:
    array = np.asarray(array, dtype=np.float64)
    if array.size <= 4:
        return numbers(array).replace("\n", " ")
    return f"norm {np.linalg.norm(array):.4g}"
