"""The guilty lines of a program: one fault after the other, each repaired before the next is sought."""

import linecache
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.by_repair.inserting import missing_line
from mlp_torch.check.lines.by_repair.mending import Mender
from mlp_torch.check.lines.by_repair.needed import needed
from mlp_torch.check.lines.by_repair.others import CHEAP, NEARLY, Place, nowhere, origins, rivals, solved
from mlp_torch.check.lines.by_repair.program import Repairable
from mlp_torch.check.lines.candidates import Candidate
from mlp_torch.check.lines.draws import Draw, close
from mlp_torch.check.lines.explanation import by_edit, by_value, stands_for
from mlp_torch.check.lines.line import GuiltyLine
from mlp_torch.check.lines.program import quiet
from mlp_torch.check.lines.repairs import Hit, Repairs, blamed
from mlp_torch.check.lines.sites import Site
from mlp_torch.check.lines.trials import Mended

MOST_FAULTS = 3
MOST_LATER = 2  # statements after the blamed one whose value mends as well
MOST_STATEMENTS = 6  # whose edits are tried for one fault, by the values that are wanted there
LEVELS = (CHEAP, 1.75, 2.3)  # costs of edits: all lines are tried at one before any at the next


@dataclass
class Verdict:
    """One fault: where, what mends it, and the places that mend as well."""

    hit: Hit
    mended: Mended | None
    others: Sequence[tuple[Hit, Mended | None]] = ()


def find_lines(program: Repairable, draws: Sequence[Draw], seconds: float = 20.0) -> list[GuiltyLine]:
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
        found = [Verdict(v.hit, None, () if v.mended else v.others) for v in found if v.hit.site >= 0][:1]
    lines = [told(draws, program.sources.sites, verdict) for verdict in found]
    return [program.told(line, v.hit, mender) for line, v in zip(lines, found, strict=True)]


def one_fault(repairs: Repairs, mender: Mender, hits: Sequence[Hit], wrong: frozenset[str]) -> Verdict | None:
    """The place to blame: what can be mended by a small edit, before what can be mended by its value."""
    draw, sites = repairs.draw, repairs.sites
    chosen = blamed(draw, sites, hits)
    if chosen is not None and chosen.mends != wrong:
        together = one_statement(repairs, mender, hits, chosen)
        if together is not None:
            return together
    if chosen is not None and mender.program.hidden(chosen, mender):
        made = mender.mend(sites[chosen.site], chosen.candidate, chosen.mends, dearest=LEVELS[0])
        return Verdict(chosen, made[0] if made else None)
    ways: list[tuple[Hit, Mended]] = []
    seen: set[Place] = set()
    equal = [h for h in hits if chosen is not None and h.mends == chosen.mends]
    for hit in sorted(equal, key=lambda h: (h is not chosen, abs(h.last - (chosen or h).last))):
        place = sites[hit.site].file, sites[hit.site].statement
        if place in seen or len(seen) >= MOST_STATEMENTS:
            continue
        seen.add(place)
        dearest = min((m.cost for _, m in ways), default=np.inf) + NEARLY
        made = mender.mend(sites[hit.site], hit.candidate, hit.mends, dearest=dearest)
        ways += [(hit, m) for m in made[:1]]
    if ways and chosen is not None:
        lines = [*backward_lines(repairs, chosen, wrong), *silent_lines(mender, repairs)]
        ways += rivals(repairs, mender, chosen, lines, ways)
    if not ways:
        lines = backward_lines(repairs, chosen, wrong)
        lines += silent_lines(mender, repairs)
        goals = list(dict.fromkeys((wrong, chosen.mends if chosen is not None else wrong)))
        wanting = needed(repairs, lines, goals[-1])
        ways = (
            anywhere(mender, [draw.fallen] if draw.fallen else [], goals, LEVELS[:1])
            or anywhere(mender, lines, goals, LEVELS[:1])
            or solved(repairs, mender, wanting)
            or lacking(repairs, mender, hits, lines, goals)
            or anywhere(mender, lines, goals, LEVELS[1:])
        )
    if not ways:
        if chosen is None:
            return None
        later = {
            (sites[h.site].file, sites[h.site].statement): (h, None) for h in equal if h.last > chosen.last
        }
        later.pop((sites[chosen.site].file, sites[chosen.site].statement), None)
        return Verdict(chosen, None, [*list(later.values())[:MOST_LATER], *origins(repairs, chosen, wanting)])
    hit, mended = min(ways, key=lambda w: (w[1].cost - NEARLY * (w[0] is chosen), w[0].first))
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


