"""Lines that may be to blame as well: what mends there too, or what the blamed value is made from."""

import time
from collections.abc import Sequence

import numpy as np

from mlp_torch.check.lines.by_repair.mending import Mender
from mlp_torch.check.lines.by_repair.needed import Needed, needed
from mlp_torch.check.lines.candidates import PARAMETER, Candidate
from mlp_torch.check.lines.repairs import Hit, Repairs, Verified
from mlp_torch.check.lines.sites import Site
from mlp_torch.check.lines.trials import Mended

CHEAP = 1.25  # the cost of the edits that any line is tried with
NEARLY = 0.3  # a difference of costs that decides nothing against the line that is blamed
MOST_ORIGINS = 4
Place = tuple[str, int]  # file, line


def nowhere(arrays: frozenset[str]) -> Hit:
    """What an edit mends where no value stood for it."""
    return Hit(Candidate(-1, "", PARAMETER, name=""), arrays, 0, 0)


def rivals(
    repairs: Repairs, mender: Mender, chosen: Hit, lines: Sequence[Place], ways: Sequence[tuple[Hit, Mended]]
) -> list[tuple[Hit, Mended]]:
    """Lines that no true gradient stands for, mended by edits as small: none is to blame alone."""
    least = min(CHEAP, *(m.cost for _, m in ways))
    known = {(m.file, m.line) for _, m in ways}
    lines = [p for p in lines if p not in known and mender.program.may_slip(*p)]
    found: list[tuple[Hit, Mended]] = []
    for file, line in lines:
        if time.monotonic() > mender.deadline:
            break
        found += [(nowhere(chosen.mends), m) for m in mender.anywhere(file, line, chosen.mends, least)[:1]]
    dear = min(m.cost for _, m in ways)
    if dear > CHEAP and not found:
        found = solved(repairs, mender, needed(repairs, lines, chosen.mends), dear)
    return found


def solved(
    repairs: Repairs, mender: Mender, wanting: Sequence[Hit], most: float = np.inf
) -> list[tuple[Hit, Mended]]:
    """Edits that give a place the value that it needs, though no true gradient stands for it."""
    ways: list[tuple[Hit, Mended]] = []
    for hit in wanting:
        dearest = min(most, NEARLY + min((m.cost for _, m in ways), default=np.inf))
        made = mender.mend(repairs.sites[hit.site], hit.candidate, hit.mends, dearest=dearest)
        ways += [(nowhere(hit.mends), m) for m in made[:1]]
    return ways


def origins(repairs: Repairs, chosen: Hit, wanting: Sequence[Hit]) -> list[tuple[Hit, None]]:
    """Where the blamed value may come from: what was calculated before it, and is no true gradient itself."""
    draw, sites = repairs.draw, repairs.sites
    verified = Verified(draw, sites)
    solved_for = {h.site: h for h in wanting}
    latest: dict[Place, Hit] = {}
    for number in draw.values:
        site, ks = sites[number], draw.backward(number)
        place = site.file, site.statement
        if not ks or not site.assigned or site.kind == "argument" or place == _place(sites, chosen):
            continue
        at = (number, ks[-1])
        time = draw.order[at]
        if draw.started <= time < chosen.first and not verified(at) and repairs.reach(number) & chosen.mends:
            hit = solved_for.get(number, Hit(Needed(number, "all", PARAMETER), chosen.mends, time, time))
            latest[place] = max(
                latest.get(place, hit), hit, key=lambda h: (bool(h.candidate.arrays(draw)), h.last)
            )
    found = sorted(latest.values(), key=lambda h: -h.last)
    return [(h, None) for h in found[:MOST_ORIGINS]]


def _place(sites: Sequence[Site], hit: Hit) -> Place:
    return sites[hit.site].file, sites[hit.site].statement
