"""The true gradient of every value and of every use, from one run of the author's code on torch.

Each value of each expression goes on as a copy of itself, a probe; ∂loss/∂probe is the gradient of that very
value, in Python's own control flow. A value that the loss does not depend on has none: it belongs to the
backward pass.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual.numbers import Array
from mlp_torch.check.functions.eager.array import Traced
from mlp_torch.check.functions.eager.module import Rebuilt
from mlp_torch.check.functions.eager.run import Run, running
from mlp_torch.check.lines import store
from mlp_torch.check.lines.program import Gradients, Program, UnavailableError, quiet
from mlp_torch.check.lines.recording import At, Event
from mlp_torch.check.lines.sites import ENTER, RECORD, Site

CLOSE = 1e-9
# which sites get no probe: an array that is written into through another name would lose what is written
KINDS: tuple[frozenset[str], ...] = (
    frozenset(),
    frozenset({"post", "alias", "bind", "argument"}),
    frozenset({"post", "alias", "bind", "argument", "use"}),
)


@dataclass
class Prober:
    """What the rewritten code calls at every value on torch."""

    sites: list[Site]
    without: frozenset[str]
    only: frozenset[int] | None = None  # None: all
    probes: dict[At, Tensor] = field(default_factory=dict)
    scalars: list[Tensor] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)

    def enter(self) -> int:
        return 0

    def value(self, site: int, v: Any, call: int = 0) -> Any:
        if not isinstance(v, Traced):
            if isinstance(v, float | np.floating) or (isinstance(v, np.ndarray) and v.dtype.kind == "f"):
                self.counts[site] = self.counts.get(site, 0) + 1
            return v
        t = v.t
        if t.is_complex():
            return v
        count = self.counts.get(site, 0)
        self.counts[site] = count + 1
        kind = self.sites[site].kind
        if kind in self.without or not (self.only is None or site in self.only):
            return v
        probe = t.clone() if t.requires_grad else t.clone().requires_grad_()
        self.probes[site, count] = probe
        out = Traced(probe)
        out.scalar, out.looked = v.scalar, True  # what the author calls it is not asked here
        if out.size == 1:
            self.scalars.append(out.t)
        if kind == "post" and not v.scalar:  # every name of this array sees it
            if v._root is None:
                v._t = probe
            else:
                v.write(Ellipsis, out)
            return v
        return out


class Unrecorded(Run):
    """A run whose arrays are not kept: the probes are."""

    def record(self, owner: Any, tensor: Tensor) -> None:
        pass


@dataclass(frozen=True)
class Probed:
    """∂loss/∂value by event, ∂loss/∂parameter by name, and how many numbers left the graph."""

    values: Mapping[At, Array | None]
    gradients: Gradients
    leaks: int


def probed(
    program: Program, parameters: Gradients, data: Sequence[Any], loss: float, events: Sequence[Event]
) -> Probed:
    """The gradients of every value of the loss's graph; so many sites in one run as LIMIT has room for.

    Raises UnavailableError where the code gives another loss on torch, or none.
    """
    for without in KINDS:
        values: dict[At, Array | None] = {}
        try:
            for sites in shares(events):
                found = _probed(program, parameters, data, loss, without, sites)
                values |= found.values
        except UnavailableError:
            if without is KINDS[-1]:
                raise
            continue
        return Probed(values, found.gradients, found.leaks)
    raise AssertionError


def shares(events: Sequence[Event]) -> list[frozenset[int] | None]:
    """Sites whose values and gradients find room together; [None]: all of them."""
    size: dict[int, int] = {}
    for e in events:
        size[e.site] = size.get(e.site, 0) + 2 * e.value.nbytes
    if sum(size.values()) <= store.LIMIT:
        return [None]
    found: list[set[int]] = [set()]
    room = store.LIMIT
    for site, bytes_ in size.items():
        if bytes_ > room and found[-1]:
            found.append(set())
            room = store.LIMIT
        found[-1].add(site)
        room -= bytes_
    return [frozenset(sites) for sites in found]


def _probed(
    program: Program, parameters: Gradients, data: Sequence[Any], loss: float, without: frozenset[str],
    sites: frozenset[int] | None,
) -> Probed:  # fmt: skip
    prober = Prober(program.sources.sites, without, sites)
    rebuilt = Rebuilt(program.sources.code, {RECORD: prober.value, ENTER: prober.enter})
    leaves = {n: torch.tensor(v, dtype=torch.float64, requires_grad=True) for n, v in parameters.items()}
    total, reason = None, ""
    run = Unrecorded()
    with quiet(), torch.enable_grad(), running(run):
        try:
            function = rebuilt.of(program.loss)
            given = {n: Traced(v * 1) for n, v in leaves.items()}
            result = function(given, *rebuilt.of(list(data)))
            total = result.t if isinstance(result, Traced) else None
        except (Exception, SystemExit) as error:  # what the backward pass needs and torch lacks: the loss is
            # known by its value
            reason = f"{type(error).__name__}: {error}"
        if total is None or not total.requires_grad:
            near = [s for s in prober.scalars if _near(float(s.detach()), loss) and s.requires_grad]
            total = near[-1] if near else None
        if total is None:
            raise UnavailableError(
                f"the forward pass does not run on torch ({reason or 'no loss in its graph'})"
            )
        if not _near(float(total.detach()), loss):
            raise UnavailableError(
                f"the loss is {float(total.detach()):.6g} on torch and {loss:.6g} in NumPy"
            )
        wanted = [*prober.probes.values(), *leaves.values()]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.autograd.grad(total.sum(), wanted, allow_unused=True)
    keep = program.recorder.store.keep
    true: dict[At, Array | None] = {}
    for at, g in zip(prober.probes, found, strict=False):
        true[at] = None if g is None else keep(g.numpy())
    gradients = {
        n: np.zeros(v.shape) if g is None else g.numpy().copy()
        for (n, v), g in zip(leaves.items(), found[len(prober.probes) :], strict=True)
    }
    return Probed(true, gradients, run.leaks)


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= CLOSE * max(abs(b), 1e-12)
