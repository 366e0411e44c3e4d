"""Slips in the sum that gives db, and arrays of another shape than their parameter."""

from collections.abc import Iterator

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Part
from mlp_torch.check.faults.claims import Claim, Claims, Make
from mlp_torch.check.faults.evidence import Evidence
from mlp_torch.check.faults.factors import factor
from mlp_torch.check.faults.penalty import beside_samples


def of_bias(c: Evidence, part: Part, D: Array, dz: Array, make: Make) -> Iterator[tuple[Claim, Array, bool]]:
    n, out = dz.shape
    total = dz.sum()
    kind = "wrong_bias_reduction"
    # each of these is the same in all entries
    if (D.size > 1 or out > 1) and (c.h[part] is None or c.spanned(part, np.ones(D.shape))):
        for words, value in (
            ("is the sum over all axes", total),
            ("is the mean over all entries", total / dz.size),
            ("is the sum over all axes divided by N", total / n),
            ("is the sum over all axes divided by the outputs", total / out),
        ):
            if D.size > 1 or value != total:
                yield make(kind, "all", words), np.full(D.shape, value), False
    if n == out and n > 1 and D.size == out:
        yield make(kind, "axis", "is summed over the neurons, not the samples"), dz.sum(axis=1), True
    if n > 1 and D.size == out:
        a = c.problem.a[part.layer - 1]
        if a.shape[1] in (1, out):
            yield make(kind, "input", "is multiplied by the input"), (a * dz).sum(axis=0), False


def misfit(c: Evidence, part: Part, dz: Array, T: Array, R: Array, make: Make) -> Iterator[Claims]:
    """The author's array has another shape: not summed, summed over the wrong axis, transposed."""
    raw = c.raw[part.name]
    flat = raw.squeeze()
    n, out = dz.shape

    def ways(candidate: Array, claim: Claim) -> Iterator[Claims]:
        for turned in (candidate, candidate.T):
            if turned.squeeze().shape == flat.shape:
                value = c.ratio(flat, turned.squeeze())
                if R.any() and claim.kind == "bias_not_summed":
                    for more in beside_samples(c, part, flat, turned.squeeze(), R, make):
                        yield (claim, *more)
                elif value is None:
                    continue
                elif abs(value - 1) <= 4 * c.rtol or abs(value * n - 1) <= 4 * c.rtol:
                    yield (claim,)
                else:
                    for reading in factor(c, value, part, make):
                        yield (claim, *reading)
                return

    if part.role == "b" and part.fold is None:
        yield from ways(
            dz, make("bias_not_summed", "raw", f"has shape {raw.shape}: the samples are not summed")
        )
        if flat.size != n * out or out == 1:
            yield from ways(
                dz.sum(axis=1),
                make(
                    "wrong_bias_reduction",
                    "axis",
                    f"has shape {raw.shape}: summed over the neurons, not the samples",
                ),
            )
        if flat.size == 1:
            yield from _one_number(c, part, float(flat), dz, make)
        for other, delta in enumerate(c.true_deltas()):
            if other and other != part.layer and delta.shape[1] == flat.size != out:
                words = f"has shape {raw.shape}: it is made with {c.names.dz(other)}"
                yield from ways(delta.sum(axis=0), make("wrong_layer", f"dz {other - part.layer}", words))
        return
    if part.role == "W":
        for j, a in enumerate(c.problem.a):
            if not part.fold and j != part.layer - 1 and a.shape[1] != c.problem.a[part.layer - 1].shape[1]:
                words = f"has shape {raw.shape}: it is made with {c.names.a(j)} for the layer's input"
                yield from ways(a.T @ dz, make("wrong_layer", f"a {j - part.layer}", words))
        whole = T
        if part.fold:
            mate = next(p for p in c.h if p.name == part.name and p.layer == part.layer and p.role == "b")
            bias = (c.problem.leaf(mate, dz) + c.regulariser(mate)).reshape(1, -1)
            whole = np.vstack([bias, T] if part.fold == "first" else [T, bias])
        yield from ways(
            whole, make("transpose", "dW", f"has the transposed shape {raw.shape}", line="dW = aᵀ dz")
        )
    elif part.fold:
        yield ()


def _one_number(c: Evidence, part: Part, h: float, dz: Array, make: Make) -> Iterator[Claims]:
    """np.sum(dz) in place of np.sum(dz, axis=0); under softmax it is 0 up to rounding, as dz sums to 0."""
    n, total, floor = len(dz), float(dz.sum()), c.floor[part]
    kind, zero = "wrong_bias_reduction", abs(total) <= floor
    if zero and abs(h) <= floor:
        words = "is one number, the sum over all axes; the entries of dz sum to 0 here"
        yield (make(kind, "all", words),)
        return
    for words, value in (("sum", total), ("mean", total / dz.size), ("sum over N", total / n)):
        if abs(h - value) <= c.rtol * abs(value) + floor:
            yield (make(kind, "all", f"is one number, the {words} over all axes"),)
            return
    for reading in c.name_constant(h / total, part) if not zero else ():
        claim = make(kind, "all", "is one number, the sum over all axes")
        yield claim, *(make(*named) for named in reading)
