"""Which of the sets that fit is preferred."""

from dataclasses import replace

from mlp_torch.check.claims import Claims, Context, cost, strange


def order(claims: Claims) -> tuple[float, ...]:
    """The fewest mistakes, then those with a name, then the fewest places, then the likeliest."""
    places = len({(x.key, x.layer, x.name) for x in claims})
    return (cost(claims), strange(claims), places, sum({x.key: x.odd for x in claims}.values()))


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


def doubtful(c: Context, claims: Claims) -> bool:
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


def coinciding(c: Context, sets: list[Claims]) -> list[Claims]:
    """The sets, and those in which a constant is read as the slip that makes the same constant."""
    told = {frozenset((x.kind, x.layer) for x in claims) for claims in sets}
    more = []
    for claims in sets:
        for swapped in (*_of_dropout(c, claims), *_of_bias(c, claims)):
            what = frozenset((x.kind, x.layer) for x in swapped)
            if what not in told:
                told.add(what)
                more.append(swapped)
    return [*sets, *more]


def _of_dropout(c: Context, sets: Claims) -> list[Claims]:
    """A constant at a layer with dropout that is its 1 − p, or 1/(1 − p), may be dropout's."""
    more = []
    for i, claim in enumerate(sets):
        if claim.kind != "constant_factor" or claim.name or not claim.layer:
            continue
        layer = c.problem.layers[claim.layer - 1]
        if layer.mask is None or layer.keep in (0, 1):
            continue
        values = c.factors_of([claim])
        for value, variant, words in (
            (layer.keep, "scale", "lacks dropout's scale 1/(1 − p)"),
            (1 / layer.keep, "scale twice", "has dropout's scale 1/(1 − p) twice"),
        ):
            other = replace(
                claim, kind="wrong_dropout_backward", variant=variant, detail=words,
                line=f"da{claim.layer} = dh{claim.layer} · mask{claim.layer}",
            )  # fmt: skip
            if any(abs(v - value) < 1e-9 * value for v in values):
                more.append((*sets[:i], other, *sets[i + 1 :]))
    return more


def _of_bias(c: Context, claims: Claims) -> list[Claims]:
    """N or 1/N on biases and elsewhere may be a sum for a mean, or the reverse, in the biases."""
    n = float(c.problem.samples)
    biases = {q.name for q in c.h if q.role == "b" and not q.fold}
    named = {text for v, words in c.constants for _, text in words if v in (n, 1 / n)}
    ours = [x for x in claims if x.kind == "constant_factor" and any(t in x.detail for t in named)]
    if {x.name in biases for x in ours} != {True, False} or len(ours) == len(c.h) or cost(claims) > 2:
        return []
    words = "is the mean over the samples where the sum belongs"
    if any(t.startswith("times") and t in x.detail for t in named for x in ours):
        words = "is the sum over the samples where the mean belongs"
    return [
        tuple(
            replace(x, kind="wrong_bias_reduction", detail=words) if x in ours and x.name in biases else x
            for x in claims
        )
    ]
