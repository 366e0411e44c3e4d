"""Slips in dropout's backward pass."""

from collections.abc import Iterator

import numpy as np

from manual.numbers import Array
from mlp_torch.check.faults.claims import Claim
from mlp_torch.check.faults.evidence import Evidence


def slips(c: Evidence, number: int, u: Array) -> Iterator[tuple[Claim, Array]]:
    """(claim, gradient at the activation): slips in dropout's backward; u is the gradient at the output."""
    layer = c.problem.layers[number - 1]
    if layer.mask is None:
        return
    kept = (layer.mask != 0).astype(float)
    keep = layer.keep
    right = u * layer.factor
    cases = [
        ("mask", "lacks dropout's mask", u, 0.6),
        ("scale", "lacks dropout's scale 1/(1 − p)", u * kept, 0.5),
        ("mask but scale", "lacks dropout's mask and has its scale", u / keep, 0.9),
        ("scale twice", "has dropout's scale 1/(1 − p) twice", u * kept / keep**2, 0.8),
        ("keep", "multiplies by 1 − p where dropout divides", u * kept * keep, 0.8),
        ("p", "divides by p where dropout divides by 1 − p", u * kept / max(1 - keep, 1e-300), 0.9),
        ("turned", "has dropout's mask turned round", u * (1 - kept) / keep, 0.9),
        ("turned plain", "has dropout's mask turned round, without its scale", u * (1 - kept), 1.0),
        ("scale missing and p", "multiplies by p", u * kept * (1 - keep), 1.1),
    ]
    for other in c.problem.layers:
        if other.index != number and other.mask is not None and other.mask.shape == layer.mask.shape:
            cases.append(
                ("other mask", f"has the dropout mask of {c.names.place(other.index)}", u * other.factor, 1.0)
            )
    for variant, words, value, odd in cases:
        if np.isfinite(value).all() and not np.allclose(value, right, rtol=1e-11, atol=0):
            yield (
                Claim(
                    "wrong_dropout_backward",
                    variant,
                    words,
                    number,
                    line=f"da{c.names.mark(number)} = dh{c.names.mark(number)} · mask",
                    odd=odd,
                ),
                value,
            )
