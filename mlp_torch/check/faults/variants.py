"""The data's gradient of one array as people write it by mistake: transposed, some samples, other sums."""

from collections.abc import Iterator

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Part
from mlp_torch.check.faults.claims import Claim, Evidence, Make


def of_weight(
    c: Evidence, part: Part, D: Array, R: Array, dz: Array, make: Make
) -> Iterator[tuple[Claim, Array, bool]]:
    if D.shape[0] == D.shape[1] and D.shape[0] > 1:
        claim = make("transpose", "dW", "is transposed", line="dW = aᵀ dz")
        if R.any():  # the data's part alone; the whole array is turned before it is explained
            yield claim, D.T, False
    below = part.layer - 1
    if below and c.problem.layers[below - 1].mask is not None:
        plain = c.problem.leaf(part, dz, None, c.problem.f[below])
        text = f"uses layer {below}'s activation without its dropout mask"
        yield make("wrong_dropout_backward", "input", text, line="dW = (a · mask)ᵀ dz"), plain, False


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


def of_step(c: Evidence, part: Part, dz: Array, da: Array, make: Make) -> Iterator[tuple[Claim, Array, bool]]:
    """The right formula with the array beside the right one: da for dz, z for a."""
    p, below = c.problem, part.layer - 1
    name = p.layers[below].activation
    if name != "identity" and da.shape == dz.shape:
        text = f"lacks the derivative of {name}: it is made with da{part.layer} where dz{part.layer} belongs"
        yield make("missing_activation_derivative", "array", text, odd=0.8), p.leaf(part, da), False
    if part.role == "W" and below and p.layers[below - 1].activation != "identity":
        text = f"has z{below}, before the activation, where a{below} belongs"
        claim = make("activation_derivative_at_wrong_array", "input", text, odd=0.9)
        yield claim, p.leaf(part, dz, None, p.z[below]), False
        if p.layers[below - 1].mask is not None:
            yield claim, p.leaf(part, dz, None, p.z[below] * p.layers[below - 1].factor), False


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
