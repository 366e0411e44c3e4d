"""`mlp_torch.explain(...)`: one gradient entry of your own network, and how an explanation shows itself."""

import io

import numpy as np
from torch import Tensor

from manual.losses import Reduction
from manual.numbers import Array
from mlp_torch import html
from mlp_torch.explanation import chain
from mlp_torch.explanation.chain import Explanation, Factor
from mlp_torch.explanation.choice import seen
from mlp_torch.explanation.source import locate
from mlp_torch.explanation.text import derivative, held, killed, numbers, product, render, shape
from mlp_torch.model import MLP
from mlp_torch.steps import hand_written
from mlp_torch.terminal import Terminal
from mlp_torch.trace import trace
from mlp_torch.verify.comparison import check_batch

HEAD = ("factor", "its value", "so far", "by hand", "autograd", "", "verdict")


def explain(
    model: MLP,
    x: Array | Tensor,
    y: Array | Tensor,
    *,
    loss: str,
    parameter: str | None = None,
    reduction: Reduction = "mean",
) -> Explanation:
    """Take one entry of ∂L/∂parameter apart into the factors of the chain rule, and multiply them again.

    `parameter` names it as the module does, `layers.0.weight[2,0]`; without indices its entry of largest
    gradient, without anything that of the first parameter whose gradient is not 0. x (N, in), y and `loss`
    are as `compare` takes them; the model is run in the mode it is in, and stays as it is.

    Raises what `compare` raises, and UserError for a parameter that is not there.
    """
    x, y = check_batch(model, x, y, loss)
    theirs = trace(model, x, y, loss, reduction=reduction)
    masks = {name: value for name, value in theirs.leaves.items() if name.startswith("mask")}
    ours = hand_written("manual", model, loss)(x, y, reduction=reduction, masks=masks)
    name, index = locate(parameter or seen(ours), ours)
    samples = "1 sample" if len(x) == 1 else f"{len(x)} samples"
    return chain.explain(ours, theirs, name, index, f"{samples}, {loss}, {x.dtype}")


def page(e: Explanation) -> str:
    """For a notebook: the verdict, the factors with their numbers, every number folded below."""
    value = f"{e.product:.10g}"
    said = f"∂L/∂{e.entry} = {e.manual:.10g} by hand, {e.autograd:.10g} by autograd ({e.title})"
    state = "the gradient" if e.multiplies else "NOT the gradient"
    found = f"{product(e)} = {value}, {state}; rounding explains {e.tolerance:.1e} of a difference"
    rows = [_row(factor, e) for factor in e.factors]
    parts = [html.paragraph(f"{f.stage}: {f.note}") for f in e.wrong]
    parts += [html.paragraph(why) for why in [killed(e)] if why]
    parts += [html.table(HEAD, rows), html.paragraph(found)]
    parts.append(html.fold("every number, with the formulas", html.preformatted(text(e))))
    return html.page(e.row.verdict if e.holds else "wrong", said, parts)


def _row(factor: Factor, e: Explanation) -> list[str]:
    label = "" if factor.rule == chain.START else f" = {factor.label}"
    several = "" if factor.values.size == 1 else f"{shape(factor.values)}, "
    both = [_number(factor.manual), _number(factor.autograd)]
    again = "re-used" if factor.reused else "new"
    own = several + _number(factor.values)
    return [derivative(factor, e) + label, own, held(factor, e), *both, again, factor.verdict]


def _number(array: Array) -> str:
    """The number itself, or the norm of several."""
    return numbers(array) if array.size == 1 else f"‖·‖ {float(np.linalg.norm(array)):.4g}"


def text(e: Explanation) -> str:
    """What `mlp explain` prints."""
    console = Terminal(file=io.StringIO(), width=110, no_color=True, highlight=False, soft_wrap=True)
    console.print(render(e))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().rstrip()
