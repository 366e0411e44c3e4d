"""Which of the sets that fit is preferred."""

from collections.abc import Callable
from dataclasses import replace

from mlp_torch.check.faults.claims import Claims, cost, strange
from mlp_torch.check.faults.evidence import OR, Evidence
from mlp_torch.check.kinds import FAULTS

MARGIN = 3.0  # so much worse an alternative must fit: of n entries the likelihood ratio is its n-th power
RARE = 1.5  # a constant from here on is one that hardly anybody writes


def order(claims: Claims) -> tuple[float, ...]:
    """The fewest mistakes, then names that people write, then the fewest places, then the likeliest."""
    places = len({(x.key, x.layer, x.name) for x in claims})
    rare = len({x.key for x in claims if x.kind == "constant_factor" and x.odd >= RARE and not x.nameless})
    return (cost(claims), strange(claims), rare, places, sum({x.key: x.odd for x in claims}.values()))


def plausible(sets: list[Claims]) -> list[Claims]:
    """The preferred set, then the others: the fewest mistakes first, then the likeliest."""

    def doubt(claims: Claims) -> tuple[float, ...]:
        return (cost(claims), strange(claims), sum({x.key: x.odd for x in claims}.values()))

    return [*sets[:1], *sorted(sets[1:], key=doubt)]


def ranked(found: list[Claims]) -> list[Claims]:
    """The sets that are told, the preferred first."""
    if not found:
        return []
    ordered = sorted(found, key=order)
    best = order(ordered[0])
    unique: dict[frozenset[tuple[str, int]], Claims] = {}
    kinds: set[frozenset[str]] = set()
    for claims in ordered:
        what = frozenset(x.kind for x in claims)
        if order(claims)[:4] <= best[:4] or what not in kinds:
            unique.setdefault(frozenset((x.kind, x.layer) for x in claims), claims)
        kinds.add(what)
    return list(unique.values())[:6]


def doubtful(c: Evidence, claims: Claims) -> bool:
    """A number explains the arrays that two slips together may make too: their sets are wanted as well."""
    n, k = c.problem.samples, c.problem.output.shape[1]
    plain = [float(v) for v in (n, k, n * k, 2, 4)]
    for claim in claims:
        if claim.kind == "loss_mismatch" and not claim.variant.endswith(f" {c.problem.reduction}"):
            return True
        if claim.kind == "constant_factor":
            values = c.factors_of([claim])
            if not any(abs(v - p) < 1e-9 * p or abs(v * p - 1) < 1e-9 for v in values for p in plain):
                return True
    return False


def others(found: list[Claims], more: list[Claims]) -> list[Claims]:
    """The sets of one mistake more that hold none of the smaller ones."""
    keys = [{x.key for x in claims} for claims in found]
    return [m for m in more if not any(k <= {x.key for x in m} for k in keys)]


def likeliest(
    c: Evidence, found: list[Claims], explain: Callable[..., list[Claims]]
) -> tuple[list[Claims], bool, Evidence]:
    """The sets that fit best, whether other names of no more mistakes fit within `MARGIN` of them, and the
    evidence with that tolerance.

    For coarse numbers, whose tolerance lets several sets through: how far it may shrink for one to be left.
    """

    def finer(scale: float) -> Evidence:
        floor = {part: value * scale for part, value in c.floor.items()}
        return replace(c, rtol=c.rtol * scale, floor=floor, rests={}, slopes={}, found_limits=[])

    def within(scale: float) -> list[Claims]:
        return [claims for claims in explain(finer(scale), most=least) if claims and cost(claims) <= least]

    least = min(map(cost, found))
    scale, missed, best = 1.0, 0.0, [claims for claims in found if cost(claims) <= least]
    for _ in range(7):
        tried = (scale + missed) / 2
        if fitting := within(tried):
            scale, best = tried, fitting
        else:
            missed = tried
    names = {_what(claims) for claims in best}
    rivals = [claims for claims in within(MARGIN * scale) if _what(claims) not in names]
    alike = bool(rivals) or any(OR in x.detail for x in best[0])
    return [*best, *rivals], alike, finer(min(1.0, MARGIN * scale))


def _what(claims: Claims) -> frozenset[tuple[str, str, int]]:
    """The names that are said, and where on the chain."""
    return frozenset((x.kind, x.detail, x.layer * FAULTS[x.kind].of_chain) for x in claims)
