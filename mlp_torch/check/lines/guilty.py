"""From a wrong program to the lines that are to blame: two draws of the data, then one fault at a time, each
repaired before the next is sought.
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.additions import missing_line
from mlp_torch.check.lines.candidates import PARAMETER, Candidate
from mlp_torch.check.lines.draws import Draw, anew, close, drawn
from mlp_torch.check.lines.explanation import Verdict, told
from mlp_torch.check.lines.line import GuiltyLine
from mlp_torch.check.lines.mender import Mended, Mender
from mlp_torch.check.lines.program import Program, Sources, UnavailableError, quiet
from mlp_torch.check.lines.repairs import Hit, Repairs, Verified
from mlp_torch.check.lines.sites import Site

TIMEOUT = 10.0  # seconds for everything, unless told otherwise
MOST_FAULTS = 3
MOST_STATEMENTS = 6  # whose edits are tried for one fault, by the values that are wanted there
LEVELS = (1.25, 1.75, 2.3)  # costs of edits: all lines are tried at one before any at the next
Place = tuple[str, int]  # file, line


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
        first = drawn(program, values, data, floors)
    except UnavailableError as error:
        return [], f"no line is named: {error}"
    except Exception as error:  # whatever the author's code raises where it is rewritten
        return [], f"no line is named: the rewritten code raised {type(error).__name__}: {error}"
    if not program.sources.sites:
        return [], "no line is named: there is no source to read"
    if not first.wrong:
        return [], ""
    draws = [first, *second(program, first)]
    lines = find_lines(program, draws, deadline - time.monotonic())
    if time.monotonic() > deadline:
        return lines, f"the search for lines ended after {seconds:g} s (timeout=)"
    return lines, ""


def second(program: Program, first: Draw) -> list[Draw]:
    """The same shapes drawn anew, where the function takes them; else other parameters alone."""
    for data in (anew(first.data, np.random.default_rng(2), integers=True), first.data):
        parameters = anew(first.parameters, np.random.default_rng(1))
        with contextlib.suppress(Exception):  # labels in another order, say, which the author refuses
            found = drawn(program, parameters, data)
            if np.isfinite(found.loss) and found.wrong:
                return [found]
    return []


def find_lines(program: Program, draws: Sequence[Draw], seconds: float = 20.0) -> list[GuiltyLine]:
    """The lines whose repair makes every gradient right, in the order in which they are run."""
    deadline = time.monotonic() + seconds
    wrong = frozenset(draws[0].wrong)
    mender = Mender(program, draws, deadline)
    held: list[Candidate] = []
    found: list[Verdict] = []
    with quiet():
        while wrong and len(found) < MOST_FAULTS and time.monotonic() < deadline:
            repairs = Repairs(program, draws, deadline, held)
            hits = [h for h in repairs.search(set(wrong)) if repairs.confirmed(h)]
            verdict = one_fault(repairs, mender, hits, wrong)
            if verdict is None:
                break
            found.append(verdict)
            if verdict.hit.site >= 0:
                held.append(verdict.hit.candidate)
            if verdict.mended is not None:
                mender.held.append((verdict.mended.file, verdict.mended.edit))
            wrong -= verdict.hit.mends
    if wrong:  # what mends a part alone may be a coincidence: the value is said, no line in its place
        found = [Verdict(v.hit, None) for v in found if v.hit.site >= 0][:1]
    return [told(draws, program.sources.sites, verdict) for verdict in found]


def one_fault(repairs: Repairs, mender: Mender, hits: Sequence[Hit], wrong: frozenset[str]) -> Verdict | None:
    """The place to blame: what can be mended by a small edit, before what can be mended by its value."""
    draw, sites = repairs.draw, repairs.sites
    chosen = blamed(draw, sites, hits)
    if chosen is not None and chosen.mends != wrong:
        together = one_statement(repairs, mender, hits, chosen)
        if together is not None:
            return together
    ways: list[tuple[Hit, Mended]] = []
    seen: set[Place] = set()
    equal = [h for h in hits if chosen is not None and h.mends == chosen.mends]
    for hit in sorted(equal, key=lambda h: (h is not chosen, abs(h.last - (chosen or h).last))):
        place = sites[hit.site].file, sites[hit.site].statement
        if place in seen or len(seen) >= MOST_STATEMENTS:
            continue
        seen.add(place)
        ways += [(hit, m) for m in mender.mend(sites[hit.site], hit.candidate, hit.mends)[:1]]
    if not ways:
        lines = backward_lines(repairs, chosen, wrong)
        lines += silent_lines(mender, draw, sites)
        goals = list(dict.fromkeys((wrong, chosen.mends if chosen is not None else wrong)))
        ways = (
            anywhere(mender, lines, goals, LEVELS[:1])
            or lacking(repairs, mender, hits, lines, goals)
            or anywhere(mender, lines, goals, LEVELS[1:])
        )
    if not ways:
        return None if chosen is None else Verdict(chosen, None)  # this value, or one that it is made from
    hit, mended = min(ways, key=lambda w: (w[1].cost - 0.3 * (w[0] is chosen), w[0].first))
    others = [(h, m) for h, m in ways if m.line != mended.line and m.cost <= mended.cost + 0.2]
    return Verdict(hit, mended, others)


def one_statement(repairs: Repairs, mender: Mender, hits: Sequence[Hit], chosen: Hit) -> Verdict | None:
    """One statement that spoils several arrays, each by a value of its own: two that are exchanged, say."""
    groups: dict[Place, list[Hit]] = {}
    for hit in hits:
        site = repairs.sites[hit.site]
        groups.setdefault((site.file, site.statement), []).append(hit)
    for (file, line), members in groups.items():
        union = frozenset().union(*(h.mends for h in members))
        if len({h.site for h in members}) > 1 and len(union) > len(chosen.mends):
            found = mender.anywhere(file, line, union, LEVELS[1])
            if found:
                first = min(members, key=lambda h: h.first)
                return Verdict(Hit(first.candidate, union, first.first, first.last), found[0])
    return None


def lacking(
    repairs: Repairs, mender: Mender, hits: Sequence[Hit], lines: Sequence[Place],
    goals: Sequence[frozenset[str]],
) -> list[tuple[Hit, Mended]]:  # fmt: skip
    """A line that is missing: something that is never added."""
    draw, sites = repairs.draw, repairs.sites
    needed: list[Array] = []
    for hit in hits[:8]:
        for at, a in (hit.candidate.arrays(draw) or {}).items():
            v = draw.values[at[0]][at[1]]
            if v.shape == a.shape and not close(v, a):
                needed.append(a - v)
                break
    for name in goals[0]:
        if draw.hand[name].shape == draw.true[name].shape:
            needed.append(draw.true[name] - draw.hand[name])
        for (number, _), g in draw.truth.items():  # of one call among several
            if g is not None and g.shape == draw.true[name].shape and sites[number].kind == "use" and g.any():
                needed.append(g)
    unique: list[Array] = []
    for a in needed:
        if not any(close(a, b) for b in unique if a.shape == b.shape) and len(unique) < 12:
            unique.append(a)
    for arrays in goals:
        mended = missing_line(mender, draw, sites, lines, arrays, unique)
        if mended is not None:
            return [(nowhere(arrays), mended)]
    return []


def nowhere(arrays: frozenset[str]) -> Hit:
    """What an edit mends where no value stood for it."""
    return Hit(Candidate(-1, "", PARAMETER, name=""), arrays, 0, 0)


def anywhere(
    mender: Mender, lines: Sequence[Place], goals: Sequence[frozenset[str]], levels: Sequence[float]
) -> list[tuple[Hit, Mended]]:
    """Edits of any line of the backward pass, the nearest before the blamed one and the likeliest first."""
    for dearest in levels:
        for arrays in goals:
            ways: list[tuple[Hit, Mended]] = []
            for file, line in lines:
                if time.monotonic() > mender.deadline:
                    return ways
                ways += [(nowhere(arrays), m) for m in mender.anywhere(file, line, arrays, dearest)[:1]]
            if ways:
                return ways
    return []


def backward_lines(repairs: Repairs, chosen: Hit | None, wrong: frozenset[str]) -> list[Place]:
    """Lines whose values reach wrong gradients alone, by how near they are in time to the blamed one."""
    draw, sites = repairs.draw, repairs.sites
    first: dict[Place, int] = {}
    for number in draw.values:
        ks = draw.backward(number)
        if not ks or sites[number].kind == "argument":
            continue
        place = sites[number].file, sites[number].statement
        reached = repairs.reach(number) if sites[number].assigned or place not in first else frozenset()
        if reached and reached <= wrong:
            first[place] = min(first.get(place, 10**9), draw.order[number, ks[0]])
    last = max(first.values(), default=0) if chosen is None else chosen.last
    return sorted(first, key=lambda p: (first[p] > last, abs(first[p] - last)))


def silent_lines(mender: Mender, draw: Draw, sites: Sequence[Site]) -> list[Place]:
    """Lines without an array of their own in the functions of the backward pass: heads of loops, say."""
    loud = {(s.file, s.statement) for s in sites}
    functions = {(sites[n].file, sites[n].function) for n in draw.values if draw.backward(n)}
    known = {(s.file, s.function, s.statement) for s in sites if (s.file, s.function) in functions}
    spans: dict[tuple[str, str], tuple[int, int]] = {}
    for file, function, line in known:
        low, high = spans.get((file, function), (line, line))
        spans[file, function] = min(low, line), max(high, line)
    return [
        (file, line) for file, line in mender.scopes.found
        if (file, line) not in loud and any(f == file and a <= line <= b for (f, _), (a, b) in spans.items())
    ]  # fmt: skip


def blamed(draw: Draw, sites: Sequence[Site], hits: Sequence[Hit]) -> Hit | None:
    """The last hit up to the first wrong value that mends anything, of those that mend most.

    What comes before it still is a true gradient; a value downstream mends as well, and is not to blame.
    """
    outside = [h for h in hits if draw.gradients(h.site) is None]  # not in a helper of both passes
    hits = outside or list(hits)
    if not hits:
        return None
    verified = Verified(draw, list(sites))
    firsts = []
    for h in hits:
        arrays = h.candidate.arrays(draw) or {}
        firsts += [
            draw.order[at] for at, a in arrays.items()
            if not close(draw.values[at[0]][at[1]], a) and not verified(at)
        ]  # fmt: skip
    limit = min(firsts, default=min(h.first for h in hits))
    timed = []
    for h in hits:
        times = [draw.order[at] for at in h.candidate.arrays(draw) or {} if draw.order[at] <= limit]
        if times:
            timed.append((len(h.mends), max(times), h.candidate.factor == 1, h))
    if timed:
        return max(timed, key=lambda t: t[:3])[3]
    return min(hits, key=lambda h: (-len(h.mends), h.first, h.candidate.factor != 1))
