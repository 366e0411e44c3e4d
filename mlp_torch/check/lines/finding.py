"""The guilty lines of a program: one fault after the other, each repaired before the next is sought."""

import time
from collections.abc import Sequence
from dataclasses import replace

from mlp_torch.check.lines.candidates import Candidate
from mlp_torch.check.lines.draws import Draw, close
from mlp_torch.check.lines.explaining import by_edit, by_value, stands_for
from mlp_torch.check.lines.line import GuiltyLine
from mlp_torch.check.lines.mending import Mended, Mender
from mlp_torch.check.lines.program import Program
from mlp_torch.check.lines.repair import Hit, Repairs, verified, whole_gradients
from mlp_torch.check.lines.sites import Site

MOST_FAULTS = 3
MOST_STATEMENTS = 6  # whose edits are tried for one fault


def find_lines(program: Program, draws: Sequence[Draw], seconds: float = 20.0) -> list[GuiltyLine]:
    """The lines whose repair makes every gradient right, in the order in which they are run."""
    deadline = time.monotonic() + seconds
    draw = draws[0]
    wrong = set(draw.wrong)
    held: list[Candidate] = []
    mender = Mender(program, draws, deadline)
    found: list[GuiltyLine] = []
    while wrong and len(found) < MOST_FAULTS and time.monotonic() < deadline:
        repairs = Repairs(program, draws, deadline, held)
        hits = [h for h in repairs.search(wrong) if repairs.confirmed(h)]
        line, hit, mended = one_line(repairs, mender, hits, wrong)
        if line is None or hit is None:
            break
        found.append(line)
        held.append(hit.candidate)
        if mended is not None:
            mender.held.append((mended.file, mended.edit))
        wrong -= hit.mends
    if wrong:  # not all is explained: what was found mends its own arrays only
        return [replace(line, proof=line.proof) for line in found]
    return found


def one_line(
    repairs: Repairs, mender: Mender, hits: Sequence[Hit], wrong: set[str]
) -> tuple[GuiltyLine | None, Hit | None, Mended | None]:
    """The line to blame among the hits, with what mends it and the others that mend as well."""
    draw, sites = repairs.draw, repairs.sites
    chosen = blamed(draw, sites, hits)
    if chosen is None:
        return None, None, None
    equal = [h for h in hits if h.mends == chosen.mends]
    order = sorted(equal, key=lambda h: (h is not chosen, abs(h.last - chosen.last)))
    tried: dict[tuple[str, int], tuple[Hit, list[Mended]]] = {}
    for hit in order:
        site = sites[hit.site]
        key = (site.file, site.statement)
        if key in tried or len(tried) >= MOST_STATEMENTS:
            continue
        tried[key] = hit, mender.mend(site, hit.candidate, chosen.mends)
    ways = [(h, m[0]) for h, m in tried.values() if m]
    best = min(ways, key=lambda w: (w[1].cost - 0.3 * (w[0] is chosen), w[0].first), default=None)
    hit, mended = (chosen, None) if best is None else best
    others = [
        told(draw, sites, h, m, ()) for h, m in ways
        if h is not hit and mended is not None and m.cost <= mended.cost + 0.2
    ]  # fmt: skip
    return told(draw, sites, hit, mended, tuple(others)), hit, mended


def blamed(draw: Draw, sites: Sequence[Site], hits: Sequence[Hit]) -> Hit | None:
    """The last hit up to the first wrong value that mends anything, of those that mend most.

    What comes before it still is a true gradient; a value downstream mends as well, and is not to blame.
    """
    outside = [h for h in hits if draw.gradients(h.site) is None]  # not in a helper of both passes
    hits = outside or list(hits)
    if not hits:
        return None
    whole = whole_gradients(draw, list(sites))
    firsts = []
    for h in hits:
        arrays = h.candidate.arrays(draw) or {}
        firsts += [
            draw.order[at] for at, a in arrays.items()
            if not close(draw.values[at[0]][at[1]], a) and not verified(draw, list(sites), at, whole)
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


def told(
    draw: Draw, sites: Sequence[Site], hit: Hit, mended: Mended | None, others: tuple[GuiltyLine, ...]
) -> GuiltyLine:
    """What is said of a hit."""
    site = sites[hit.site]
    line, column, end = site.line, site.column, site.end
    code = mended.before.splitlines()[0] if mended else ""
    words = by_edit(mended, draw, sites) if mended else ""
    if mended:
        line = mended.line
        column = len(code.encode()[: mended.edit.span[1]].decode())
        last = mended.edit.span[3] if mended.edit.span[0] == mended.edit.span[2] else len(code.encode())
        end = len(code.encode()[:last].decode())
    return GuiltyLine(
        site.file, line, column, site.function or "<lambda>", code, stands_for(hit.candidate, sites),
        words or by_value(hit.candidate, draw, sites), tuple(sorted(hit.mends)), True,
        mended.after if mended else None, others, end,
    )  # fmt: skip
