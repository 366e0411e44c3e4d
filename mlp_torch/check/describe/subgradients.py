"""Which derivative the author took at the kinks: solved for from their arrays, by layer, then by entry.

The gradient is linear in each share s of the way from the derivative below a kink to that above. A share of
0, 1 or ½ is a convention; any other between 0 and 1 is a subgradient; outside there is no excuse.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Network, Part
from mlp_torch.check.describe.kinks import CONVENTIONS, EDGE, Place, Taken, places, slopes

Sides = Mapping[int | str, Array]
Hand = Mapping[Part, Array]
NEAR = 0.02  # of a convention: tried as it first, and counted as another share where that does not fit
ROUNDS = 12
FIT = 1e-6  # of the arrays: what may be left of them, before they are compared with care
CORNERS = 12  # kinked entries of a unit whose sides are tried in all combinations
MOST = 64  # margins of a loss that are solved for one by one


def taken(p: Network, h: Hand) -> Iterator[Taken]:
    """Networks whose derivatives at the kinks may be the author's, the simplest first: one share a layer and
    kink, solved for from all arrays; each entry its own. Nothing where the batch meets no kink.
    """
    met = places(p)
    if not met or not h:
        return
    with np.errstate(all="ignore"):
        ways = [(sides, True, True)] if (sides := _by_layer(p, h, met)) is not None else []
        if (own := _by_entry(p, h, met)) is not None:
            ways.append((own[0], own[1], False))
    for sides, proven, one in ways:
        for rounded in (_snapped(sides), sides):
            yield Taken(replace(p, sides=rounded, z=[], f=[], a=[]), met, proven, one)


def beside(p: Network, h: Hand) -> Iterator[Network]:
    """The same from single arrays, where another one is wrong, or all of them by one factor."""
    met = places(p)
    for part in h if met else ():
        for scaled in (False, True):
            with np.errstate(all="ignore"):
                sides = _by_layer(p, {part: h[part]}, met, scaled)
            if sides is not None:
                q = replace(p, sides=_snapped(sides), z=[], f=[], a=[])
                if all(((s >= 0) & (s <= 1) | np.isnan(s)).all() for s in q.sides.values()):
                    yield q


def _snapped(sides: Sides) -> dict[int | str, Array]:
    def snap(side: Array) -> Array:
        for s in CONVENTIONS:
            side = np.where(np.abs(side - s) <= NEAR, s, side)
        return side

    return {key: snap(side) for key, side in sides.items()}


# One share for each layer and kink: h = t + Σ (s − s₀) ∂t/∂s, repeated, since t is linear in each share alone


def _by_layer(
    p: Network, h: Hand, met: Sequence[Place], scaled: bool = False
) -> dict[int | str, Array] | None:
    """`scaled`: h is t times a factor that is solved for as well."""
    groups = [(place, kink) for place in met for kink in np.unique(place.at[place.at >= 0])]
    # "l1" is one convention for all arrays
    keys = list(dict.fromkeys(("l1", 0) if g[0].group == "l1" else (g[0].key, int(g[1])) for g in groups))
    shares = np.full(len(keys), 0.5)

    def sides(values: Array) -> dict[int | str, Array]:
        own = dict(zip(keys, values, strict=True))
        made: dict[int | str, Array] = {}
        for place, kink in groups:
            share = own["l1", 0] if place.group == "l1" else own[place.key, int(kink)]
            side = made.setdefault(place.key, np.full(place.at.shape, np.nan))
            side[place.at == kink] = share
        return made

    def flat(values: Array) -> Array:
        return _flat(replace(p, sides=sides(values), z=[], f=[], a=[]), h)

    weight = _weights(p, h)
    target = _author(h) * weight
    if not np.isfinite(target).all():
        return None
    seen = np.zeros(len(keys), dtype=bool)
    for _ in range(ROUNDS):
        columns = []
        for i in range(len(keys)):
            up, down = shares.copy(), shares.copy()
            up[i], down[i] = 1.0, 0.0
            columns.append((flat(up) - flat(down)) * weight)
        here = flat(shares) * weight
        A, rest = np.stack(columns, axis=1), target - here
        if not (np.isfinite(A).all() and np.isfinite(rest).all()):
            return None
        seen = np.linalg.norm(A, axis=0) > 1e-12 * max(float(np.linalg.norm(target)), 1e-300)
        if not seen.any():
            return None
        if scaled:  # h = c t + Σ c (s − s₀) ∂t/∂s
            c, *moves = np.linalg.lstsq(np.column_stack([here, A[:, seen]]), target, rcond=1e-10)[0]
            step = np.asarray(moves) / c
        else:
            step = np.linalg.lstsq(A[:, seen], rest, rcond=1e-10)[0]
        shares[seen] += step
        if np.abs(step).max() <= 1e-13:
            break
    reached = flat(shares) * weight
    if scaled:
        reached = reached * float(reached @ target) / max(float(reached @ reached), 1e-300)
    coarse = max(FIT, 64 * p.unit)
    if np.abs(shares).max() > 1e6 or not np.linalg.norm(reached - target) <= coarse * np.linalg.norm(target):
        return None
    unseen = {key for key, known in zip(keys, seen, strict=True) if not known}
    found = sides(shares)
    for place, kink in groups:  # what nothing shows stays as torch has it
        if place.group != "l1" and (place.key, int(kink)) in unseen:
            found[place.key][place.at == kink] = np.nan
    return found


def _author(h: Hand) -> Array:
    once = {(part.name, part.role): value for part, value in h.items()}
    return np.concatenate([v.ravel() for v in once.values()])


def _flat(p: Network, h: Hand) -> Array:
    """The true gradients in the order of the author's; of an array that several layers use, the sum."""
    last: dict[tuple[str, str], Part] = {(part.name, part.role): part for part in h}
    total: dict[tuple[str, str], Array] = {}
    true = p.true()
    for part in true:
        key = (part.name, part.role)
        if key in last:
            value = true[part] if part.layout == last[key].layout else true[part].T
            total[key] = total[key] + value if key in total else value
    return np.concatenate([total[key].ravel() for key in last])


