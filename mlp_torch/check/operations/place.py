"""One device: the dtypes that are judged there, and the finding in each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from manual.numbers import Array
from mlp_torch.check.operations.calls import FROZEN_LEAF, Graph, Raised, Side, poisoned
from mlp_torch.check.operations.floor import U, Floor, Standard, standard
from mlp_torch.check.operations.judging import Judgement, judge
from mlp_torch.check.operations.naming import Scene, described, named
from mlp_torch.check.operations.runs import RUNS, Bench, outcome
from mlp_torch.check.operations.second import second
from mlp_torch.check.operations.tensors import Arguments, coarse, differentiable, norm, raised, to_numpy
from mlp_torch.check.report import ArrayRow, Fault
from mlp_torch.errors import UserError

FLOAT32 = 2.0**-23
DRAWS = (
    "it draws random numbers: give the mask or the noise as an input, or draw it from torch's generator as "
    "the reference does; both are called under one seed"
)


@dataclass
class Finding:
    """What one dtype on one device showed."""

    tag: str
    verdict: str = "right"
    rows: dict[str, ArrayRow] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    message: str = ""
    runs: dict[str, str] = field(default_factory=dict)
    resolution: float = 0.0


class NotKept(Exception):
    """The function does not keep float64 through: it is judged in its own dtype."""


class Place:
    """Both functions on one device."""

    def __init__(
        self, function: Any, reference: Any, given: Arguments, device: str, double_backward: bool
    ) -> None:
        self.given, self.device, self.double_backward = given, device, double_backward
        self.author = Side("your function", function, given)
        self.reference = Side("the reference", reference, given)
        self.standards: list[Standard] = []

    def findings(self, dtypes: Sequence[torch.dtype] | None) -> list[Finding]:
        if dtypes:
            return [self.judged(dtype) for dtype in dtypes]
        own = self._dtype(self.given.values(None, self.device))
        if own in (torch.float64, torch.complex128):
            return [self.judged(None)]
        if self.device.startswith("mps"):
            return [self.judged(None)]
        try:
            exact = [self.judged(torch.float64, must=False)]
        except NotKept as said:
            exact, why = [], str(said)
        found = self.judged(None)
        if not exact:
            found.notes.insert(0, why)
        return [*exact, found]

    def _dtype(self, values: Sequence[Any]) -> torch.dtype:
        """The coarsest dtype among what is judged."""
        some = [values[i].dtype for i in self.given.judged]
        return max(some, key=lambda d: torch.finfo(d).eps)

    def judged(self, dtype: torch.dtype | None, must: bool = True) -> Finding:
        """One dtype (None: as given). Raises NotKept in place of a verdict on float64 that `must` not be."""
        values = self.given.values(dtype, self.device)
        mine = self._dtype(values)
        tag = f"{str(mine).removeprefix('torch.')} {self.device}"
        unit = max(U, float(torch.finfo(mine).eps))
        found = Finding(tag, notes=coarse(mine, self.device))
        truth = self._standard(values, unit > U)
        if truth.inexact:
            found.notes.append("random numbers depend on the dtype: judged by the reference in the same one")
        if blocked := self._blocked(truth):
            found.verdict, found.message = "not_comparable", blocked
            return found
        low = None if unit <= U or truth.inexact else self._low(values, truth)
        try:
            graph = self._forward(values)
        except Raised as error:
            if not must:
                raise NotKept(f"float64 is not judged: your function raises {error.line}") from error
            raise UserError(f"your function raises {error.line}") from error
        self._same_outputs(graph, truth)
        if not must and any(
            o.is_floating_point() and o.dtype != torch.float64 and b.dtype == torch.float64
            for o, b in zip(graph.out, truth.graph.out, strict=True)
        ):
            raise NotKept("float64 is not judged: your function's output is not float64")
        unit = max(unit, *(_eps(o) for o in graph.out if differentiable(o)), U)
        floor = truth.floor(unit, low and low[0])
        gap = self._forward_gap(graph, truth, unit, low and low[1])
        if gap > 1 and unit <= U:
            inner = self._inner(values, truth)
            gap32 = self._forward_gap(graph, truth, FLOAT32, inner[1])
            if gap32 <= 1 and not must and not self._is_right(truth, floor, values):
                raise NotKept("float64 is not judged: the outputs have the precision of float32")
            gap = min(gap, gap32)
        if gap > 1:
            self._mismatch(found, graph, truth)
            return found
        self._compare(found, truth, floor, values, graph, unit, must)
        return found

    def _standard(self, values: list[Any], short: bool = False) -> Standard:
        """The truth at `values`, computed once where two dtypes hold the same numbers."""
        exact = [raised(v) for v in values]
        for known in self.standards:
            if all(torch.equal(known.values[i], exact[i]) for i in self.given.judged):
                break
        else:
            known = self._differentiated(exact, False)
            self.standards.append(known)
        if short and self._is_random(self.reference, known.values):
            return self._differentiated(values, True)
        return known

    def _differentiated(self, values: list[Any], inexact: bool) -> Standard:
        try:
            return standard(self.reference, values, self.given.judged, inexact)
        except Raised as error:
            if FROZEN_LEAF in str(error.error) and not self.reference.inplace:
                self.reference = Side(self.reference.who, self.reference.function, self.given, inplace=True)
                return self._differentiated(values, inexact)
            raise UserError(
                f"the reference raises {error.line}"
                + ("; mark those to be differentiated with requires_grad_()" if "require" in error.line else "")
            ) from error

    def _blocked(self, truth: Standard) -> str:
        """Why nothing can be held against this reference, "" where it can."""
        for name, t in truth.true.items():
            if not np.isfinite(t).all():
                at = np.argwhere(~np.isfinite(t))[0]
                place = f"[{', '.join(str(int(i)) for i in at)}]" if len(at) else ""
                value = "NaN" if np.isnan(t[tuple(at)]) else "infinite"
                return f"the reference's own gradient of {name} is {value} at {place or 'its entry'}: give other inputs"
        if not truth.graph.roots:
            return "nothing was judged: no output of the reference depends on an input in a way that can be differentiated"
        if not any(t.size for t in truth.true.values()) and not any(o.numel() for o in truth.graph.out):
            return "nothing was judged: all inputs and outputs are empty"
        again = self.reference.gradients(self.reference.forward(truth.values, truth.wanted), truth.up)
        if any(not np.array_equal(again[n], t) for n, t in truth.true.items()):
            floor = truth.floor(U)
            for name, t in truth.true.items():
                if again[name].shape != t.shape or norm(again[name] - t) > floor.allowed(name, t):
                    return f"the reference's gradient of {name} changes from run to run under one seed: {DRAWS}"
        return ""

    def _low(self, values: list[Any], truth: Standard) -> tuple[Mapping[str, Array], list[Array]] | None:
        """The reference's gradient and outputs in the dtype of `values`; None where it does not take it."""
        try:
            graph = self.reference.forward(values, self.given.judged)
            outputs = [to_numpy(o) for o in graph.out]
            return self.reference.gradients(graph, _cast(truth, graph)), outputs
        except (Raised, ValueError):
            return None

    def _inner(self, values: list[Any], truth: Standard) -> tuple[Mapping[str, Array] | None, list[Array] | None]:
        """What the reference gives where the inputs are float32."""
        return self._low([_as_float32(v) for v in values], truth) or (None, None)

    def _forward(self, values: list[Any]) -> Graph:
        try:
            return self.author.forward(values, self.given.judged)
        except Raised as error:
            if FROZEN_LEAF not in str(error.error) or self.author.inplace:
                raise
        self.author = Side(self.author.who, self.author.function, self.given, inplace=True)
        return self.author.forward(values, self.given.judged)

    def _same_outputs(self, graph: Graph, truth: Standard) -> None:
        mine, theirs = ([tuple(o.shape) for o in g.out] for g in (graph, truth.graph))
        if mine != theirs:
            raise UserError(f"the outputs have shapes {mine}, the reference's {theirs}")
        for name, a, b in zip(truth.graph.names, graph.out, truth.graph.out, strict=True):
            if a.is_complex() != b.is_complex():
                raise UserError(f"{name} is {a.dtype}, the reference's {b.dtype}")

    def _forward_gap(self, graph: Graph, truth: Standard, unit: float, low: Any) -> float:
        """The worst ‖yours − reference's‖ of an output against what rounding allows."""
        worst = 0.0
        allowances = truth.outputs_allowed(unit, low)
        for mine, theirs, (allowed, smooth) in zip(graph.out, truth.graph.out, allowances, strict=True):
            a, b = to_numpy(mine), to_numpy(theirs)
            odd = ~np.isfinite(b)
            if not np.array_equal(a[odd], b[odd], equal_nan=True):
                return np.inf
            gap = norm((a - b)[smooth])
            worst = max(worst, gap / allowed if gap == gap else np.inf)
        return worst

    def _mismatch(self, found: Finding, graph: Graph, truth: Standard) -> None:
        with np.errstate(all="ignore"):
            gaps = [norm(np.nan_to_num(to_numpy(a) - to_numpy(b))) for a, b in zip(graph.out, truth.graph.out, strict=True)]
        k = int(np.argmax(gaps))
        text = f"the forward pass differs from the reference's by {gaps[k]:.3g} in {truth.graph.names[k]}"
        if self._is_random(self.reference, truth.values) or self._is_random(self.author, truth.values):
            text += f"; {DRAWS}"
        found.verdict, found.message = "not_comparable", text
        found.faults.append(Fault("forward_mismatch", None, ("output",), text, f"{found.tag}: compared entry by entry"))

    def _is_random(self, side: Side, values: list[Any]) -> bool:
        """Another seed gives other outputs."""
        try:
            first, second = side.forward(values, []), side.forward(values, [], seed=1)
        except Raised:
            return False
        return any(not _equal(a, b) for a, b in zip(first.out, second.out, strict=True))

    def _is_right(self, truth: Standard, floor: Floor, values: list[Any]) -> bool:
        try:
            graph = self._forward(values)
            hand = self.author.gradients(graph, _cast(truth, graph))
        except Raised:
            return False
        return judge(truth, floor, hand).verdict == "right"

    def _compare(
        self, found: Finding, truth: Standard, floor: Floor, values: list[Any], graph: Graph, unit: float, must: bool
    ) -> None:
        up = _cast(truth, graph)
        kept = [None if g is None else g.clone() for g in up]
        try:
            hand = self.author.gradients(graph, up)
        except Raised as error:
            if not must:
                raise NotKept(f"float64 is not judged: the backward raises {error.line}") from error
            found.verdict = "wrong"
            found.faults.append(self._backward_raises(error, truth, found.tag))
            return
        judgement = judge(truth, floor, hand)
        if judgement.wrong and unit <= U:
            other = truth.floor(FLOAT32, self._inner(values, truth)[0])
            if _float32_inside(hand) or self._forward_gap(graph, truth, U, None) > 1:
                second_look = judge(truth, other, hand)
                if not second_look.wrong:
                    if not must:
                        raise NotKept("float64 is not judged: the gradients have the precision of float32")
                    judgement, floor = second_look, other
                    found.notes.append("float32 is on the way: judged to its precision")
        found.rows, found.verdict, found.resolution = judgement.rows, judgement.verdict, judgement.resolution
        found.notes += judgement.notes
        found.message = judgement.cause
        scene = Scene(self.author, truth, floor, values, hand)
        bench = Bench(self.author, truth, floor, values, self.given.judged)
        if judgement.wrong:
            self._named(found, scene, judgement, bench)
        self._changed(found, graph, values, up, kept)
        self._again(found, truth, floor, values, hand, judgement)
        if found.verdict == "right":
            self._runs(found, bench)
        if found.verdict == "right" and unit <= U:
            right, text = second(self.author, truth)
            found.notes.append(text)
            if right is False and self.double_backward:
                found.verdict = "wrong"
                found.faults.append(
                    Fault("wrong_second_derivative", None, tuple(hand), "the second derivative is wrong", text)
                )

    def _named(self, found: Finding, scene: Scene, judgement: Judgement, bench: Bench) -> None:
        found.verdict = "wrong"
        found.message = ""
        found.faults += named(scene, judgement.wrong)
        explained = {n for f in found.faults for n in f.arrays}
        rest = [n for n in judgement.wrong if n not in explained]
        if rest and (fault := self._unwritten(bench, scene, rest)):
            found.faults.append(fault)
            rest = []
        if rest:
            found.message = "unexplained: " + "; ".join(described(scene, n) for n in rest)
        whole = set(judgement.wrong) == set(judgement.rows) and len(found.faults) == 1 and not rest
        if whole and found.faults[0].kind == "constant_factor":
            found.verdict = "scaled"

    def _again(
        self, found: Finding, truth: Standard, floor: Floor, values: list[Any], hand: Mapping[str, Array],
        judgement: Judgement,
    ) -> None:  # fmt: skip
        """The same run once more: what it moves by is judged like anything else."""
        try:
            graph = self._forward(values)
            again = self.author.gradients(graph, _cast(truth, graph))
        except Raised as error:
            found.verdict = "wrong"
            found.faults.append(Fault("not_repeatable", None, (error.stage,), f"raises in a second call: {error.line}", found.tag))
            return
        moving = {n: norm(again[n] - h) for n, h in hand.items() if again[n].shape == h.shape and not _alike(again[n], h)}
        if not moving:
            return
        far = [n for n in moving if not moving[n] <= floor.allowed(n, truth.true[n])]
        for name, gap in moving.items():
            found.notes.append(f"{name}: a second run differs by {gap:.2g}" + (
                "" if name in far else ", no more than another order of its sums can cost "
                "(torch.use_deterministic_algorithms fixes it)"))  # fmt: skip
        if far and not any(f.kind == "uninitialized_memory" for f in found.faults):
            found.verdict = "wrong"
            text = "changes from run to run by more than rounding"
            found.faults.append(Fault("not_repeatable", None, tuple(far), text, f"{found.tag}: by {max(moving[n] for n in far):.2g}"))

    def _unwritten(self, bench: Bench, scene: Scene, rest: list[str]) -> Fault | None:
        """The entries that are wrong become NaN where fresh memory holds NaN."""
        try:
            with poisoned():
                graph = bench.graph()
                hand = bench.side.gradients(graph, bench.up(graph))
        except Raised:
            return None
        if not all(np.isnan(hand[n]).any() and np.isfinite(scene.hand[n]).all() for n in rest):
            return None
        text = "holds entries of torch.empty that were never written"
        return Fault("uninitialized_memory", None, tuple(rest), text, "they are NaN where fresh memory is")

    def _changed(self, found: Finding, graph: Graph, values: list[Any], up: list[Any], kept: list[Any]) -> None:
        """What was written into the caller's tensors; the reference may write into the same."""
        theirs = self._written(self.reference, values)
        names = [
            self.given.names[i]
            for i, (v, old) in enumerate(zip(graph.leaves, values, strict=True))
            if isinstance(v, torch.Tensor) and not _equal(v.detach(), old) and i not in theirs
        ]
        if names:
            text, evidence = "is changed in place by the call", "compared before and after"
            found.faults.append(Fault("mutated_input", None, tuple(names), text, evidence))
            found.verdict = "wrong"
        if self.author.inplace:
            found.notes.append("inputs are overwritten and marked dirty: copies were given")
        moved = [f"upstream{i}" for i, (g, k) in enumerate(zip(up, kept, strict=True)) if g is not None and not _equal(g, k)]
        if moved:
            text = "the backward changes the gradient that comes from above in place: others still need it"
            evidence = "compared before and after the backward"
            found.faults.append(Fault("mutated_input", None, tuple(moved), text, evidence))
            found.verdict = "wrong"

    def _written(self, side: Side, values: list[Any]) -> set[int]:
        try:
            leaves = side.forward(values, []).leaves
        except Raised:
            return set()
        return {
            i for i, (v, old) in enumerate(zip(leaves, values, strict=True))
            if isinstance(v, torch.Tensor) and not _equal(v, old)
        }  # fmt: skip

    def _backward_raises(self, error: Raised, truth: Standard, tag: str) -> Fault:
        text = f"raises {error.line}"
        if "but expected shape compatible with" in error.line:
            got = error.line.split(" got ")[1].split(" but ")[0]
            owner = [n for n, t in truth.true.items() if str(list(t.shape)) == got]
            if owner:
                text += f"; {got} is the shape of {owner[0]}: swapped order?"
        return Fault("backward_raises", None, ("backward",), text, tag)

    def _runs(self, found: Finding, bench: Bench) -> None:
        found.runs["contiguous"] = "right"

        def reference() -> Bench:
            return replace(bench, side=self.reference)

        for run in RUNS:
            said, fault = outcome(run, bench, reference, found.tag)
            if said:
                found.runs[run.name] = said
            if fault:
                found.faults.append(fault)
                found.verdict = "wrong"


def _cast(truth: Standard, graph: Graph) -> list[Any]:
    return [
        None if u is None or not differentiable(o) else u.to(o.dtype).clone()
        for u, o in zip(truth.up, graph.out, strict=True)
    ]


def _equal(a: Any, b: Any) -> bool:
    """The same entries, NaN equal to NaN."""
    if a.dtype != torch.complex32 and torch.equal(a, b):
        return True
    return _alike(to_numpy(a), to_numpy(b))


def _alike(a: Array, b: Array) -> bool:
    return bool(np.array_equal(a, b, equal_nan=True))


def _eps(o: torch.Tensor) -> float:
    return float(torch.finfo(o.dtype).eps)


def _as_float32(v: Any) -> Any:
    if not differentiable(v):
        return v
    return v.to(torch.complex64 if v.is_complex() else torch.float32)


def _float32_inside(hand: Mapping[str, Array]) -> bool:
    """Every entry of every gradient is a float32."""
    with np.errstate(all="ignore"):
        return all(np.array_equal(h, h.astype(np.float32).astype(np.float64)) for h in hand.values())
