"""Slips in the sum that gives db."""

from collections.abc import Iterator

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Part
from mlp_torch.check.faults.claims import Claim, Make
from mlp_torch.check.faults.evidence import Evidence


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
