"""Slips in the target y: forgotten, or added where it is subtracted, in the short form that people write."""

from collections.abc import Iterator

import numpy as np

from manual.activations import sigmoid, softmax
from manual.numbers import Array
from mlp_torch.check.describe.activations import chain
from mlp_torch.check.faults.claims import Claim
from mlp_torch.check.faults.evidence import Evidence

# The pairs of loss and activation whose dz is p − y
CANCELLING = (("cross_entropy", "softmax"), ("bce", "sigmoid"))


def of_target(c: Evidence) -> Iterator[tuple[Claim, Array, Array]]:
    """(claim, the gradient at the output, dz of the last layer)."""
    p = c.problem
    L, last, o, y = len(p.layers), p.layers[-1], p.output, p.y
    if (p.loss, last.activation) in CANCELLING and last.mask is None:
        for claim, value in _slips(L, f"dz{c.names.mark(L)} = p − y", "p", o, y, 1.0):
            yield claim, p.weight * value, p.weight * value
        return
    row = {
        "squared_error": ("ŷ", o, 2.0),
        "half_squared_error": ("ŷ", o, 1.0),
        "bce_with_logits": ("σ(ŷ)", sigmoid(o), 1.0),
        "cross_entropy_from_logits": ("softmax(ŷ)", softmax(o), 1.0),
    }.get(p.loss)
    if row is None:
        return
    what, value, times = row
    shown = "2" if times == 2 else ""
    line = f"dŷ = 2({what} − y)" if shown else f"dŷ = {what} − y"
    for claim, slip in _slips(L, line, what, value, y, times):
        G = p.weight * slip
        upstream = G * last.factor
        yield claim, upstream, chain(last.activation, upstream, p.z[L], p.f[L], last.constants)


def _slips(L: int, line: str, what: str, o: Array, y: Array, times: float) -> Iterator[tuple[Claim, Array]]:
    two = "2" if times == 2 else ""
    right = f"2({what} − y)" if two else f"{what} − y"
    kind = "wrong_loss_derivative"
    if not np.any(y):
        return
    words = f"has {two}{what} for {right}: y is forgotten"
    yield Claim(kind, "y forgotten", words, L, line=line, odd=0.2), times * o
    words = f"has {f'2({what} + y)' if two else f'{what} + y'} for {right}"
    yield Claim(kind, "y added", words, L, line=line, odd=0.2), times * (o + y)


def told_of_target(claim: Claim) -> bool:
    """Whether a claim is one of these."""
    return claim.kind == "wrong_loss_derivative" and claim.variant in ("y forgotten", "y added")
