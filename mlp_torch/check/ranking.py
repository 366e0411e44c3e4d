"""Which of the sets that fit is preferred."""

from dataclasses import replace

from mlp_torch.check.claims import Claims, cost, strange


def ranked(found: list[Claims]) -> list[Claims]:
    """The fewest mistakes, then those with a name, then the fewest places, then the likeliest."""

    def order(claims: Claims) -> tuple[float, ...]:
        places = len({(x.key, x.layer, x.name) for x in claims})
        return (cost(claims), strange(claims), places, sum({x.key: x.odd for x in claims}.values()))

    ordered = sorted(found, key=order)
    best = order(ordered[0])
    unique: dict[frozenset[tuple[str, int]], Claims] = {}
    kinds: set[frozenset[str]] = set()
    for claims in ordered:
        what = frozenset(x.kind for x in claims)
        if order(claims)[:3] <= best[:3] or what not in kinds:
            unique.setdefault(frozenset((x.kind, x.layer) for x in claims), claims)
        kinds.add(what)
    return [way for claims in list(unique.values())[:6] for way in _readings(claims)]


def _readings(claims: Claims) -> list[Claims]:
    """A loop that keeps the last sample has = for +=, or does not add at all: the same arrays."""
    if not any(x.kind == "overwritten_gradient" and x.variant == "last" for x in claims):
        return [claims]
    words = "holds one sample, the last: the others are not added"
    other = tuple(
        replace(x, kind="missing_accumulation", detail=words) if x.kind == "overwritten_gradient" else x
        for x in claims
    )
    return [claims, other]
