"""A person's own NumPy forward pass as torch records it: every array on the way to the loss, in a graph."""

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from manual.numbers import Array


@dataclass(frozen=True)
class TracedArray:
    """One array of the forward pass that depends on the parameters, under the author's name for it."""

    name: str
    array: Tensor

    @property
    def value(self) -> Array:
        return np.asarray(self.array.detach())


@dataclass(frozen=True)
class TracedLoss:
    """The parameters as leaves, the loss, and the arrays between them, the most downstream first."""

    leaves: Mapping[str, Tensor]
    total: Tensor
    steps: Sequence[TracedArray] = field(default_factory=list)

    def gradient(self, of: Tensor | None = None, upstream: Array | None = None) -> dict[str, Array]:
        """Σ upstream · ∂of/∂parameter by parameter; of the loss itself where nothing is given."""
        out = self.total if of is None else of
        seed = None if upstream is None else torch.tensor(upstream, dtype=out.dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.autograd.grad(
                out, list(self.leaves.values()), seed, retain_graph=True, allow_unused=True
            )
        return {
            name: np.zeros(tuple(leaf.shape)) if g is None else g.numpy().copy()
            for (name, leaf), g in zip(self.leaves.items(), found, strict=True)
        }


def trace(loss: Callable[[dict[str, Any]], Any], values: Mapping[str, Array], value: float) -> TracedLoss:
    """The loss of arrays by name, run once under Dynamo; `value` is what it gives in NumPy.

    Raises whatever Dynamo or the author's code raises, and ArithmeticError where the traced loss differs.
    """
    names = list(values)
    seen: list[_Recorder] = []

    def scalar(*arrays: Any) -> Any:
        return loss(dict(zip(names, arrays, strict=True)))

    def backend(graph: fx.GraphModule, _: Any) -> Callable[..., Any]:
        seen.append(_Recorder(graph))
        return seen[-1].run

    torch._dynamo.reset()
    with torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiler: Any = torch.compiler  # untyped there
        compiled: Any = torch.compile(compiler.wrap_numpy(scalar), fullgraph=True, backend=backend)
        leaves = {n: torch.tensor(v, dtype=torch.float64, requires_grad=True) for n, v in values.items()}
        total = compiled(*leaves.values())
    if abs(float(total.detach()) - value) > 1e-9 * max(abs(value), 1e-12):
        raise ArithmeticError("the traced loss differs")
    return TracedLoss(leaves, total, seen[-1].steps() if seen else [])


class _Recorder(fx.Interpreter):
    """Runs the graph up to the loss and keeps a copy of every array that the loss is made of."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.needed = _ancestors(graph)
        nodes = list(graph.graph.nodes)
        own = [i for i, n in enumerate(nodes) if n in self.needed and n.target is not torch.as_tensor]
        # what comes after the loss is the author's backward pass, which may overwrite the arrays
        self.skipped = {n for n in nodes[max(own, default=0) + 1 :] if n not in self.needed}
        self.kept: list[tuple[fx.Node, Tensor]] = []

    def run_node(self, n: fx.Node) -> Any:
        if n in self.skipped:
            return None
        found = super().run_node(n)
        if n in self.needed and isinstance(found, Tensor) and found.requires_grad and n.op[0] == "c":
            self.kept.append((n, found.clone()))
        return found

    def steps(self) -> list[TracedArray]:
        """The recorded arrays, the most downstream first, each value once under the best name it has."""
        found: dict[tuple[Any, ...], TracedArray] = {}
        for node, array in self.kept:
            step = TracedArray(_name(node), array)
            key = (array.numel(), array.detach().reshape(-1).numpy().tobytes())
            if key not in found or "`" in found[key].name:
                found[key] = step
        return list(reversed(found.values()))


def _ancestors(graph: fx.GraphModule) -> set[fx.Node]:
    waiting = [n for n in graph.graph.nodes if n.op == "output"]
    found: set[fx.Node] = set()
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found


def _name(node: fx.Node) -> str:
    """The variable that the author's line assigns it to, else the line itself."""
    if not re.match(r"wrapped_|numpy_|value(_\d+)?$|as_tensor", node.name):
        return re.sub(r"_\d+$", "", node.name) if _assigned(node) else node.name
    lines = [s.strip() for s in str(node.meta.get("stack_trace") or "").splitlines()]
    code = [s for s in lines if s and not s.startswith("File ") and not set(s) <= set("^~ ")]
    line = code[-1] if code and len(code[-1]) < 60 else f"{code[-1][:56]} …" if code else "?"
    return f"an array of `{line}`"


def _assigned(node: fx.Node) -> bool:
    """Dynamo numbers a variable that is assigned again: a_1 is the author's a, unless a_1 is theirs."""
    return re.sub(r"_\d+$", "", node.name) in {n.name for n in node.graph.nodes}
