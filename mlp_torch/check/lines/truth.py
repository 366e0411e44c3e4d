"""The true gradient of every value and of every use, from one run of the author's code on torch.

A zero probe is added to each value of each expression; ∂loss/∂probe is the gradient of that very value, in
Python's own control flow. A value that the loss does not depend on has none: it belongs to the backward pass.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch._numpy as tnp
from torch import Tensor

from manual.numbers import Array
from mlp_torch.check.lines import shim_tmp as shim
from mlp_torch.check.lines.copies import Copies
from mlp_torch.check.lines.program import Gradients, Program, Unavailable, quiet
from mlp_torch.check.lines.recording import At
from mlp_torch.check.lines.sites import ENTER, RECORD, Site

CLOSE = 1e-9


@dataclass
class Prober:
    """What the rewritten code calls at every value on torch."""

    sites: list[Site]
    aliases: bool = True  # also where an array gets another name, which may be changed in place through it
    probes: dict[At, Tensor] = field(default_factory=dict)
    scalars: list[Tensor] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)

    def enter(self) -> int:
        return 0

    def value(self, site: int, v: Any, call: int = 0) -> Any:
        if not isinstance(v, tnp.ndarray):
            if isinstance(v, float) and not isinstance(v, bool):
                self.counts[site] = self.counts.get(site, 0) + 1
            return v
        t = v.tensor
        if not t.is_floating_point():
            return v
        count = self.counts.get(site, 0)
        self.counts[site] = count + 1
        kind = self.sites[site].kind
        if not self.aliases and kind in ("post", "alias", "bind"):
            return v
        probe = torch.zeros(t.shape, dtype=t.dtype, requires_grad=True)
        self.probes[site, count] = probe
        out = t + probe
        if kind == "post":
            v.tensor = out  # every name of this array sees it
            return v
        if out.numel() == 1:
            self.scalars.append(out)
        return tnp.ndarray(out)


def truths(
    program: Program, parameters: Mapping[str, Array], nested: Callable[[Mapping[str, Any]], Any],
    data: Sequence[Any], loss: float,
) -> tuple[dict[At, Array | None], Gradients]:  # fmt: skip
    """(∂loss/∂value by event, None where the loss does not depend on it; ∂loss/∂parameter by name).

    Raises Unavailable where the code gives another loss on torch, or none.
    """
    try:
        return _truths(program, parameters, nested, data, loss, aliases=True)
    except Unavailable:
        return _truths(program, parameters, nested, data, loss, aliases=False)


def _truths(
    program: Program, parameters: Mapping[str, Array], nested: Callable[[Mapping[str, Any]], Any],
    data: Sequence[Any], loss: float, aliases: bool,
) -> tuple[dict[At, Array | None], Gradients]:  # fmt: skip
    prober = Prober(program.sources.sites, aliases)
    extra = {RECORD: prober.value, ENTER: prober.enter, **shim.EXTRA}
    copies = Copies(shim.substitute, program.sources.code, extra)
    function = copies.of(program.function)
    leaves = {n: torch.tensor(v, dtype=torch.float64, requires_grad=True) for n, v in parameters.items()}
    total, reason = None, ""
    with quiet(), torch.enable_grad():
        try:
            given = nested({n: tnp.ndarray(v * 1) for n, v in leaves.items()})
            result = function(given, *shim.to(list(data)))
            total = getattr(result[0], "tensor", None)
        except Exception as error:  # the backward pass may need what torch lacks: the loss is known by value
            reason = f"{type(error).__name__}: {error}"
        if total is None or not total.requires_grad:
            near = [s for s in prober.scalars if _near(float(s.detach()), loss) and s.requires_grad]
            total = near[-1] if near else None
        if total is None:
            raise Unavailable(f"the forward pass does not run on torch ({reason or 'no loss in its graph'})")
        if not _near(float(total.detach()), loss):
            raise Unavailable(f"the loss is {float(total.detach()):.6g} on torch and {loss:.6g} in NumPy")
        wanted = [*prober.probes.values(), *leaves.values()]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.autograd.grad(total.sum(), wanted, allow_unused=True)
    values = [None if g is None else g.numpy().copy() for g in found]
    true = dict(zip(prober.probes, values[: len(prober.probes)], strict=True))
    gradients = {
        n: np.zeros(v.shape) if g is None else g
        for (n, v), g in zip(leaves.items(), values[len(prober.probes) :], strict=True)
    }
    return true, gradients


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= CLOSE * max(abs(b), 1e-12)