def _weights(p: Network, h: Hand) -> Array:
    """One over the scale of each array."""
    once = {(part.name, part.role): value for part, value in h.items()}
    scales = [np.full(v.size, 1 / max(float(np.linalg.norm(v)), 1e-300)) for v in once.values()]
    return np.concatenate(scales)


# Each entry its own share, from the output down: dW = aᵀ dz is linear in the shares of one layer's units


def _by_entry(p: Network, h: Hand, met: Sequence[Place]) -> tuple[dict[int | str, Array], bool] | None:
    uses = [part.name for layer in p.layers for part in layer.parts if part.role == "W"]
    if len(set(uses)) < len(uses):
        return None
    sides: dict[int | str, Array] = {}
    proven = True
    for layer in reversed(p.layers):
        own = {part.role: part for part in layer.parts if part in h}
        q = replace(p, sides=sides, z=[], f=[], a=[])
        for place in met:
            top = place.key == "loss" and layer.index == len(p.layers)
            if not top and place.key != layer.index:
                continue
            columns = _of_loss(q, place) if top else _of_units(q, place)
            if columns is None:
                return None
            zero = {**sides, place.key: np.where(place.at >= 0, 0.0, np.nan)}
            base = replace(p, sides=zero, z=[], f=[], a=[]).deltas()[layer.index]
            solved = _solved(p, h, own, base, columns)
            if solved is None:
                return None
            side = np.full(place.at.shape, np.nan)
            for entry, share in solved[0].items():
                side[entry] = share
            sides[place.key] = side
            proven &= solved[1]
            q = replace(p, sides=sides, z=[], f=[], a=[])
    data = replace(p, sides=sides, penalties={}, z=[], f=[], a=[]).true()
    for place in met:
        if place.group == "l1":
            part = next((q for q in h if f"l1 {q.layer} {q.role}" == place.key), None)
            if part is not None:
                given = p.penalties[part.layer, part.role]
                sign = (h[part] - data[part]) / given.l1
                sides[place.key] = np.where(place.at >= 0, (sign + 1) / 2, np.nan)
    return sides, proven


