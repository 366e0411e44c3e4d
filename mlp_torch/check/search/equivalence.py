"""Which other mistakes make the same arrays as a set that was found: one table of rewritings."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Penalties
from mlp_torch.check.faults import activation, chain
from mlp_torch.check.faults.claims import Claim, Claims, norm
from mlp_torch.check.faults.evidence import Evidence

MOST = 8  # readings told beside the sets of the search
SAME = 1e-9
Rewriting = Callable[[Evidence, Claims], Iterator[Claims]]


def coinciding(c: Evidence, sets: list[Claims]) -> list[Claims]:
    """The sets, and what each may be read as: every rewriting, and rewritings of these, once each."""
    told = {_kinds(claims) for claims in sets}
    more: list[Claims] = []
    waiting = list(sets)
    while waiting and len(more) < MOST:
        for rewrite in REWRITINGS:
            for other in rewrite(c, waiting[0]):
                if _kinds(other) not in told and not (_scaled_loss(other) and _another_loss(sets[0])):
                    told.add(_kinds(other))
                    more.append(other)
                    waiting.append(other)
        waiting.pop(0)
    return [*sets, *sorted(more, key=lambda x: len({y.key for y in x}))[:MOST]]


def _kinds(claims: Claims) -> frozenset[tuple[str, int]]:
    return frozenset((x.kind, x.layer) for x in claims)


def _swapped(claims: Claims, out: Claims, into: Claims) -> Claims:
    """`into` in the place of the claims `out`."""
    at = next((i for i, x in enumerate(claims) if x in out), len(claims))
    return (*(x for x in claims[:at] if x not in out), *into, *(x for x in claims[at:] if x not in out))


def of_loop(c: Evidence, claims: Claims) -> Iterator[Claims]:
    """A loop that keeps the last sample has = for +=, or does not add at all."""
    words = "holds one sample, the last: the others are not added"
    ours = tuple(x for x in claims if x.key == ("overwritten_gradient", "last"))
    if ours:
        yield tuple(replace(x, kind="missing_accumulation", detail=words) if x in ours else x for x in claims)


def of_dropout(c: Evidence, claims: Claims) -> Iterator[Claims]:
    """A constant at a layer with dropout, 1 − p or 1/(1 − p), may be dropout's, or the reverse."""
    for claim in claims:
        if claim.name or not claim.layer:
            continue
        layer = c.problem.layers[claim.layer - 1]
        if layer.mask is None or layer.keep in (0, 1):
            continue
        values = c.factors_of([claim])
        for value, variant, words in (
            (layer.keep, "scale", "lacks dropout's scale 1/(1 − p)"),
            (1 / layer.keep, "scale twice", "has dropout's scale 1/(1 − p) twice"),
        ):
            dropout = replace(
                claim, kind="wrong_dropout_backward", variant=variant, detail=words,
                line=f"da{c.names.mark(claim.layer)} = dh{c.names.mark(claim.layer)} · mask",
            )  # fmt: skip
            if any(abs(v - value) < 1e-9 * value for v in values):
                yield _swapped(claims, (claim,), (dropout,))
            if claim.key == dropout.key:
                for reading in c.name_constant(value):
                    if len(reading) == 1:
                        kind, text, detail = reading[0]
                        constant = replace(claim, kind=kind, variant=text, detail=detail)
                        yield _swapped(claims, (claim,), (constant,))


def of_number(c: Evidence, claims: Claims) -> Iterator[Claims]:
    """A constant that has other names, or is the learning rate times another one."""
    if any("rate" in x.kind for x in claims):
        return
    for key in dict.fromkeys(x.key for x in claims if x.kind == "constant_factor" and not x.nameless):
        ours = tuple(x for x in claims if x.key == key)
        for value in c.factors_of(ours[:1])[:1]:
            for reading in c.name_constant(value):
                if any("rate" in kind for kind, _, _ in reading):
                    yield tuple(
                        replace(x, kind=k, variant=v, detail=d) if x in ours else x
                        for x in claims
                        for k, v, d in (reading if x in ours else reading[:1])
                    )


