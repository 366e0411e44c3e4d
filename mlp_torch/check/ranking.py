"""Which of the sets that fit is preferred."""

from dataclasses import replace

from mlp_torch.check.claims import Claims, Context, cost, strange


def order(claims: Claims) -> tuple[float, ...]:
    """The fewest mistakes, then those with a name, then the fewest places, then the likeliest."""
    places = len({(x.key, x.layer, x.name) for x in claims})
    return (cost(claims), strange(claims), places, sum({x.key: x.odd for x in claims}.values()))


def ranked(found: list[Claims]) -> list[Claims]:
    """The sets that are told, the preferred first."""
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


def coinciding(c: Context, sets: list[Claims]) -> list[Claims]:
    """A constant at a layer with dropout that is its 1 − p, or 1/(1 − p), may be dropout's: both are told."""
    told = {frozenset((x.kind, x.layer) for x in claims) for claims in sets}
    more = []
    for claims in sets:
        for i, claim in enumerate(claims):
            if claim.kind != "constant_factor" or claim.name or not claim.layer:
                continue
            layer = c.problem.layers[claim.layer - 1]
            if layer.mask is None or layer.keep in (0, 1):
                continue
            values = [v for v, words in c.constants if words[-1][1] in claim.detail]
            for value, variant, words in (
                (layer.keep, "scale", "lacks dropout's scale 1/(1 − p)"),
                (1 / layer.keep, "scale twice", "has dropout's scale 1/(1 − p) twice"),
            ):
                other = replace(
                    claim, kind="wrong_dropout_backward", variant=variant, detail=words,
                    line=f"da{claim.layer} = dh{claim.layer} · mask{claim.layer}",
                )  # fmt: skip
                swapped = (*claims[:i], other, *claims[i + 1 :])
                what = frozenset((x.kind, x.layer) for x in swapped)
                if what not in told and any(abs(v - value) < 1e-9 * value for v in values):
                    told.add(what)
                    more.append(swapped)
    return [*sets, *more]
