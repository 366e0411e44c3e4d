"""What a step needs of memory is counted, and the error names what would fit."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlp_torch.buffered import chunk, memory
from mlp_torch.buffered.engine import TorchEngine
from mlp_torch.errors import UserError
from mlp_torch.model import MLP
from tests.mlp_torch.buffered.engines import data, engine, train

FITS = st.tuples(st.integers(0, 10**12), st.integers(0, 10**9), st.integers(1, 10**6))


@given(numbers=FITS)
def test_the_largest_batch_fits_and_one_more_does_not(numbers: tuple[int, int, int]) -> None:
    free, fixed, per_sample = numbers

    def needed(n: int) -> int:
        return fixed + n * per_sample

    fits = memory.largest_batch(free, needed)
    assert fits == 0 or needed(fits) <= free
    assert needed(fits + 1) > free


@given(batch_size=st.integers(2, 40), loss=st.sampled_from(["cross_entropy", "mse", "bce_with_logits"]))
def test_the_memory_of_a_step_is_counted_to_the_byte(batch_size: int, loss: str) -> None:
    trained = TorchEngine(MLP((7, 13, 3), normalization="layer_norm", dropout=0.2), loss, "adam", {})
    x, labels = data(batch_size)
    y = labels if loss == "cross_entropy" else np.ones((batch_size, 3), np.float32)
    trained.step(x, y, 1e-3)
    (made,) = trained.chunks.values()
    assert trained._needed(batch_size) == made.buffers.bytes


def test_running_out_of_memory_names_the_batch_size_that_would_fit(monkeypatch: Any) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    trained, (x, y) = engine(), data(48)
    monkeypatch.setattr(chunk.Chunk, "_run", full)
    monkeypatch.setattr(memory, "free_bytes", lambda device: trained._needed(17))
    with pytest.raises(UserError, match=r"^--batch-size 40 needs .* MiB .*: --batch-size 17 would fit$"):
        train(trained, x, y, batch_size=40)
    assert trained.chunks == {}
    with pytest.raises(UserError, match="cannot hold the data"):
        train(trained, x, y, batch_size=10)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 100)
    with pytest.raises(UserError, match="not one sample fits"):
        train(trained, x, y, batch_size=10)
    monkeypatch.undo()
    assert memory.free_bytes(torch.device("cpu")) > 2**20
