"""The author's gradients in one dtype: judged, named, and run in all the ways that kernels fail in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from manual.numbers import Array
from mlp_torch.check.operations.bench import Bench
from mlp_torch.check.operations.calls import ANOTHER, BACKWARD, Graph, RaisedError, Side, is_random
from mlp_torch.check.operations.entries import persistent
from mlp_torch.check.operations.floor import Floor, U, own
from mlp_torch.check.operations.formulas import Scene
from mlp_torch.check.operations.judging import (
    Finding,
    Judgement,
    NotKeptError,
    judge,
    near,
    second,
)
from mlp_torch.check.operations.memory import unwritten
from mlp_torch.check.operations.misses import wider
from mlp_torch.check.operations.naming import described, named
from mlp_torch.check.operations.runs import RUNS, merged, outcome
from mlp_torch.check.operations.standard import Standard
from mlp_torch.check.operations.tensors import alike, equal
from mlp_torch.check.report import Fault, length

FLOAT32 = 2.0**-23
DRAWN = "backward draws random numbers"
Coarser = Callable[[], Mapping[str, Array] | None]


@dataclass
class Comparison:
    """One function at one point, and the finding that is filled.

    `must`: a verdict is asked for; `known`: the reference takes this dtype; `exact`: it is float64,
    or float32 and right in float64; `wide`: the floor holds the author's own rounding.
    """

    author: Side
    truth: Standard
    floor: Floor
    values: list[Any]
    found: Finding
    must: bool
    known: bool
    exact: bool = False
    wide: bool = False

    def widen(self) -> bool:
        """Add the author's own rounding to the floor, where float64 has shown that the formula is right."""
        if not self.exact or self.wide:
            return False
        self.wide = True
        rounding = own(self.author, self.values, self.truth)
        if rounding:
            self.floor = rounding.widened(self.floor, self.truth.true)
        return rounding is not None

    def gradients(self, seed: int = BACKWARD) -> dict[str, Array]:
        graph = self.author.forward(self.values, self.truth.wanted)
        return self.author.gradients(graph, self.truth.upstream(graph), seed=seed)

    def is_right(self) -> bool:
        try:
            return judge(self.truth, self.floor, self.gradients()).verdict == "right"
        except RaisedError:
            return False

    def compare(self, graph: Graph, coarser: Coarser | None, short: bool) -> None:
        """The base run. `coarser`: the reference's gradient in float32, for who computes in it inside.

        `short`: the outputs have the precision of float32 only.
        """
        self.graph, self.up = graph, self.truth.upstream(graph)
        kept = [None if g is None else g.clone() for g in self.up]
        try:
            self.hand = self.author.gradients(graph, self.up)
        except RaisedError as error:
            if not self.must:
                raise NotKeptError(f"the backward raises {error.line}") from error
            if not self.known and isinstance(error.error, NotImplementedError):
                self.found.verdict = "not_comparable"
                self.found.message = f"neither function takes this dtype: {error.line}"
            else:
                self.found.wrong("backward_raises", ("backward",), self._said(error), self.found.tag)
            self.hand = {}
            return
        judgement = judge(self.truth, self.floor, self.hand)
        if judgement.wrong and any(m.any() for m in self.floor.kinked.values()):
            self.floor = self.truth.with_ties(self.floor, self.hand)
            judgement = judge(self.truth, self.floor, self.hand)
        before = self.floor
        if judgement.wrong and self.widen():
            wider = judge(self.truth, self.floor, self.hand)
            judgement, self.floor = (judgement, before) if wider.wrong else (wider, self.floor)
        if judgement.wrong and coarser and (short or _are_float32(self.hand)):
            floor = self.truth.floor(FLOAT32, coarser())
            second_look = judge(self.truth, floor, self.hand)
            if not second_look.wrong:
                if not self.must:
                    raise NotKeptError("the gradients have the precision of float32")
                judgement, self.floor = second_look, floor
                self.found.notes.append("float32 is on the way: judged to its precision")
        if judgement.wrong and self.floor.unit > U:
            judgement = self._not_by_chance(judgement)
        apart: Mapping[str, Array] = {}
        if not judgement.wrong or self.floor.unit > 1e-5:  # in 16 bits, to say which entries of a wrong row
            apart = persistent(self.author, self.truth, self.floor, self.hand, self.values)
            judgement.wrong += [n for n in apart if n not in judgement.wrong]
            judgement.rows |= {n: replace(judgement.rows[n], verdict="wrong") for n in apart}
        self._take(judgement, apart)
        self._upstream_changed(kept)

    def _not_by_chance(self, judgement: Judgement) -> Judgement:
        bench = Bench(self.author, self.truth, self.floor, self.values, self.truth.wanted, self.wide)
        floor = wider(bench, judgement.wrong, self.hand)
        if floor is None:
            return judgement
        second_look = judge(self.truth, floor, self.hand)
        if second_look.wrong:
            return judgement
        self.floor = floor
        return second_look

    def _take(self, judgement: Judgement, apart: Mapping[str, Array]) -> None:
        found = self.found
        found.rows, found.verdict, found.resolution = judgement.rows, judgement.verdict, judgement.resolution
        found.entries = judgement.entries
        found.notes += judgement.notes
        found.message = judgement.cause
        if not judgement.wrong:
            return
        found.message = ""
        if self._drawn(judgement.wrong):
            return
        scene = Scene(self.author, self.truth, self.floor, self.values, self.hand, apart)
        written = self._written_wrong(judgement.wrong)
        named_ = named(scene, written)
        found.faults += named_
        explained = {n for f in named_ for n in f.arrays}
        rest = [n for n in written if n not in explained]
        if rest:
            found.message = "unexplained: " + "; ".join(described(scene, n) for n in rest)
        whole = len(judgement.wrong) == len(judgement.rows) and len(found.faults) == 1 and not rest
        if whole and found.faults[0].kind == "constant_factor":
            found.verdict = "scaled"

    def _drawn(self, wrong: list[str]) -> bool:
        """Other random numbers in backward alone give another gradient."""
        try:
            again, once_more = self.gradients(), self.gradients(ANOTHER)
        except RaisedError:
            return False
        moved = [
            n
            for n in wrong
            if again[n].shape == once_more[n].shape == self.hand[n].shape
            and alike(again[n], self.hand[n])
            and not alike(once_more[n], again[n])
            and not length(once_more[n] - again[n]) <= self.floor.allowed(n, self.truth.true[n])
        ]
        if not moved:
            return False
        masked = is_random(self.author, self.values)
        kind = "wrong_dropout_backward" if masked else "not_repeatable"
        text = DRAWN + (": the mask of forward must be saved" if masked else ": it changes from run to run")
        gap = max(length(once_more[n] - again[n]) for n in moved)
        self.found.wrong(kind, tuple(moved), text, f"two backward passes differ by {gap:.2g}")
        scene = Scene(self.author, self.truth, self.floor, self.values, self.hand)
        self.found.faults += named(scene, [n for n in wrong if n not in moved])
        return True

    def _written_wrong(self, wrong: list[str]) -> list[str]:
        """The arrays that are wrong in what was written; memory that never was is said first."""
        try:
            entries = unwritten(self.gradients)
        except RaisedError:
            return wrong
        found = [n for n in wrong if n in entries and entries[n].any()]
        if not found:
            return wrong
        text = "holds entries of torch.empty or np.empty that were never written"
        count = sum(int(entries[n].sum()) for n in found)
        evidence = f"{count} entries are NaN where fresh memory is, finite where it is finite"
        self.found.wrong("uninitialized_memory", tuple(found), text, evidence)
        return [n for n in wrong if n not in found or not self._right_but_for(entries[n], n)]

    def _right_but_for(self, entries: Array, name: str) -> bool:
        h, t = self.hand[name], self.truth.true[name]
        if h.shape != t.shape or h.shape != entries.shape:
            return False
        h = np.where(entries, t, h)
        return near(h, t, self.floor, name) and not self.floor.off(name, h, t).any()

    def _upstream_changed(self, kept: list[Any]) -> None:
        pairs = enumerate(zip(self.up, kept, strict=True))
        moved = tuple(f"upstream{i}" for i, (g, k) in pairs if g is not None and not equal(g, k))
        if moved:
            text = "the backward changes the gradient that comes from above in place: others still need it"
            self.found.wrong("mutated_input", moved, text, "compared before and after the backward")

    def finish(self, reference: Side, double_backward: bool) -> None:
        """What else is wrong: inputs written into, gradients that move, other runs, the second derivative."""
        self._inputs_changed(reference)
        if self.hand:
            self._again()
        if self.found.verdict == "right":
            self._runs(reference)
        if self.found.verdict == "right" and self.floor.unit <= U:
            right, text = second(self.author, self.truth)
            self.found.notes.append(text)
            if double_backward and right is not True:
                self.found.wrong(
                    "wrong_second_derivative", tuple(self.hand), f"is not right twice: {text}", text
                )

    def _inputs_changed(self, reference: Side) -> None:
        """What was written into the caller's tensors; the reference may write into the same."""
        try:
            theirs = self._written(reference.forward(self.values, []))
        except RaisedError:
            theirs = set()
        arrays = tuple(self.author.arguments.names[i] for i in sorted(self._written(self.graph) - theirs))
        if arrays:
            text = "is changed in place by the call"
            self.found.wrong("mutated_input", arrays, text, "compared before and after")
        if self.author.inplace:
            self.found.notes.append("inputs are overwritten and marked dirty: copies were given")

    def _written(self, graph: Graph) -> set[int]:
        pairs = enumerate(zip(graph.leaves, self.values, strict=True))
        return {i for i, (v, old) in pairs if isinstance(v, torch.Tensor) and not equal(v.detach(), old)}

    def _again(self) -> None:
        """The same run once more: what it moves by is judged like anything else."""
        found = self.found
        if any(f.detail.startswith(DRAWN) for f in found.faults):
            return
        try:
            again = self.gradients(ANOTHER)
        except RaisedError as error:
            found.wrong("not_repeatable", (error.stage,), f"raises in a second call: {error.line}", found.tag)
            return
        moving = {
            n: length(again[n] - h)
            for n, h in self.hand.items()
            if again[n].shape == h.shape and not alike(again[n], h)
        }
        far = [n for n, gap in moving.items() if not gap <= self.floor.allowed(n, self.truth.true[n])]
        near = "no more than another order of its sums can cost (torch.use_deterministic_algorithms fixes it)"
        for name, gap in moving.items():
            less = "" if name in far else f", {near}"
            found.notes.append(f"{name}: a second run differs by {gap:.2g}{less}")
        if far and not any(f.kind == "uninitialized_memory" for f in found.faults):
            far = self._written_wrong(far)
        if far and not any(f.kind == "uninitialized_memory" for f in found.faults):
            text = "changes from run to run by more than rounding"
            found.wrong("not_repeatable", tuple(far), text, f"by {max(moving[n] for n in far):.2g}")

    def _runs(self, reference: Side) -> None:
        def made() -> Bench:
            return Bench(self.author, self.truth, self.floor, self.values, self.truth.wanted, self.wide)

        bench = made()
        self.found.runs["contiguous"] = "right"
        failed: dict[str, Fault] = {}
        for run in RUNS:
            said, fault = outcome(run, bench, replace(bench, side=reference), self.found.tag)
            if fault and self.widen():
                bench = made()
                said, fault = outcome(run, bench, replace(bench, side=reference), self.found.tag)
            if said:
                self.found.runs[run.name] = said
            if fault:
                failed[run.name] = fault
        for fault in merged(failed, bench):
            self.found.wrong(fault.kind, fault.arrays, fault.detail, fault.evidence)

    def _said(self, error: RaisedError) -> str:
        """What backward raised, with the owner of a shape that is another input's."""
        text = f"raises {error.line}"
        if "but expected shape compatible with" in error.line:
            got = error.line.split(" got ")[1].split(" but ")[0]
            owner = [n for n, t in self.truth.true.items() if str(list(t.shape)) == got]
            if owner:
                text += f"; {got} is the shape of {owner[0]}: swapped order?"
        return text


def _are_float32(hand: Mapping[str, Array]) -> bool:
    """Every entry of every gradient is a float32."""
    with np.errstate(all="ignore"):
        return all(np.array_equal(h, h.astype(np.float32).astype(np.float64)) for h in hand.values())
