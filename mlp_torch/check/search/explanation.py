"""The sets of mistakes that make the author's arrays: what is missing or elsewhere first, then the search."""

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Part
from mlp_torch.check.faults.claims import Claim, Claims, cost
from mlp_torch.check.faults.evidence import Evidence
from mlp_torch.check.faults.factors import overall
from mlp_torch.check.faults.loss import told_of_target
from mlp_torch.check.faults.samples import wide
from mlp_torch.check.faults.weights import exchanged, with_momentum
from mlp_torch.check.search.ranking import order
from mlp_torch.check.search.search import search as search_sets
from mlp_torch.check.search.search import with_one

PATIENCE = 2.0  # seconds of work for all pairs
LEAST = 3  # entries: fewer are another parameter's gradient times something too easily


def explained(c: Evidence, true: Mapping[Part, Array], most: int = 3) -> list[Claims]:
    """The sets of claims that make the author's arrays; arrays that are not finite are left out."""
    lost = [q for q, v in c.h.items() if v is not None and not np.isfinite(v).all()]
    claims: Claims = ()
    for q in lost:
        bad = np.argwhere(~np.isfinite(c.raw[q.name]))
        first = c.raw[q.name][tuple(bad[0])]
        what = "NaN" if np.isnan(first) else "an infinite entry"
        words = f"holds {what} at {[int(i) for i in bad[0]]}" if len(bad[0]) else f"is {what}"
        claims += (Claim("not_finite", f"{what} {q.layer}", words, q.layer, q.name),)
    if lost:
        c = replace(c, h={q: v for q, v in c.h.items() if q not in lost}, rests={}, slopes={})
        true = {q: v for q, v in true.items() if q in c.h}
    if c.previous and (moved := with_momentum(c, true)):
        return [(*claims, *moved)]
    c, placed = exchanged(c, true)
    claims += placed
    if claims and all((h := c.h[q]) is not None and c.same(h, t, q) for q, t in true.items()):
        return [claims]
    if not claims and (square := wide(c)):
        ours = {x.name for x in square}
        if all((h := c.h[q]) is not None and c.same(h, t, q) for q, t in true.items() if q.name not in ours):
            return [square]
    every = overall(c, true)[1] if not lost and not placed else ()
    found = [(*claims, *more) for more in search_sets(c, most).sets]
    if not placed and not lost and far_fetched(found) and (exchanges := swapped(c, true)):
        found = [*exchanges, *(sets for sets in found if cost(sets) <= 2)]
    if every and not any(_plain(c, sets) for sets in found[:1]):
        found = [every, *(sets for sets in found if not _plain(c, sets))]
    if found and any(told_of_target(x) for x in found[0]):  # likelier than what comes to the same
        found = [sets for sets in found if any(told_of_target(x) for x in sets) or not _unlikely(sets)]
    return found or ([claims] if claims else [])


def _unlikely(claims: Claims) -> bool:
    """What nobody writes to arrive at p or p + y."""
    odd = {"wrong_softmax_jacobian", "not_multiplied_by_upstream", "wrong_activation_derivative"}
    return bool({x.kind for x in claims} & odd)


def _plain(c: Evidence, claims: Claims) -> bool:
    """Nothing but one sign or one constant on everything."""
    everywhere = {x.name for x in claims} == {q.name for q in c.h} or all(
        not x.name and x.layer == len(c.problem.layers) for x in claims
    )
    return everywhere and {x.kind for x in claims} <= {"sign", "constant_factor"}


def far_fetched(found: list[Claims]) -> bool:
    """Whether what was found is so much that arrays at each other's places explain it better."""
    return not found or cost(found[0]) > 2 or (cost(found[0]) == 2 and _of_other_layers(found[0]))


def _of_other_layers(claims: Claims) -> bool:
    return any(x.kind == "wrong_layer" for x in claims)


def swapped(c: Evidence, true: Mapping[Part, Array]) -> list[Claims]:
    """Sets of an exchange of wrong arrays and one mistake, the likeliest first."""
    end = time.thread_time() + PATIENCE
    found: list[Claims] = []
    right = {q for q, t in true.items() if (own := c.h[q]) is not None and c.same(own, t, q)}
    for pairs in _exchanges(c):
        if any(q in right for pair in pairs for q in pair):
            continue
        left = end - time.thread_time()
        if left <= 0:
            break
        h: dict[Part, Array | None] = dict(c.h)
        raw = dict(c.raw)
        for one, other in pairs:
            h[one], h[other] = c.h[other], c.h[one]
            raw[one.name], raw[other.name] = c.raw[other.name], c.raw[one.name]
        placed = replace(
            c, h=h, raw=raw, rests={}, slopes={}, found_limits=[], deadline=time.thread_time() + left
        )
        words = "holds each other's gradients"
        moved = tuple(
            Claim("swapped_gradients", "order", words, q.layer, q.name, odd=0.5)
            for pair in pairs
            for q in pair
        )
        found += [(*moved, *claims) for claims in with_one(placed) if claims and not _of_other_layers(claims)]
    return sorted(found, key=order)[:2]


def _exchanges(c: Evidence) -> Iterator[list[tuple[Part, Part]]]:
    """Pairs of arrays of one role and shape; then the weights and the biases of two layers."""
    uses = [q.name for q in c.h if q.role == "W"]
    plain = [
        q for q, v in c.h.items()
        if v is not None and v.size >= LEAST and q.role != "slope" and not q.fold and uses.count(q.name) < 2
    ]  # fmt: skip
    by_layers: dict[tuple[int, int], list[tuple[Part, Part]]] = {}
    for one, other in itertools.combinations(plain, 2):
        if one.role == other.role and one.layout == other.layout and _shape(c, one) == _shape(c, other):
            by_layers.setdefault((one.layer, other.layer), []).append((one, other))
            yield [(one, other)]
    yield from (pairs for pairs in by_layers.values() if len(pairs) > 1)


def _shape(c: Evidence, part: Part) -> tuple[int, ...]:
    h = c.h[part]
    return () if h is None else h.shape