def of_bias(c: Evidence, claims: Claims) -> Iterator[Claims]:
    """N or 1/N on biases may be a sum for a mean, or the reverse, in the biases."""
    n = float(c.problem.samples)
    for value, words in ((1 / n, _MEAN), (n, _SUM)):
        ours = _constants(c, claims, value)
        biases = tuple(x for x in ours if _bias(c, x))
        if not biases or n == 1 or len(ours) == len(c.h):
            continue
        yield tuple(
            replace(x, kind="wrong_bias_reduction", variant=f"{value:.9g}", detail=words)
            if x in biases
            else x
            for x in claims
        )
        free = [q for q in c.h if q.name and not any(x.name == q.name for x in claims)]
        if len(ours) > 1 and free and all(q.role == "b" and not q.fold for q in free):
            # a constant on all arrays that one bias alone escapes: its own sum or mean undoes it
            turned = _SUM if value < 1 else _MEAN
            again = tuple(
                Claim("wrong_bias_reduction", f"{1 / value:.9g}", turned, q.layer, q.name, "db = Σ dz")
                for q in free
            )
            yield (*claims, *again)


_MEAN = "is the mean over the samples where the sum belongs"
_SUM = "is the sum over the samples where the mean belongs"


def _bias(c: Evidence, claim: Claim) -> bool:
    """A claim about a bias; of a bias folded into its weight, by the line that it is about."""
    own = [q for q in c.h if q.name == claim.name and q.role == "b"]
    return any(not q.fold or claim.line.startswith("db") for q in own)


def _constants(c: Evidence, claims: Claims, value: float) -> Claims:
    ours = (x for x in claims if x.name and x.kind == "constant_factor")
    return tuple(x for x in ours if any(abs(v - value) < 1e-9 * value for v in c.factors_of([x])))


def of_penalty(c: Evidence, claims: Claims) -> Iterator[Claims]:
    """A constant in the data's part alone is a constant on the whole and its inverse on the penalty."""
    ours = tuple(
        x for x in claims
        if x.name and x.kind == "constant_factor" and "its data part" in x.detail
    )  # fmt: skip
    if (
        {x.name for x in ours} < {q.name for q in c.h if q.role == "W"}
        or not ours
        or any(x.kind == "wrong_regulariser" for x in claims)
    ):
        return
    words = (
        "has the penalty's gradient divided by the constant that the whole array is multiplied by, so that "
        "this part is right"
    )
    yield (*claims, *(Claim("wrong_regulariser", "undone", words, x.layer, x.name, x.line) for x in ours))


def of_chain(c: Evidence, claims: Claims) -> Iterator[Claims]:
    """Slips at one place of the chain for one another, wherever they make the same dz."""
    for number in {x.layer for x in claims if not x.name}:
        ours = tuple(
            x for x in claims if x.layer == number and not x.name and x.line.startswith(("dz", "dŷ"))
        )
        slips = tuple(x for x in ours if x.kind not in ("sign", "constant_factor"))
        if len(slips) > 2:
            continue
        steps = list(_steps(c, number, max(len(slips), 1)))
        keys = {x.key for x in slips}
        own = next((dz for way, dz in steps if {x.key for x in way} == keys), None)
        if own is None:
            continue
        value = 1.0
        for x in ours:
            value *= -1.0 if x.kind == "sign" else 1.0
            value *= next(iter(c.factors_of([x])), 1.0) if x.kind == "constant_factor" else 1.0
        yield from _of_one_sample(c, claims, ours, number, own)
        for way, dz in steps:
            if {x.key for x in way} == keys or not way:
                continue
            if slips and _near(dz, own):
                yield _swapped(claims, slips, way)
            elif value != 1 and _near(dz, value * own):
                yield _swapped(claims, ours, way)
            elif (
                (value < 0 or (_another_loss(slips) and not _another_loss(way)))
                and (share := c.ratio(value * own, dz))
                and share > 0
            ):
                for reading in c.name_constant(share):
                    more = (Claim(*named, number, line=ours[0].line) for named in reading[:1])
                    yield _swapped(claims, ours, (*way, *more))


