"""The true gradient of every value and of every use, from one run of the author's code on torch.

A zero probe is added to each value of each expression; ∂loss/∂probe is the gradient of that very value, in
Python's own control flow. A value that the loss does not depend on has none: it belongs to the backward pass.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual.numbers import Array
from mlp_torch.check.functions.eager.array import Traced
from mlp_torch.check.functions.eager.module import Rebuilt
from mlp_torch.check.functions.eager.run import Run, running
from mlp_torch.check.lines.program import Gradients, Program, UnavailableError, quiet
from mlp_torch.check.lines.recording import At
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
        t = v.used()
        if t.is_complex():
            return v
        count = self.counts.get(site, 0)
        self.counts[site] = count + 1
        kind = self.sites[site].kind
        if kind in self.without:
            return v
        probe = torch.zeros(t.shape, dtype=t.dtype, requires_grad=True)
        self.probes[site, count] = probe
        out = Traced(t + probe)
        out.scalar, out.name, out.looked = v.scalar, v.name, v.looked
        if out.size == 1:
            self.scalars.append(out.t)
        if kind == "post" and not v.scalar:
            v.write(Ellipsis, out)  # every name of this array sees it
            return v
        return out


def truths(
    program: Program, parameters: Gradients, data: Sequence[Any], loss: float
) -> tuple[dict[At, Array | None], Gradients]:  # fmt: skip
    """(∂loss/∂value by event, None where the loss does not depend on it; ∂loss/∂parameter by name).

    Raises UnavailableError where the code gives another loss on torch, or none.
    """
    for without in KINDS[:-1]:
        try:
            return _truths(program, parameters, data, loss, without)
        except UnavailableError:
            continue
    return _truths(program, parameters, data, loss, KINDS[-1])


def _truths(
    program: Program, parameters: Gradients, data: Sequence[Any], loss: float, without: frozenset[str]
) -> tuple[dict[At, Array | None], Gradients]:  # fmt: skip
    prober = Prober(program.sources.sites, without)
    rebuilt = Rebuilt(program.sources.code, {RECORD: prober.value, ENTER: prober.enter})
    leaves = {n: torch.tensor(v, dtype=torch.float64, requires_grad=True) for n, v in parameters.items()}
    total, reason = None, ""
    with quiet(), torch.enable_grad(), running(Run()):
        try:
            function = rebuilt.of(program.loss)
            given = {n: Traced(v * 1) for n, v in leaves.items()}
            result = function(given, *rebuilt.of(list(data)))
            total = result.t if isinstance(result, Traced) else None
        except Exception as error:  # the backward pass may need what torch lacks: the loss is known by value
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
    values = [None if g is None else g.numpy().copy() for g in found]
    true: dict[At, Array | None] = dict(zip(prober.probes, values[: len(prober.probes)], strict=True))
    gradients = {
        n: np.zeros(v.shape) if g is None else g
        for (n, v), g in zip(leaves.items(), values[len(prober.probes) :], strict=True)
    }
    return true, gradients


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= CLOSE * max(abs(b), 1e-12)
