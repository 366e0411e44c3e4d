"""The derivative of the gradient: whether the function offers it, and whether it is the reference's."""

from typing import Any

import torch

from mlp_torch.check.operations.calls import Graph, RaisedError, Side
from mlp_torch.check.operations.standard import Standard
from mlp_torch.check.operations.tensors import differentiable, norm, raised, to_numpy


def second(side: Side, standard: Standard) -> tuple[bool | None, str]:
    """(right, a sentence); None where the function offers none."""
    found: list[list[Any]] = []
    frozen = False
    for one in (side, standard.side):
        try:
            graph = one.forward([raised(v) for v in standard.values], standard.wanted)
            frozen = frozen or (one is side and any(_keeps_constants(o) for o in graph.out))
            found.append(_derivative(one, graph, standard))
        except (RaisedError, RuntimeError):
            if one is side:
                return None, "double backward: not offered"
            return None, "double backward: not judged, the reference offers none"
    worst = 0.0
    for a, b in zip(*found, strict=True):
        if not ((a == a) == (b == b)).all():
            return False, "double backward: wrong, NaN where the reference's is not, or the reverse"
        there = (a == a) & (b == b)
        gap, size = norm((a - b)[there]), norm(b[there])
        worst = max(
            worst, gap / max(size, 1e-6 * max(norm(c[c == c]) for c in found[1]), 1e-12) if gap else 0.0
        )
    if worst <= 1e-8:
        return True, "double backward: right"
    if all(not a.any() for a in found[0]):
        return None, "double backward: not offered (the gradient has no graph)"
    if frozen:
        return None, (
            f"double backward: not offered, and off by {worst:.3g} relative for who tries: autograd takes "
            "the intermediate values that forward saved as constants; mark backward @once_differentiable"
        )
    return False, f"double backward: differs from the reference's by {worst:.3g} relative"


def _derivative(side: Side, graph: Graph, standard: Standard) -> list[Any]:
    first = side.backward(graph, standard.up, create=True)
    generator = torch.Generator().manual_seed(2)
    leaves = [graph.leaves[i] for i in graph.wanted]
    total: Any = 0
    for g in first:
        up = torch.randn(g.shape, generator=generator, dtype=torch.float64).to(g.device)
        total = total + (torch.view_as_real(g).sum(-1) if g.is_complex() else g).mul(up).sum()
    if not isinstance(total, torch.Tensor) or not total.requires_grad:
        return [to_numpy(torch.zeros_like(v)) for v in leaves]
    more = torch.autograd.grad(total, leaves, allow_unused=True)
    return [to_numpy(torch.zeros_like(v) if g is None else g) for g, v in zip(more, leaves, strict=True)]


def _keeps_constants(out: torch.Tensor) -> bool:
    """The hand-written backward reads what forward saved and is neither an input nor an output of it."""
    node: Any = out.grad_fn
    if not isinstance(node, torch.autograd.function.BackwardCFunction):
        return False
    held = [*node.saved_tensors, *vars(node).values()]
    return any(differentiable(v) and not v.requires_grad for v in held)
