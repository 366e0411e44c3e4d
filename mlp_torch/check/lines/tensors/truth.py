"""The true gradient of every value: the author's forward pass run openly, a zero probe added to each.

∂L/∂v = ∂(Σ upstream · output)/∂probe
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from manual.numbers import Array
from mlp_torch.check.lines.draws import close
from mlp_torch.check.lines.probes import KINDS
from mlp_torch.check.lines.program import Gradients
from mlp_torch.check.lines.recording import At
from mlp_torch.check.lines.sites import ENTER, RECORD
from mlp_torch.check.lines.tensors.copies import OpenCopies
from mlp_torch.check.lines.tensors.program import TensorProgram, array_of, total
from mlp_torch.check.operations.tensors import to_numpy

NEAR = 1e-7
# a tensor that is written into through a view would lose what is written where the view is probed
LEVELS = (*KINDS, KINDS[-1] | {"calc"})


class Undetached(TorchFunctionMode):
    """The graph goes on through detach, .data and no_grad: autograd does not look into a forward pass."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.detach, Tensor.detach_, DATA):
            return args[0]
        if func is torch._C._set_grad_enabled:
            return None
        return func(*args, **(kwargs or {}))


DATA = Tensor.data.__get__  # type: ignore[attr-defined]  # a getter of torch._C.TensorBase


@dataclass
class Prober:
    """What the rewritten code calls at every value of an open run."""

    program: TensorProgram
    without: frozenset[str]
    probes: dict[At, Tensor] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)

    def enter(self) -> int:
        return 0

    def value(self, site: int, v: Any, call: int = 0) -> Any:
        if type(v) in (tuple, list) and any(isinstance(x, Tensor) for x in v):
            output = self.program.recorder.output
            return type(v)(self._value(output(site, i), x) for i, x in enumerate(v))
        return self._value(site, v)

    def _value(self, site: int, v: Any) -> Any:
        if not isinstance(v, Tensor):
            if array_of(v) is not None:
                self.counts[site] = self.counts.get(site, 0) + 1
            return v
        if not v.is_floating_point():
            return v
        count = self.counts.get(site, 0)
        self.counts[site] = count + 1
        s = self.program.sources.sites[site]
        if s.kind in self.without and not (s.kind == "calc" and s.assigned and "calc" not in self.without):
            return v
        probe = torch.zeros(v.shape, dtype=v.dtype, device=v.device, requires_grad=True)
        self.probes[site, count] = probe
        if s.kind == "post":
            return v.add_(probe)
        return v + probe


def truths(
    program: TensorProgram, parameters: Gradients, data: Sequence[Any], loss: float, true: Gradients
) -> dict[At, Array | None] | None:  # fmt: skip
    """∂L/∂value by event, None where L does not depend on it.

    None at all where the forward pass is no graph whose gradient is the reference's: a compiled kernel, say.
    """
    for mode in (Undetached, contextlib.nullcontext):
        for without in LEVELS:
            # whatever an operation raises that autograd, or the author's code run openly, does not take
            with contextlib.suppress(Exception):
                found = _truths(program, parameters, data, loss, true, without, mode)
                if found is not None:
                    return found
    return None


def _truths(
    program: TensorProgram, parameters: Gradients, data: Sequence[Any], loss: float, true: Gradients,
    without: frozenset[str], mode: Any,
) -> dict[At, Array | None] | None:  # fmt: skip
    prober = Prober(program, without)
    copies = OpenCopies(program.sources.code, {RECORD: prober.value, ENTER: prober.enter})
    side = replace(program.side, function=copies.of(program.function))
    mutable = torch.autograd.graph.allow_mutation_on_saved_tensors()  # what the author writes in place
    with torch.enable_grad(), program.mode(), mutable:
        with mode():
            graph = side.forward(program.values(parameters, data), program.wanted)
        sum_ = total(graph.out, data[1])
        if not abs(float(sum_.detach()) - loss) <= NEAR * max(abs(loss), 1e-12):
            return None
        leaves = [graph.leaves[i] for i in graph.wanted]
        found = torch.autograd.grad(sum_, [*leaves, *prober.probes.values()], allow_unused=True)
    for name, leaf, g in zip(program.names, leaves, found, strict=False):
        mine = to_numpy(torch.zeros_like(leaf) if g is None else g)
        if not close(mine, true[name], NEAR) and not abs(mine - true[name]).max(initial=0.0) < 1e-12:
            return None
    values = [None if g is None else to_numpy(g).copy() for g in found[len(leaves) :]]
    return dict(zip(prober.probes, values, strict=True))
