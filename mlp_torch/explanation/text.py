"""An explanation as text: the forward line above each backward line, both engines' numbers, the verdict."""

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from manual.numbers import Array
from manual.structure.trace import Trace
from mlp_torch.explanation.chain import REUSE, Explanation, Factor
from mlp_torch.verify.report import STYLES

FULL = 24  # entries that are printed one by one; a larger array shows its ends
DIM, BOLD, KILLS = "dim", "bold", "bold yellow"


def numbers(array: Array, indent: int = 0) -> str:
    """An array in six digits, its ends only where it is large; a zero has no sign."""
    array = np.asarray(array, dtype=np.float64) + 0.0
    if array.size == 1:
        return f"{array.item():.6g}"
    squeezed = array.reshape([n for n in array.shape if n > 1])
    return np.array2string(
        squeezed,
        max_line_width=110,
        threshold=FULL,
        edgeitems=2,
        prefix=" " * indent,
        formatter={"float_kind": lambda value: f"{value:.6g}"},
    )


def shape(array: Array) -> str:
    """`4×3`."""
    return "×".join(map(str, np.shape(array))) or "1"


def derivative(factor: Factor, explanation: Explanation) -> str:
    """`∂z2/∂a1`; the last one names the entry."""
    last = factor is explanation.factors[-1]
    return f"∂{factor.numerator}/∂{explanation.entry if last else factor.denominator}"


def held(factor: Factor, explanation: Explanation) -> str:
    """The name of the product so far, `dz1[:,2]`, where not all units are needed."""
    if factor is explanation.factors[-1]:
        return f"d{explanation.entry}"
    return held_units(factor, explanation.traces[0])


def held_units(factor: Factor, trace: Trace) -> str:
    """The same, of a factor that is not the last."""
    if len(factor.units) == 1 and trace[factor.stage].shape[1] > 1:
        return f"{factor.stage}[:,{factor.units[0]}]"
    return factor.stage


def killed(explanation: Explanation) -> str:
    """Which factor kills the gradient, and why; nothing where none does."""
    found = explanation.killer
    factors = [f for f in explanation.factors if found is not None and f.stage == found.stage]
    return "".join(f"{derivative(f, explanation)}: {explanation.marked(f)}" for f in factors)


def product(explanation: Explanation) -> str:
    """The factors in one line, by their names and shapes, or by their numbers where each is one."""
    factors = explanation.factors
    if all(factor.values.size == 1 for factor in factors):
        terms = [f"{factor.values.item():.6g}" for factor in factors]
        return " · ".join(f"({term})" if term.startswith("-") else term for term in terms)
    return " · ".join(
        f"{factor.label if factor.rule != 'start' else 'dloss'} ({shape(factor.values)})"
        for factor in factors
    )


def render(explanation: Explanation) -> RenderableType:
    """Lines for rich; off a terminal they come out plain."""
    lines: list[Text] = [
        Text.assemble((f"∂L/∂{explanation.entry}", BOLD), f"  {explanation.name}, {explanation.title}"),
        Text(f"L = {explanation.loss:.6g}"),
    ]
    if said := killed(explanation):
        lines.append(Text(said, style=KILLS))
    reused = [factor for factor in explanation.factors if factor.reused]
    for i, factor in enumerate(explanation.factors):
        if factor.reused and i == 0:
            lines += [Text(), Text(f"For ∂L/∂W{layer_above(explanation)}: {REUSE}", style="bold magenta")]
        if not factor.reused and i == len(reused):
            lines += [Text(), Text(f"New for ∂L/∂{explanation.entry}", style=BOLD)]
        lines += _factor(factor, explanation)
    value = f"{explanation.product + 0.0:.10g}"
    state = "the gradient" if explanation.multiplies else "NOT the gradient"
    gap = abs(explanation.product - explanation.manual)
    lines += [
        Text(),
        Text.assemble(("product   ", BOLD), product(explanation)),
        Text(f"          = {value}, {state}: |Δ| {gap:.1e}, rounding explains {explanation.tolerance:.1e}"),
        Text.assemble(
            ("gradient  ", BOLD),
            f"manual {explanation.manual + 0.0:.10g}   autograd {explanation.autograd + 0.0:.10g}   ",
            (explanation.row.verdict, STYLES[explanation.row.verdict]),
            f" ({explanation.row.equal} of {explanation.row.size} entries of the gradient bit-equal)",
        ),
    ]
    lines += [Text(f"{f.stage}: {f.note}", style="red") for f in explanation.wrong]
    return Group(*lines)


def layer_above(explanation: Explanation) -> int:
    """The layer whose weights have needed the re-used factors already."""
    return explanation.factors[-1].layer + 1


def _factor(factor: Factor, explanation: Explanation) -> list[Text]:
    name = derivative(factor, explanation)
    label = "" if factor.rule == "start" else f" = {factor.label}"
    head = f"{name}{label} ({shape(factor.values)})"
    if factor.values.size == 1:
        head += f" = {numbers(factor.values)}"
    lines = [
        Text(),
        Text(f"  forward   {factor.forward}", style=DIM),
        Text(f"  backward  {factor.backward}"),
        Text(f"  factor    {head}"),
    ]
    if factor.values.size > 1:
        lines.append(Text(f"            {numbers(factor.values, 12)}"))
    if mark := explanation.marked(factor):
        lines.append(Text(f"            ↑ {mark}", style=KILLS))
    so_far = held(factor, explanation)
    if factor.manual.size == 1:
        found = f"manual {numbers(factor.manual)}   autograd {numbers(factor.autograd)}"
        lines.append(Text.assemble(f"  {so_far} = {found}   ", (factor.verdict, STYLES[factor.verdict])))
        return lines
    gap = float(np.max(np.abs(np.asarray(factor.manual, np.float64) - factor.autograd)))
    lines += [
        Text.assemble(
            f"  {so_far} ({shape(factor.manual)})   max |Δ| {gap:.1e}   ",
            (factor.verdict, STYLES[factor.verdict]),
        ),
        Text(f"  manual    {numbers(factor.manual, 12)}"),
        Text(f"  autograd  {numbers(factor.autograd, 12)}"),
    ]
    return lines
