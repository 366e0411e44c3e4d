"""From a wrong program to the lines that are to blame: two draws of the data, then one fault at a time, each
repaired before the next is sought.
"""

import ast
import contextlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher
from functools import cached_property
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.additions import COST, additions
from mlp_torch.check.lines.draws import Draw, anew, close, drawn
from mlp_torch.check.lines.explanation import Verdict, told
from mlp_torch.check.lines.line import GuiltyLine
from mlp_torch.check.lines.mender import Mender
from mlp_torch.check.lines.program import Program, Sources, UnavailableError, quiet
from mlp_torch.check.lines.recording import At
from mlp_torch.check.lines.repairs import Hit, Repairs, Verified, blamed
from mlp_torch.check.lines.sites import Site
from mlp_torch.check.lines.syntax import ADDED, applied, enclosing
from mlp_torch.check.lines.trials import Mended

TIMEOUT = 10.0  # seconds for everything, unless told otherwise
SHARE = 0.3  # of it for the truth of one draw, where it is found by differences
NAMED = 2.0  # seconds for the line of a fault that has a name already
MOST_FAULTS = 3
EQUAL = 0.25  # costs that are no evidence of one line against another
DOUBT = 0.4  # an edit that is dearer by this than what was tried waits for what comes next
LENGTH = 0.002  # of a letter: what is longer is less likely
MOST_OTHERS = 4
MOST_TRIED = 3  # partial repairs on which the search for another fault goes on
# what is searched, one after the other: (how, faults at most, lower and upper cost of an edit)
STAGES = (
    ("value", 1, 0.0, 1.35), ("name", 1, 0.0, 1.35), ("run", 1, 0.0, 1.25), ("name", 1, 1.35, 2.0),
    ("value", 1, 1.35, 1.85), ("value", MOST_FAULTS, 0.0, 1.85), ("hit", 1, 0.0, 3.0), ("run", 1, 1.25, 1.85),
    ("value", 1, 1.85, 3.0), ("value", MOST_FAULTS, 0.0, 3.0),
)  # fmt: skip


def guilty_lines(
    function: Callable[..., Any], loss: Callable[..., Any], parameters: Mapping[str, Array],
    data: tuple[Any, ...], floors: Mapping[str, float], seconds: float = TIMEOUT,
) -> tuple[list[GuiltyLine], str]:  # fmt: skip
    """(lines, why there are none or not all). `function(parameters, *data)` gives (loss, gradients, …) and
    runs many times on copies of everything; `loss` is its forward pass, traceable; `floors` as ‖h − t‖.
    """
    deadline = time.monotonic() + seconds
    program = Program(function, loss, Sources())
    values = {n: np.asarray(v, dtype=np.float64) for n, v in parameters.items()}
    try:
        first = drawn(program, values, data, floors, seconds * SHARE)
    except UnavailableError as error:
        return [], f"no line is named: {error}"
    except Exception as error:  # whatever the author's code raises where it is rewritten
        return [], f"no line is named: the rewritten code raised {type(error).__name__}: {error}"
    if not program.sources.sites:
        return [], "no line is named: there is no source to read"
    if not first.wrong:
        return [], ""
    draws = [first, *second(program, first, seconds * SHARE)]
    lines = find_lines(program, draws, deadline - time.monotonic())
    why = f"the search for lines ended after {seconds:g} s (timeout=)" if time.monotonic() > deadline else ""
    if any(d.resolution for d in draws):
        lines, less = proven_by_differences(lines, draws, program.sources.sites)
        why = "; ".join(filter(None, (less, why)))
    return lines, why


def proven_by_differences(
    lines: list[GuiltyLine], draws: Sequence[Draw], sites: Sequence[Site]
) -> tuple[list[GuiltyLine], str]:
    """The lines that differences can prove: those that make every gradient right, on two draws."""
    if not lines:
        return [], ""
    if len(draws) < 2:
        return [], "no line is named: differences on one draw of the data are no proof"
    if {a for line in lines for a in line.arrays} != set(draws[0].wrong):
        return [], "no line is named: no repair made every gradient right"
    slow = sum(sites[number].assigned for d in draws for number, _ in d.forward)
    if slow and len(lines) > 1:  # one line may do, of a value that is not known
        return [], f"no line is named: differences are too slow for {slow} values that the loss depends on"
    coarsest = max(d.resolution for d in draws)
    words = f"differences were too slow for {slow} values: the line may only repeat an earlier fault"
    return [line.by_differences(coarsest) for line in lines], words if slow else ""


