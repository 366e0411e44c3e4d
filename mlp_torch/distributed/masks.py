"""Dropout masks that belong to a sample, not to who computes it.

The numbers are those of one Philox stream a layer, keyed by the seed; a sample's begin at its place in the
run: how many samples were visited before it. As the order of an epoch is a function of (seed, epoch), its
masks are one of (seed, epoch, sample), however many processes there are.
Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (2011); NumPy's Philox.
"""

import numpy as np

from manual.numbers import Array

WORDS = 8  # 32-bit numbers that one count of the stream gives


def mask(seed: int, layer: int, first: int, count: int, width: int, p: float, dtype: np.dtype) -> Array:
    """0 with probability p and else 1 / (1 − p): (count, width) for the samples from place `first` on."""
    blocks = -(-width // WORDS)  # of each sample
    stream = np.random.Philox(counter=first * blocks, key=np.array([seed, layer], dtype=np.uint64))
    raw = stream.random_raw(count * blocks * WORDS // 2).view(np.uint32)
    kept = raw.reshape(count, blocks * WORDS)[:, :width] >= np.uint32(min(p * 2.0**32, 2.0**32 - 1))
    return kept.astype(dtype) / dtype.type(1 - p)
