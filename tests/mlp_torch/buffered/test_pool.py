"""The torch engine flushes on every thread of torch's pool, and leaves all of them as they were."""

import subprocess
import sys

import pytest

CODE = """
import numpy as np, torch
from manual.training.subnormals import flushing
from mlp_torch.buffered import TorchEngine
from mlp_torch.buffered.pool import spread
from mlp_torch.model import MLP

torch.set_num_threads({threads})
tiny = torch.full((2**20,), torch.finfo(torch.float32).tiny)
kept = lambda: int(((tiny * 0.5) != 0).sum())
assert kept() == 2**20
with flushing(spread):
    assert kept() == 0
assert kept() == 2**20
module = MLP((64, 512, 512, 10), seed=0)
engine = TorchEngine(module, "cross_entropy", "adam", {{}})
seen = []
update = engine.optimizer.__class__.__call__
engine.optimizer.__class__.__call__ = lambda self, rate: [*update(self, rate), lambda: seen.append(kept())]
x, y = np.ones((128, 64), np.float32), np.zeros(128, np.int64)
engine.epoch(x, y, np.arange(128), 128, np.full(1, 1e-3))
assert seen == [0], seen
assert kept() == 2**20
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_all_threads_of_torch_flush_within_an_epoch_and_none_after_it(threads):
    code = CODE.format(threads=threads)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
