"""Which of the sets that fit is preferred."""

from mlp_torch.check.faults.claims import Claims, cost, strange
from mlp_torch.check.faults.evidence import Evidence

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