def silent_lines(mender: Mender, repairs: Repairs) -> list[Place]:
    """Lines without an array of their own in the functions of the backward pass: heads of loops, say."""
    draw, sites = repairs.draw, repairs.sites
    # also those that read an array for nothing but its size
    heard = [n for n in draw.values if draw.backward(n) and repairs.reach(n)]
    loud = {(sites[n].file, sites[n].statement) for n in heard}
    functions = {(sites[n].file, sites[n].function) for n in draw.values if draw.backward(n)}
    known = {(s.file, s.function, s.statement) for s in sites if (s.file, s.function) in functions}
    spans: dict[tuple[str, str], tuple[int, int]] = {}
    for file, function, line in known:
        low, high = spans.get((file, function), (line, line))
        spans[file, function] = min(low, line), max(high, line)
    may_lack = mender.program.may_lack
    return [
        (file, line) for file, line in mender.scopes.found
        if ((file, line) not in loud or may_lack(file, line))
        and any(f == file and a <= line <= b for (f, _), (a, b) in spans.items())
    ]  # fmt: skip


def told(draws: Sequence[Draw], sites: Sequence[Site], verdict: Verdict) -> GuiltyLine:
    """What is said of a fault."""
    draw, hit, mended = draws[0], verdict.hit, verdict.mended
    if hit.site < 0:
        return _told_by_edit(draws, sites, verdict)
    site = sites[hit.site]
    others = tuple(told(draws, sites, Verdict(h, m)) for h, m in verdict.others)
    file, line, column, end = site.file, site.line, site.column, site.end
    code = linecache.getline(file, line).rstrip("\n")
    function = site.function
    words = ""
    if mended is not None:
        file, line, code = mended.file, mended.line, mended.before
        words = by_edit(mended, draw, sites)
        first = code.splitlines()[0]
        column = len(first.encode()[: mended.edit.span[1]].decode())
        last = mended.edit.span[3] if mended.edit.span[0] == mended.edit.span[2] else len(first.encode())
        end = len(first.encode()[:last].decode())
        function = next((s.function for s in sites if (s.file, s.statement) == (file, line)), function)
    own = mended is None or (file, line) == (site.file, site.statement) or line == site.line
    return GuiltyLine(
        file, line, column, function or "<lambda>", code, stands_for(hit.candidate, sites) if own else "",
        words or (by_value(hit.candidate.arrays(draw) or {}, draw, sites) if own else ""),
        tuple(sorted(hit.mends)), bool(hit.candidate.arrays(draw)),
        mended.after if mended else None, others, end, len(draws),
    )  # fmt: skip


def _told_by_edit(draws: Sequence[Draw], sites: Sequence[Site], verdict: Verdict) -> GuiltyLine:
    """What is said of a line that an edit mends, or after which one is missing."""
    hit, mended = verdict.hit, verdict.mended
    assert mended is not None
    code = mended.before
    added = mended.edit.text.startswith("\n")
    words = (
        f"after this line, {mended.edit.text.strip()} is missing"
        if added
        else by_edit(mended, draws[0], sites)
    )
    start, end = mended.edit.span[1], mended.edit.span[3]
    column = 0 if added else len(code.encode()[:start].decode())
    end = (
        len(code)
        if added or mended.edit.span[0] != mended.edit.span[2]
        else len(code.encode()[:end].decode())
    )
    function = next((s.function for s in sites if (s.file, s.statement) == (mended.file, mended.line)), "")
    others = tuple(told(draws, sites, Verdict(h, m)) for h, m in verdict.others)
    return GuiltyLine(
        mended.file, mended.line, column, function, code, "", words, tuple(sorted(hit.mends)), True,
        mended.after, others, end, len(draws),
    )  # fmt: skip
