"""From a wrong program to the lines that are to blame: two draws of the data, then one fault at a time, each
repaired before the next is sought.
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
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
from mlp_torch.check.lines.suspicion import Suspicion
from mlp_torch.check.lines.syntax import applied
from mlp_torch.check.lines.trials import Mended

TIMEOUT = 10.0  # seconds for everything, unless told otherwise
SHARE = 0.3  # of it for the truth of one draw, where it is found by differences
NAMED = 2.0  # seconds for the line of a fault that has a name already
MOST_FAULTS = 3
EQUAL = 0.25  # costs that are no evidence of one line against another
DOUBT = 0.4  # an edit that is dearer by this than what was tried waits for what comes next
MOST_OTHERS = 4
MOST_TRIED = 3  # partial repairs on which the search for another fault goes on
# what is searched, one after the other: (how, faults at most, lower and upper cost of an edit)
STAGES = (
    ("value", 1, 0.0, 1.35), ("name", 1, 0.0, 1.35), ("run", 1, 0.0, 1.25),
    ("several", MOST_FAULTS, 0.0, 1.35), ("joint", MOST_FAULTS, 0.0, 1.35), ("name", 1, 1.35, 2.0),
    ("value", 1, 1.35, 1.85), ("several", MOST_FAULTS, 0.0, 1.85), ("joint", MOST_FAULTS, 0.0, 1.85),
    ("hit", 1, 0.0, 3.0), ("run", 1, 1.25, 1.85), ("value", 1, 1.85, 3.0),
    ("several", MOST_FAULTS, 0.0, 3.0),
)  # fmt: skip
# and where one fault is repaired
AFTER = (
    ("value", 0.0, 1.35), ("name", 0.0, 1.35), ("run", 0.0, 1.25), ("name", 1.35, 2.0), ("value", 1.35, 1.85),
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
        self.suspicion = Suspicion(self.mender)
        self.mender.hopes = self.named_so

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
        return self.joint(most, high) if how == "joint" else self.several(most, high)

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
            if found := self.beside(verdict.mended, most, high):
                return [verdict, *found]
        return []

    def joint(self, most: int, high: float) -> list[Verdict]:
        """Faults that spoil the same arrays: two edits whose sum mends, or one after which a value is right,
        and what mends then.
        """
        both = self.mender.both()
        if both:
            return self.paired(both)
        for step in self.mender.next_steps(high)[:MOST_TRIED]:
            if found := self.beside(step, most, high):
                return [self.verdict(None, step), *found]
        return []

    def paired(self, both: Sequence[tuple[Mended, Mended]]) -> list[Verdict]:
        """The likeliest pair; of each half, what stands for it in other pairs that are as likely."""
        scores = [sum(map(self.suspicion, pair)) for pair in both]
        best = both[int(np.argmin(scores))]
        near = [pair for pair, score in zip(both, scores, strict=True) if score <= min(scores) + EQUAL]
        found = []
        for one, other in (best, best[::-1]):
            stand = {m.line: m for pair in near if other in pair for m in pair if m not in best}
            stand.pop(one.line, None)
            found.append(self.verdict(None, one, list(stand.values())[:MOST_OTHERS]))
        return found

    def beside(self, mended: Mended, most: int, high: float) -> list[Verdict]:
        """The other faults, where one is repaired."""
        rest = self.after(mended)
        if rest is None or self.mender.late:
            return []
        for how, low, top in AFTER:
            if low < high and (found := rest.faults(how, 1, low, min(top, high))):
                return found
        if found := rest.settled():
            return found
        return rest.several(most - 1, high) or rest.joint(most - 1, high) if most > 2 else []

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

    @property
    def names(self) -> Verified:
        return self.mender.names

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
        telling = value.size > 1 and bool(np.ptp(value))  # a number, or the same one all over, fits by chance
        return telling and names.whole_of_any(value) and not names.whole_of_any(old)

    def by_value(self) -> list[Verdict]:
        """Where no edit mends: the value in whose place a true gradient does."""
        hits = self.hits
        hit = blamed(self.draws[0], self.program.sources.sites, hits)
        if hit is None:
            return []
        others = {h.site: h for h in hits if h.mends == hit.mends and h is not hit}
        near = sorted(others.values(), key=lambda h: abs(h.last - hit.last))
        return [self.verdict(hit, other_hits=near[:MOST_OTHERS])]
