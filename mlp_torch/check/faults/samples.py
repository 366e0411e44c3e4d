"""The samples: slips of a loop over them, and (N,) against (N, 1), an error that nothing summed."""

from collections.abc import Iterator

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.activations import chain
from mlp_torch.check.describe.forward import Part
from mlp_torch.check.describe.losses import LOSSES, fused
from mlp_torch.check.faults.claims import Claim, Claims, Make
from mlp_torch.check.faults.evidence import Evidence


def of_samples(c: Evidence, part: Part, dz: Array, make: Make) -> Iterator[tuple[Claim, Array, bool]]:
    """The loop over the samples: only the last kept, only the first, or sums that were not reset."""
    n = len(dz)
    if n < 2:
        return
    last, first = _only(n, n - 1), _only(n, 0)
    over, miss, stale = "overwritten_gradient", "missing_accumulation", "stale_gradient"
    slips = (
        (over, "last", "holds the last sample alone: = for += in the loop", last, 0.9),
        (miss, "first", "holds one sample, the first: the others are not added", first, 1.0),
        (miss, "butlast", "lacks the last sample", 1 - last, 1.3),
        (miss, "butfirst", "lacks the first sample", 1 - first, 1.3),
        (
            stale,
            "running",
            "counts early samples again and again: the sum is not set to 0",
            np.arange(n, 0, -1.0),
            1.0,
        ),
        (stale, "running back", "counts late samples again and again", np.arange(1.0, n + 1), 1.2),
    )
    fits = _which(c, part, dz, np.stack([slip[3] for slip in slips]))
    for (kind, variant, words, weights, odd), fit in zip(slips, fits, strict=True):
        if fit:
            value = c.problem.leaf(part, dz * weights[:, None])
            yield make(kind, variant, words, odd=odd), value, "but" not in variant


def _which(c: Evidence, part: Part, dz: Array, weights: Array) -> Array:
    """Which weights of the samples (C, N) may have given the author's array, all asked at once."""
    h = c.h[part]
    if h is None or (part.role == "b" and h.size != dz.shape[1]):
        return np.ones(len(weights), dtype=bool)
    if part.role == "b":
        return c.which_spanned(part, weights @ dz, c.few(part))
    few = c.few(part)
    rows = c.problem.a[part.layer - 1].T[few]
    weighted = (weights[:, None, :] * rows).reshape(-1, len(dz)) @ dz
    return c.which_spanned(part, weighted.reshape(len(weights), -1), few)


def _only(n: int, i: int) -> Array:
    weights = np.zeros(n)
    weights[i] = 1
    return weights


def wide(c: Evidence) -> Claims:
    """A claim for every array of the last layer, where the square error makes all of them."""
    p = c.problem
    n, last = p.samples, p.layers[-1]
    parts = [q for q in last.parts if q in c.h and q.role != "slope"]
    if p.output.shape[1] != 1 or n == 1 or last.mask is not None or any(q.fold for q in parts):
        return ()
    if not any(c.raw[q.name].size in (n * p.theta(q).size, n * n) for q in parts):
        return ()
    words = (
        f"comes from an error of shape ({n}, {n}): y of shape ({n},) against an output of shape ({n}, 1), "
        "or the reverse, broadcasts"
    )
    E = _square(c)
    if E is None:
        return ()
    claims: list[Claim] = []
    for q in parts:
        if not any(_makes(c, q, v) for v in _candidates(c, q, E)):
            return ()
        claims.append(
            Claim("broadcast", "square", words, q.layer, q.name, line="dz = p − y" if _pair(c) else "")
        )
    return tuple(claims)


def _pair(c: Evidence) -> bool:
    p = c.problem
    return (p.loss, p.layers[-1].activation) == ("bce", "sigmoid")


def _square(c: Evidence) -> Array | None:
    """dz of output i and target j."""
    p = c.problem
    n, last = p.samples, p.layers[-1]
    o, z = (np.ascontiguousarray(np.broadcast_to(v, (n, n))) for v in (p.output, p.z[-1]))
    y = np.ascontiguousarray(np.broadcast_to(p.y.T, (n, n)))
    with np.errstate(all="ignore"):
        E = fused(p.loss, last.activation, o, y, z)
        if E is None:
            E = chain(last.activation, LOSSES[p.loss].derivative(o, y), z, o, last.constants)
        E = p.weight * E
    return E if np.isfinite(E).all() and E.any() else None


def _candidates(c: Evidence, part: Part, E: Array) -> Iterator[Array]:
    below = c.problem.a[part.layer - 1].T
    for error in (E, E.T):
        if part.role == "W":
            yield from (below @ error, (below @ error).sum(axis=1))
        else:
            yield from (error.sum(axis=0), error)
    if part.role == "b":
        yield E.sum()


def _makes(c: Evidence, part: Part, value: Array) -> bool:
    """The author's array is `value`, over N, N² or nothing, with the penalty's gradient in every column."""
    h = c.raw[part.name].squeeze()
    R, n = c.problem.regulariser(part), c.problem.samples
    for turned in (np.asarray(value), np.asarray(value).T):
        if turned.shape != h.shape:
            continue
        spread = R.reshape(-1, 1) if h.ndim == 2 and R.size == h.shape[0] and R.any() else R.squeeze()
        try:
            rest = h - (np.broadcast_to(spread, h.shape) if R.any() else 0.0)
        except ValueError:
            continue
        k = c.ratio(rest, turned)
        if k is not None and any(abs(k - v) <= 1e-6 * v for v in (1.0, 1 / n, float(n), 1 / n**2)):
            return True
        if np.linalg.norm(rest - turned) <= 1e-12 * max(1.0, float(np.linalg.norm(h))):
            return True
    return False


def broadcast(
    c: Evidence, line: str, loss: str = "", labels: Array | None = None
) -> Iterator[tuple[Claim, Array]]:
    """(N,) against (N, 1): every output meets every target, and a sum or mean takes the square away."""
    p = c.problem
    n = p.samples
    y = p.y if labels is None else labels
    o, y = np.broadcast_to(p.output, (n, n)), np.broadcast_to(y.T, (n, n))
    square = LOSSES[loss or p.loss].derivative(o, np.ascontiguousarray(y))
    for words, axis in (("each output meets every target", 1), ("each target meets every output", 0)):
        for g, odd in ((square.mean(axis=axis), 0.8), (square.sum(axis=axis), 0.9)):
            detail = (
                f"comes from an error of shape ({n}, {n}), because (N,) against (N, 1) broadcasts: {words}"
            )
            yield (
                Claim("broadcast", words, detail, len(p.layers), line=line, odd=odd),
                p.weight * g.reshape(n, 1),
            )
