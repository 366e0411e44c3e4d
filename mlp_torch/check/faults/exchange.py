"""Slips between arrays that are right: gradients handed over in another order, and steps with momentum."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe import shapes
from mlp_torch.check.describe.forward import Part
from mlp_torch.check.faults.claims import Claim, Claims, norm
from mlp_torch.check.faults.evidence import Evidence


def exchanged(c: Evidence, true: Mapping[Part, Array]) -> tuple[Evidence, Claims]:
    """The evidence with every gradient at its place, and a claim for each that stood at another one's.

    A permutation counts where every array of it is the true gradient of another parameter.
    """
    uses: dict[str, int] = {}
    for part in c.h:
        uses[part.name] = uses.get(part.name, 0) + 1
    parts = [q for q in c.h if q.role != "slope" and uses[q.name] == 1]  # neither folded nor tied
    wrong = [q for q in parts if (h := c.h[q]) is None or not c.same(h, true[q], q)]
    home: dict[Part, Part] = {}  # whose gradient a part's array is
    for q in wrong:
        for other in wrong:
            if other.role != q.role or other == q or norm(true[other]) <= 10 * c.floor[other]:
                continue
            array = shapes.canonical(other, c.raw[q.name], c.problem)
            if array is not None and array.any() and c.same(array, true[other], other):
                home[q] = other
                break
    cycles = {q for q in home if _returns(q, home)}
    if not cycles or len({home[q] for q in cycles}) < len(cycles):
        return c, ()
    placed, raw, claims = dict(c.h), dict(c.raw), []
    for q in sorted(cycles, key=lambda q: (q.role != "W", q.layer)):
        own = home[q]
        placed[own], raw[own.name] = shapes.canonical(own, c.raw[q.name], c.problem), c.raw[q.name]
        words = (
            "holds each other's gradients" if home.get(own) == q else "holds each other's gradients in turn"
        )
        claims.append(Claim("swapped_gradients", "order", words, q.layer, q.name, odd=0.5))
    return replace(c, h=placed, raw=raw, rests={}, slopes={}, found_limits=[]), tuple(claims)


def _returns(q: Part, home: Mapping[Part, Part]) -> bool:
    """Following whose gradient is where comes back to q."""
    at = q
    for _ in home:
        if at not in home:
            return False
        at = home[at]
        if at == q:
            return True
    return False


def with_momentum(c: Evidence, true: Mapping[Part, Array]) -> Claims:
    """One mixture α·gradient + β·the one before in every array: a step with momentum."""
    trios = [
        (part, h, t, before)
        for part, t in true.items()
        if (h := c.h.get(part)) is not None and (before := c.previous.get(part)) is not None
    ]
    if len(trios) < len(true) or not trios:
        return ()
    h, t, before = (
        np.concatenate([v.ravel() for v in arrays])
        for arrays in (
            [h for _, h, _, _ in trios], [t for _, _, t, _ in trios], [before for *_, before in trios]
        )
    )  # fmt: skip
    fitted = c.fit(h, t, before) if h.size > 4 else None
    if fitted is None:
        return ()
    a, b = (float(v) for v in fitted)
    if min(abs(a), abs(b)) < 1e-7 or (abs(a - 1) < 1e-6 and abs(b - 1) < 1e-6):
        return ()  # the gradient alone, or what the call before left
    if not all(c.same(own, a * right + b * last, part) for part, own, right, last in trios):
        return ()
    words = f"is {a:.6g} times the gradient plus {b:.6g} times the one before"
    for said, first, second, mu in (
        ("momentum", 1.0, b, b),
        ("momentum as a running mean", a, (1 - a) * a, 1 - a),
        ("Nesterov's momentum", a, (a - 1) ** 2, a - 1),
    ):
        if 0 < mu < 1 and abs(a - first) < 1e-6 and abs(b - second) < 1e-6:
            words = f"{words.replace('is 1 times', 'is')}: {said}, μ = {mu:.6g}"
            break
    return tuple(Claim("momentum", "momentum", words, part.layer, part.name, odd=0.5) for part in true)
