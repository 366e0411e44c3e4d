"""One set of gradients against the truth: a row an array, and what is right, wrong or not to be judged."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from manual.numbers import Array
from mlp_torch.check.operations.calls import Graph, RaisedError, Side
from mlp_torch.check.operations.floor import TOO_COARSE, TOO_FAR_FROM_ZERO, Floor, U, of
from mlp_torch.check.operations.kinks import at_kinks, sentence
from mlp_torch.check.operations.standard import Standard
from mlp_torch.check.operations.tensors import differentiable, raised, to_numpy
from mlp_torch.check.report import ArrayRow, Fault, length, row


@dataclass
class Judgement:
    """Rows by array; `wrong` and `unjudged` name arrays, `resolution` is the largest allowed ‖h − t‖/‖t‖.

    `entries` is what a single entry may be off by without being looked at elsewhere, against a typical one.
    """

    rows: dict[str, ArrayRow]
    wrong: list[str] = field(default_factory=list)
    unjudged: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cause: str = ""
    resolution: float = 0.0
    entries: float = 0.0
    accepted: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        return "wrong" if self.wrong else "not_comparable" if self.unjudged else "right"


def near(
    h: Array, t: Array, floor: Floor, name: str, weight: float = 1.0, tight: bool = False, times: float = 1.0
) -> bool:
    """h is t up to `times` what rounding may do, away from kinks."""
    if h.shape != t.shape:
        return False
    gap = length(floor.clean(name, h - t))
    return bool(gap <= times * floor.allowed(name, t, weight, tight))


def judge(standard: Standard, floor: Floor, hand: Mapping[str, Array]) -> Judgement:
    """Entries away from kinks within rounding; entries on one with any derivative the reference has there."""
    found = Judgement({})
    kinked: list[str] = []
    for name, t in standard.true.items():
        h, size = hand[name], length(t)
        allowed = floor.allowed(name, t, tight=True)
        right = near(h, t, floor, name, tight=True)
        if not right:
            allowed, right = floor.allowed(name, t), near(h, t, floor, name)
        if not right or bool(floor.off(name, h, t).any()):
            right = False
            found.wrong.append(name)
        elif size > allowed and not _is_zero(standard, name):
            found.resolution = max(found.resolution, allowed / size)
            if name in floor.entries:
                found.entries = max(found.entries, length(floor.limit(name, t)) / size)
            limit = of(TOO_COARSE, floor.unit) * size
            # in short dtypes a gradient that is near by itself needs no floor to be said to be
            near_by = floor.unit > 1e-5 and length(floor.clean(name, h - t)) <= limit / 2
            if allowed > limit and not near_by:
                right = False
                found.unjudged.append(name)
                found.cause = (
                    f"rounding alone moves the gradient of {name} by {allowed / size:.2g} of its size "
                    "at these inputs: give others, or a finer dtype"
                )
        elif allowed > of(TOO_FAR_FROM_ZERO, floor.unit) * standard.scale + floor.allowed(name, 0 * t, 0.0):
            right = False
            found.unjudged.append(name)
            found.cause = (
                f"rounding alone moves the gradient of {name} by {allowed:.2g}, which is {size:.2g} "
                "at these inputs: give others"
            )
        elif t.size:
            found.notes.append(f"{name}: the true gradient is 0" + (" up to rounding" if size else ""))
        if h.shape == t.shape and name in floor.kinked and floor.kinked[name].any():
            kinked.append(name)
        found.rows[name] = _row(name, h, t, right)
    if kinked and not found.wrong:
        allowed = max(floor.allowed(n, standard.true[n]) for n in kinked)
        result = at_kinks(standard, floor, hand, allowed)
        text = sentence(standard, floor, hand, result)
        away = [n for n in kinked if length((hand[n] - standard.true[n])[floor.kinked[n]]) > allowed]
        if result.verdict == "wrong":
            found.wrong += away or kinked
            found.notes.append(text)
        elif result.verdict == "unknown":
            found.unjudged += away or kinked
            found.cause = f"{text}: " + (
                "move the inputs off the kink" if " kink " in text else "give better conditioned inputs"
            )
        else:
            found.accepted += away
            found.notes.append(text)
        for name in away if result.verdict in ("wrong", "unknown") else []:
            verdict = "wrong" if result.verdict == "wrong" else "not judged"
            found.rows[name] = replace(found.rows[name], verdict=verdict)
    for name in found.unjudged:
        found.rows[name] = replace(found.rows[name], verdict="not judged")
    return found


def _is_zero(standard: Standard, name: str) -> bool:
    """What is left of t is the rounding of what cancels."""
    return not standard.inexact and length(standard.true[name]) <= 1e3 * length(standard.rounded()[name])


def _row(name: str, h: Array, t: Array, right: bool) -> ArrayRow:
    """The row of the report; `scaled` only where h is 0 wherever t is."""
    if not h.size or not t.size:
        nan = math.nan
        return ArrayRow(name, "right" if right else "wrong", h.shape, (), nan, nan, nan, nan, nan, nan)
    with np.errstate(all="ignore"):
        found = row(name, h, t, right)
    if found.verdict == "scaled":
        rest = length(h - found.ratio * t)
        if not rest <= 1e-6 * length(h) or abs(found.ratio - 1) <= 1e-9:
            return replace(found, verdict="wrong")
    # ratios within 1e-6 of 1 are factors too where the rest is rounding
    apart = abs(found.ratio - 1) if found.verdict == "wrong" and h.shape == t.shape else 0.0
    if apart > 16 * U and length(h - found.ratio * t) <= 1e-3 * apart * length(h):
        return replace(found, verdict="scaled")
    return found


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
        gap, size = length((a - b)[there]), length(b[there])
        worst = max(
            worst, gap / max(size, 1e-6 * max(length(c[c == c]) for c in found[1]), 1e-12) if gap else 0.0
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


@dataclass
class Finding:
    """`tag`: dtype and device; `message`: what no fault says; `runs` and `resolution` as in CheckReport."""

    tag: str
    verdict: str = "right"
    rows: dict[str, ArrayRow] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    message: str = ""
    runs: dict[str, str] = field(default_factory=dict)
    resolution: float = 0.0
    entries: float = 0.0  # … of a single entry

    def wrong(self, kind: str, arrays: tuple[str, ...], detail: str, evidence: str) -> None:
        self.verdict = "wrong"
        self.faults.append(Fault(kind, None, arrays, detail, evidence))


class NotKeptError(Exception):
    """The function does not keep float64 through: it is judged in its own dtype."""
