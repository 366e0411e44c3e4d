"""What another value anywhere in the backward pass would make of the gradients, to first order.

The author's whole function runs once on torch, with a zero probe on every value. For each gradient G of the
author's and one random R of its shape, ∂⟨R, G⟩/∂probe is how G moves with that value. The backward pass is
linear in what flows through it, so a change δ of values mends G where Σ ⟨∂⟨R, G⟩/∂v, δv⟩ = ⟨R, truth − G⟩.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from manual.numbers import Array
from mlp_torch.check.functions.calling import results
from mlp_torch.check.functions.calling.trees import get
from mlp_torch.check.functions.eager.array import Traced
from mlp_torch.check.functions.eager.module import Rebuilt
from mlp_torch.check.functions.eager.run import Run, running
from mlp_torch.check.lines.draws import Draw
from mlp_torch.check.lines.probes import KINDS, Prober
from mlp_torch.check.lines.program import Program, quiet
from mlp_torch.check.lines.recording import At
from mlp_torch.check.lines.sites import ENTER, RECORD

NEAR = 1e-7
BENT = 1e-5  # off by this share, a gradient does not move along its slope
DEEP = 6


@dataclass
class Sensitivity:
    """`slopes[name][at]`: ∂⟨R, G⟩/∂value; `gaps[name]`: ⟨R, truth − G⟩, zero where G is right."""

    draw: Draw
    slopes: dict[str, dict[At, Array]] = field(default_factory=dict)
    gaps: dict[str, float] = field(default_factory=dict)
    random: dict[str, Array] = field(default_factory=dict)
    _along: tuple[tuple[At, ...], tuple[list[str], Array, Array]] | None = None

    def reach(self, at: At) -> frozenset[str]:
        """The gradients that a value reaches."""
        return frozenset(n for n, slopes in self.slopes.items() if at in slopes and slopes[at].any())

    def misshapen(self, new: Mapping[At, Array]) -> bool:
        """Whether some value has not the shape of the one that is there."""
        return any(a.shape != self.draw.values[site][k].shape for (site, k), a in new.items())

    def moved(self, new: Mapping[At, Array]) -> tuple[Array, Array] | None:
        """How far each gradient moves with these values in place, and how far before that cancels."""
        _, slopes, old = self.along(tuple(new))
        step = np.concatenate([a.ravel() for a in new.values()]) - old
        moved, size = slopes @ step, np.abs(slopes) @ np.abs(step)
        return (moved, size) if np.isfinite(size).all() else None

    def spoils(self, moved: Array, size: Array) -> bool:
        """Whether a right gradient moves."""
        right = np.array([n not in self.wrong for n in self.slopes])
        return bool((right & (np.abs(moved) > NEAR * size)).any())

    def mends(self, new: Mapping[At, Array]) -> frozenset[str]:
        """The wrong gradients that come out right with these values in place; none if a right one moves."""
        found = self.moved(new)
        if found is None or self.spoils(*found):
            return frozenset()
        gaps = np.array([self.gaps[n] for n in self.slopes])
        off = np.abs(found[0] - gaps) > NEAR * (found[1] + np.abs(gaps))
        return frozenset(n for n, o in zip(self.slopes, off, strict=True) if not o and n in self.wrong)

    def straight(self, new: Mapping[At, Array], hand: Mapping[str, Array]) -> bool:
        """Whether the gradients of a run with these values in place are where their slopes say."""
        names, slopes, old = self.along(tuple(new))
        step = np.concatenate([a.ravel() for a in new.values()]) - old
        for name, slope in zip(names, slopes, strict=True):
            change = self.random[name] * (hand[name] - self.draw.hand[name])
            size = float(np.abs(slope) @ np.abs(step)) + float(np.abs(change).sum())
            if not abs(float(slope @ step) - float(change.sum())) <= BENT * size:
                return False
        return True

    def along(self, ats: tuple[At, ...]) -> tuple[list[str], Array, Array]:
        """The gradients, their slopes in the values of some events, one after the other, and the values."""
        if self._along is None or self._along[0] != ats:
            old = [self.draw.values[site][k] for site, k in ats]
            rows = [
                [_fitted(by.get(at), v).ravel() for at, v in zip(ats, old, strict=True)]
                for by in self.slopes.values()
            ]
            slopes = np.array([np.concatenate(row) for row in rows])
            self._along = ats, (list(self.slopes), slopes, np.concatenate([v.ravel() for v in old]))
        return self._along[1]

    @cached_property
    def wrong(self) -> list[str]:
        return self.draw.wrong


def _fitted(slope: Array | None, value: Array) -> Array:
    """A slope of the value's shape; NaN where torch gave the value another one."""
    if slope is None:
        return np.zeros(value.shape)
    return slope if slope.shape == value.shape else np.full(value.shape, np.nan)


