"""Gradients handed over in another order, with one other mistake beside that."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace

from manual.numbers import Array
from mlp_torch.check.describe.forward import Part
from mlp_torch.check.faults.claims import Claim, Claims, cost
from mlp_torch.check.faults.evidence import Evidence
from mlp_torch.check.search.ranking import order
from mlp_torch.check.search.search import with_one

PATIENCE = 2.0  # seconds of work for all pairs
LEAST = 3  # entries: fewer are another parameter's gradient times something too easily


def far_fetched(found: list[Claims]) -> bool:
    """Whether what was found is so much that arrays at each other's places explain it better."""
    return not found or cost(found[0]) > 2 or (cost(found[0]) == 2 and _of_other_layers(found[0]))


def _of_other_layers(claims: Claims) -> bool:
    return any(x.kind == "wrong_layer" for x in claims)


def swapped(c: Evidence) -> list[Claims]:
    """Sets of an exchange and one mistake, the likeliest first."""
    end = time.thread_time() + PATIENCE
    found: list[Claims] = []
    for pairs in _exchanges(c):
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