def _another_loss(claims: Claims) -> bool:
    """2(ŷ − y) for p − y: the squared error's gradient is a slip in the described loss's, times 2."""
    return any(x.kind == "loss_mismatch" for x in claims)


def _scaled_loss(claims: Claims) -> bool:
    """Another loss times a constant, which nobody writes where a loss alone explains it."""
    layers = {x.layer for x in claims if x.kind == "constant_factor" and not x.name}
    return any(x.kind == "loss_mismatch" and x.layer in layers for x in claims)


def _of_one_sample(c: Evidence, claims: Claims, ours: Claims, number: int, own: Array) -> Iterator[Claims]:
    """Where one sample alone has a dz, sums that are not reset count it a few times: a constant."""
    n, active = c.problem.samples, np.flatnonzero(np.abs(own).sum(axis=1))
    if number < len(c.problem.layers) or len(active) != 1 or n == 1:
        return
    words = "counts early samples again and again: the sum is not set to 0"
    for constant in (x for x in ours if x.kind == "constant_factor"):
        if n - int(active[0]) in np.round(c.factors_of([constant]), 9):
            stale = Claim("stale_gradient", "running", words, number, line=constant.line)
            yield _swapped(claims, (constant,), (stale,))


def of_update(c: Evidence, claims: Claims) -> Iterator[Claims]:
    """Weights updated without the learning rate by an array that was cut: it may have lacked the rate."""
    for update in claims:
        if update.kind != "updated_weights_used" or update.value != 1 or c.lr in (None, 1):
            continue
        cut = next((x for x in claims if x.kind == "clipping" and x.layer == update.layer and x.name), None)
        if cut is not None:
            words = f"is the true one divided by the learning rate {c.lr:g}, then cut"
            kind = "missing_learning_rate"
            yield (*claims, replace(cut, kind=kind, variant=kind, detail=words))


def of_labels(c: Evidence, claims: Claims) -> Iterator[Claims]:
    """Every array turned round, penalty and all: labels whose gradient is −dz, and the penalty's sign."""
    ours = tuple(x for x in claims if x.name and x.key == ("sign", "sign"))
    if {x.name for x in ours} < {q.name for q in c.h} or not ours:
        return
    L, true = len(c.problem.layers), c.problem.top()
    penalised = [q for q in c.h if c.problem.penalties.get((q.layer, q.role), Penalties()) != Penalties()]
    words = "subtracts the penalty's gradient"
    turned = tuple(Claim("wrong_regulariser", "sign", words, q.layer, q.name) for q in penalised)
    if turned:
        chain = Claim("sign", f"sign {L}", "has the opposite sign", L, line=c.names.delta(L))
        yield (*_swapped(claims, ours, (chain,)), *turned)
    for way, dz in _steps(c, L, 1):
        if way and _near(dz, -true):
            yield (*_swapped(claims, ours, way), *turned)


def _steps(c: Evidence, number: int, budget: int) -> Iterator[tuple[Claims, Array]]:
    """(claims, dz) at the loss; below it (claims, f′), for f′ alone tells slips apart there."""
    layer = c.problem.layers[number - 1]
    if number == len(c.problem.layers):
        for way, _, dz in chain.top(c, budget):
            yield way, dz
    elif layer.activation != "softmax":
        slope, others = activation.slopes(c, number)
        yield (), slope
        for claim, value in others:
            yield (claim,), value


def _near(a: Array, b: Array) -> bool:
    return a.shape == b.shape and (gap := norm(a - b)) < np.inf and gap <= SAME * norm(b)


REWRITINGS: tuple[Rewriting, ...] = (
    of_loop,
    of_chain,
    of_number,
    of_dropout,
    of_bias,
    of_update,
    of_labels,
    of_penalty,
)