def sensitivity(program: Program, draw: Draw) -> Sensitivity | None:
    """None where the backward pass does not run on torch, or gives something else there."""
    for without in KINDS:
        found = _slopes(program, draw, without)
        if found is not None:
            return found
    return None


def _slopes(program: Program, draw: Draw, without: frozenset[str]) -> Sensitivity | None:
    prober = Prober(program.sources.sites, without)
    rebuilt = Rebuilt(program.sources.code, {RECORD: prober.value, ENTER: prober.enter})
    trees: list[Any] = []

    def kept(tree: Any, paths: Any) -> dict[str, Any]:
        trees.append((tree, paths))
        return {}

    rebuilt.memo[id(results.gradients_by_name)] = kept
    leaves = {n: torch.tensor(v, dtype=torch.float64, requires_grad=True) for n, v in draw.parameters.items()}
    with quiet(), torch.enable_grad(), running(Run()):
        try:
            function = rebuilt.of(program.function)
            function({n: Traced(v * 1) for n, v in leaves.items()}, *rebuilt.of(list(draw.data)))
        except (
            Exception,
            SystemExit,
        ):  # whatever torch lacks: nothing is known beforehand, and edits are tried by running
            pass
    if not trees:
        return None
    tree, paths = trees[-1]
    arrays = list(_arrays(tree))
    found = Sensitivity(draw)
    generator = np.random.default_rng(0)
    wanted = list(prober.probes.items())
    size = max(float(np.linalg.norm(h)) for h in draw.hand.values())
    for name, hand in draw.hand.items():
        true, random = draw.true[name], generator.normal(size=hand.shape)
        same = [
            a for a in arrays
            if a.value.shape == hand.shape and np.linalg.norm(a.value - hand) <= 1e-9 * size
        ]  # fmt: skip
        with contextlib.suppress(KeyError, IndexError, AttributeError, TypeError):  # named otherwise there
            same = [a for a in same if a is get(tree, paths[name])] or same
        if not same or hand.shape != true.shape:
            return None
        gap = 0.0 if draw.right(name, draw.hand) else float((random * (true - hand)).sum())
        found.gaps[name], found.random[name] = gap, random
        total = (same[0].t * torch.from_numpy(random)).sum()
        if not total.requires_grad or not wanted:  # nothing on the way is asked for
            found.slopes[name] = {}
            continue
        slopes = torch.autograd.grad(total, [p for _, p in wanted], retain_graph=True, allow_unused=True)
        found.slopes[name] = {
            at: g.numpy() for (at, _), g in zip(wanted, slopes, strict=True) if g is not None and g.any()
        }
    return found


def _arrays(tree: Any, deep: int = 0) -> Iterator[Traced]:
    if isinstance(tree, Traced):
        yield tree
    elif deep < DEEP:
        inside: Any = (
            tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list | tuple) else ()
        )
        if not inside and hasattr(tree, "__dict__"):
            inside = vars(tree).values()
        for part in inside:
            yield from _arrays(part, deep + 1)