Columns = dict[int, list[tuple[tuple[int, ...], Array]]]  # by block: (entry, what dz gains from its share)


def _of_units(q: Network, place: Place) -> Columns:
    """Block j: dz[:, j] gains da · (f′ above − f′ below) at each kinked sample."""
    number = int(place.key)
    dz = q.deltas()
    da = q.upstream(number, None if number == len(q.layers) else dz[number + 1])
    below, above = slopes(q, number)
    gain = da * (above - below)
    found: Columns = {}
    for i, j in np.argwhere(place.at >= 0):
        column = np.zeros(gain.shape[0])
        column[i] = gain[i, j]
        found.setdefault(int(j), []).append(((int(i), int(j)), column))
    return found


def _of_loss(q: Network, place: Place) -> Columns | None:
    """One block of all outputs, −1: a margin may reach every output of its sample."""
    entries = np.argwhere(place.at >= 0)
    if len(entries) > MOST:
        return None
    found = []
    for entry in entries:
        ends = []
        for end in (1.0, 0.0):
            side = np.where(place.at >= 0, 0.0, np.nan)
            side[tuple(entry)] = end
            ends.append(replace(q, sides={**q.sides, place.key: side}, z=[], f=[], a=[]).deltas()[-1])
        found.append((tuple(int(i) for i in entry), ends[0] - ends[1]))
    return {-1: found}


def _solved(
    p: Network, h: Hand, own: Mapping[str, Part], base: Array, columns: Columns
) -> tuple[dict[tuple[int, ...], float], bool] | None:
    """Shares in [0, 1] where there are such, by block; and whether every block has numbers to spare."""
    shares: dict[tuple[int, ...], float] = {}
    proven = True
    for block, terms in columns.items():
        rows, targets = [np.zeros((0, len(terms)))], [np.zeros(0)]
        for role, part in own.items():
            if role == "slope" or (role == "b" and h[part].size != base.shape[1]):
                continue
            known = p.theta(part) != 0 if p.penalties[part.layer, part.role].l1 else np.ones(h[part].shape)
            gap = h[part] - p.leaf(part, base) - p.regulariser(part)
            at = ... if block < 0 else (..., block)
            a = p.a[part.layer - 1]
            made = [a.T @ gain if role == "W" else gain.sum(axis=0) for _, gain in terms]
            keep = np.asarray(known[at], dtype=bool).reshape(-1)
            rows.append(np.stack([np.reshape(m, -1) for m in made], axis=1)[keep])
            targets.append(np.reshape(gap[at], -1)[keep])
        A, b = np.vstack(rows), np.concatenate(targets)
        if not (np.isfinite(A).all() and np.isfinite(b).all()):
            return None
        seen = np.linalg.norm(A, axis=0) > 0
        proven &= len(b) > seen.sum()
        s = _boxed(A[:, seen], b)
        entries = [entry for (entry, _), known in zip(terms, seen, strict=True) if known]
        shares |= {entry: float(share) for entry, share in zip(entries, s, strict=True)}
    return shares, proven


def _boxed(A: Array, b: Array) -> Array:
    """s in [0, 1] with A s = b: the only one; else ends of the interval, which is what people take; else the
    one nearest to ½ all over.
    """
    k = A.shape[1]
    s = 0.5 + np.asarray(np.linalg.lstsq(A, b - A @ np.full(k, 0.5), rcond=1e-10)[0])
    if np.linalg.matrix_rank(A) < k <= CORNERS:
        ends = np.array(list(itertools.product((0.0, 1.0), repeat=k)))
        gaps = np.linalg.norm(ends @ A.T - b, axis=1)
        best = int(np.argmin(gaps))
        if gaps[best] <= EDGE * float(np.linalg.norm(A)):
            return np.asarray(ends[best])
    if ((s < -EDGE) | (s > 1 + EDGE)).any() and np.linalg.matrix_rank(A) < k:
        from scipy.optimize import lsq_linear  # slow to import, and seldom needed

        return np.asarray(lsq_linear(A, b, bounds=(0, 1), method="bvls").x)
    return s