def second(program: Program, first: Draw, seconds: float) -> list[Draw]:
    """The same shapes drawn anew, where the function takes them; else other parameters alone."""
    for data in (anew(first.data, np.random.default_rng(2), integers=True), first.data):
        parameters = anew(first.parameters, np.random.default_rng(1))
        with contextlib.suppress(Exception):  # labels in another order, say, which the author refuses
            found = drawn(program, parameters, data, seconds=seconds)
            if np.isfinite(found.loss) and found.wrong:
                return [found]
    return []


def find_lines(program: Program, draws: Sequence[Draw], seconds: float = 20.0) -> list[GuiltyLine]:
    """The lines whose repair makes every gradient right, in the order in which they are run."""
    with quiet():
        search = Search(program, draws, time.monotonic() + seconds)
        verdicts = search.verdicts()
        return [told(verdict) for verdict in verdicts]


class Search:
    """The faults of one program, of which some may be repaired already."""

    def __init__(self, program: Program, draws: Sequence[Draw], deadline: float) -> None:
        self.program, self.draws, self.deadline = program, draws, deadline
        self.mender = Mender(program, draws, deadline)
        self.wrong = frozenset(draws[0].wrong)
        self.ways: list[Mended] = []

    def verdicts(self) -> list[Verdict]:
        for how, most, low, high in STAGES:
            if self.mender.late:
                break
            found = self.faults(how, most, low, high)
            if found:
                return found
        return self.settled() or self.by_value()

    def faults(self, how: str, most: int, low: float, high: float) -> list[Verdict]:
        """The faults that edits of one stage mend, all together; none where something stays wrong."""
        if most == 1:
            mender = self.mender
            if how == "value":
                self.ways += mender.predicted(low, high)
            elif how == "run":
                self.ways += mender.run(low, high)
            elif mender.rounds:
                self.ways += mender.towards(self.named_so if how == "name" else self.hit, low, high)
            if how == "value":
                self.ways += self.mender.misfits(high)
                if low < COST <= high:
                    self.ways += additions(self.mender)
            return self.settled(high)
        return self.several(most, high)

    def settled(self, high: float = np.inf) -> list[Verdict]:
        """The likeliest edit that mends all, unless one that was not tried yet may well be likelier."""
        whole = [w for w in self.ways if w.arrays == self.wrong]
        if not whole or min(map(self.suspicion, whole)) > high + DOUBT:
            return []
        return [self.chosen(whole)]

    def several(self, most: int, high: float) -> list[Verdict]:
        """A part that one edit mends, and the rest by further ones."""
        parts = sorted((w for w in self.ways if w.cost <= high), key=lambda w: (-len(w.arrays), w.cost))
        groups: dict[frozenset[str], list[Mended]] = {}
        for way in parts:
            groups.setdefault(way.arrays, []).append(way)
        for ways in list(groups.values())[:MOST_TRIED]:
            verdict = self.chosen(ways)
            assert verdict.mended is not None
            rest = self.after(verdict.mended)
            if rest is None or self.mender.late:
                continue
            for how, _, low, top in STAGES[:4]:
                found = rest.faults(how, 1, low, min(top, high))
                if found:
                    return [verdict, *found]
            if found := rest.settled():
                return [verdict, *found]
            if most > 2 and (found := rest.several(most - 1, high)):
                return [verdict, *found]
        return []

    def after(self, mended: Mended) -> "Search | None":
        """The search in the program with one fault repaired."""
        old = self.program.sources
        source = old.of(mended.file)
        assert source is not None
        text = "\n".join(applied(source.lines, mended.edit)) + "\n"
        program = Program(self.program.function, self.program.loss, Sources({**old.texts, mended.file: text}))
        try:
            draws = [drawn(program, d.parameters, d.data, d.floors) for d in self.draws]
        except Exception:  # what the author's repaired code raises where it is rewritten
            return None
        return Search(program, draws, self.deadline) if draws[0].wrong else None

    def chosen(self, ways: Sequence[Mended]) -> Verdict:
        """The likeliest of the edits that mend the same, and the lines that are as likely."""
        cheapest = min(w.cost for w in ways)
        ways = [w for w in ways if w.cost <= cheapest + 1.0]
        scores = {w: self.suspicion(w) for w in ways}
        best = min(ways, key=lambda w: (scores[w], w.line))
        others: dict[int, Mended] = {}
        for way in sorted(ways, key=lambda w: scores[w]):
            if way.line != best.line and scores[way] <= scores[best] + EQUAL:
                others.setdefault(way.line, way)
        return self.verdict(None, best, list(others.values())[:MOST_OTHERS])

    def verdict(
        self, hit: Hit | None, mended: Mended | None = None, others: Sequence[Mended] = (),
        other_hits: Sequence[Hit] = (),
    ) -> Verdict:  # fmt: skip
        sites = self.program.sources.sites
        return Verdict(hit, mended, list(others), list(other_hits), self.draws, sites)

    def suspicion(self, way: Mended) -> float:
        """The cost of an edit; more where the value that it changes is the gradient that it is named after,
        or comes after one that is not; less where it becomes that gradient.
        """
        draw, score = self.draws[0], way.cost + LENGTH * max(0, len(way.after) - len(way.before))
        before = [self.names.by_name((s, k), draw.values[s][k]) for s, k in way.values]
        after = [self.names.by_name(at, v) for at, v in way.values.items()]
        if before and all(before):
            score += 0.8
        elif any(v is not None for v in after):
            score += -0.3 if all(v in (True, None) for v in after) else 0.3
        if way.values:
            time = min(draw.order[at] for at in way.values)
            score += 0.4 * (time > self.first_misnamed) + 0.3 * (time < self.last_named)
        return score - self.likeness(way)

    def likeness(self, way: Mended) -> float:
        """What speaks for an edit: it reads what nothing else does, or makes its line like another one."""
        source = self.program.sources.of(way.file)
        function = enclosing(source.tree, way.line)[1] if source is not None else None
        if function is None:
            return 0.0
        names = [n for n in ast.walk(function) if isinstance(n, ast.Name)]
        idle = {n.id for n in names if isinstance(n.ctx, ast.Store)}
        idle |= {a.arg for a in ast.walk(function) if isinstance(a, ast.arg)}
        idle -= {n.id for n in names if isinstance(n.ctx, ast.Load)} | {"_", "self"}
        found = 0.25 * bool(idle & set(re.findall(r"\w+", way.edit.text)))
        others = [
            ast.unparse(s) for s in ast.walk(function)
            if isinstance(s, ast.Assign | ast.AugAssign) and s.lineno != way.line
        ]  # fmt: skip
        before, after = (
            max((SequenceMatcher(None, t.strip(), o).ratio() for o in others), default=0.0)
            for t in (way.before, way.after)
        )
        missing = ADDED in way.edit.text  # a statement, beside which those stand that are like it
        return found + 0.1 * (after > before + 0.02 and not missing)

    @property
    def names(self) -> Verified:
        return self.mender.names

    @cached_property
    def first_misnamed(self) -> float:
        """The time of the first value that is not the gradient which it is named after."""
        return min(self.named(False), default=np.inf)

    @cached_property
    def last_named(self) -> float:
        """The time of the last value before it that is one: up to there nothing is wrong."""
        return max((t for t in self.named(True) if t < self.first_misnamed), default=-np.inf)

    def named(self, right: bool) -> list[int]:
        """When there were values that are the gradients of their names, or are not."""
        draw, sites = self.draws[0], self.program.sources.sites
        return [
            draw.order[s, k]
            for s in draw.values
            if sites[s].assigned and sites[s].kind != "argument"
            for k in draw.backward(s)
            if draw.values[s][k].any() and self.names.by_name((s, k), draw.values[s][k]) is right
        ]

    @cached_property
    def hits(self) -> list[Hit]:
        """The values in whose place true gradients mend."""
        repairs = Repairs(self.program, self.draws, self.deadline)
        return [h for h in repairs.search(set(self.wrong)) if repairs.confirmed(h)]

    def hit(self, at: At, value: Array) -> bool:
        """Whether a value is what mends in its place, where that is wrong first."""
        return any(
            h.first == self.draws[0].order[at] and close(value, a)
            for h in self.hits
            for place, a in (h.candidate.arrays(self.draws[0]) or {}).items()
            if place == at
        )

    def named_so(self, at: At, value: Array) -> bool:
        """Whether a value is the gradient that it is named after, or of anything, where it was not."""
        old, names = self.draws[0].values[at[0]][at[1]], self.names
        if names.by_name(at, value):
            return not names.by_name(at, old)
        return names.whole_of_any(value) and not names.whole_of_any(old)

    def by_value(self) -> list[Verdict]:
        """Where no edit mends: the value in whose place a true gradient does."""
        hits = self.hits
        hit = blamed(self.draws[0], self.program.sources.sites, hits)
        if hit is None:
            return []
        others = {h.site: h for h in hits if h.mends == hit.mends and h is not hit}
        near = sorted(others.values(), key=lambda h: abs(h.last - hit.last))
        return [self.verdict(hit, other_hits=near[:MOST_OTHERS])]
