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
    own: dict[str, list[Part]] = {}  # the parts of each array: two where a bias is folded into its weight
    for part in c.h:
        own.setdefault(part.name, []).append(part)
    plain = {n: q for n, q in own.items() if len({x.layer for x in q}) == 1 and q[0].role != "slope"}

    def holds(name: str, parts: list[Part]) -> bool:
        """Whether the author's array `name` is the true gradient of `parts`."""
        values = [shapes.canonical(q, c.raw[name], c.problem) for q in parts]
        return all(v is not None and c.same(v, true[q], q) for q, v in zip(parts, values, strict=True))

    wrong = [name for name, parts in plain.items() if not holds(name, parts)]
    home: dict[str, str] = {}  # whose gradient an array is
    for name in wrong:
        for other in wrong:
            if plain[other][0].role == plain[name][0].role and holds(name, plain[other]):
                home[name] = other
                break
    cycles = [name for name in wrong if _returns(name, home)]
    moved = any(norm(true[q]) > 10 * c.floor[q] for name in cycles for q in plain[name])
    if not moved or len({home[name] for name in cycles}) < len(cycles):
        return c, ()
    placed, raw, claims = dict(c.h), dict(c.raw), []
    for name in cycles:
        other = home[name]
        raw[other] = c.raw[name]
        placed |= {q: shapes.canonical(q, c.raw[name], c.problem) for q in plain[other]}
        words = (
            "holds each other's gradients" if home[other] == name else "holds each other's gradients in turn"
        )
        claims.append(Claim("swapped_gradients", "order", words, plain[name][0].layer, name, odd=0.5))
    return replace(c, h=placed, raw=raw, rests={}, slopes={}, found_limits=[]), tuple(claims)


def _returns(name: str, home: Mapping[str, str]) -> bool:
    """Following whose gradient is where comes back to `name`."""
    at = name
    for _ in home:
        if at not in home:
            return False
        at = home[at]
        if at == name:
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
