"""Gradients of dyadic problems have one hash, whatever kernels, threads or device compute them."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from manual.structure.architecture import Architecture
from mlp_torch.verify.bits import RefusedError
from mlp_torch.verify.dyadic import problem
from mlp_torch.verify.ledger import prove
from tests.mlp_torch.verify.test_dyadic import DEVICES, DTYPES, both

ROOT = Path(__file__).parents[3]
SCRIPT = """
from tests.mlp_torch.verify.test_one_hash import digest
print(digest("cpu"))
"""
HERE = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
WIDE = {"OPENBLAS_CORETYPE": "SkylakeX", "MKL_CBWR": "AVX512"} if "avx512f" in HERE else {"MKL_CBWR": "AVX2"}
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
# Each setting changes the kernels of NumPy, of torch's BLAS and of torch itself, and the threads.
MIXED = [
    {"OPENBLAS_CORETYPE": "Sandybridge", "MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "default"},
    {"OPENBLAS_CORETYPE": "Haswell", "MKL_CBWR": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", **THREADS},
]
SINGLE = [
    *({"OPENBLAS_CORETYPE": core} for core in ("Haswell", "Zen", "Sandybridge")),
    *({"MKL_CBWR": branch} for branch in ("COMPATIBLE", "AVX2")),
    {"ATEN_CPU_CAPABILITY": "default"},
    WIDE,
    {**WIDE, **THREADS},
]


def digest(device: str) -> str:
    """One hash of all gradients of both engines, on networks large enough for blocked kernels and threads."""
    found = hashlib.sha256()
    for row, loss in (("relu", "mse"), ("tanh", "cross_entropy")):
        for dtype in DTYPES.values():
            p = problem(Architecture((64, 96, 64, 8), row, dropout=0.5), loss, 64, dtype=dtype, seed=0)
            for t in both(p, device):
                for name in sorted(t.gradients):
                    found.update((t.gradients[name] + 0.0).tobytes())  # + 0 makes −0 into 0
    return found.hexdigest()


def hashes(all_settings: list[dict[str, str]]) -> set[str]:
    """The hash of this process and of one subprocess for each setting."""
    found = {digest("cpu")}
    for setting in all_settings:
        python = [sys.executable, "-W", "ignore", "-c", SCRIPT]
        out = subprocess.run(python, cwd=ROOT, env={**os.environ, **setting}, capture_output=True, text=True)
        assert out.returncode == 0, out.stderr
        found.add(out.stdout.split()[-1])
    return found


@pytest.mark.long
def test_gradients_have_one_hash_under_other_kernels_and_numbers_of_threads() -> None:
    assert len(hashes(MIXED)) == 1


@pytest.mark.long
def test_gradients_have_one_hash_under_each_setting_by_itself() -> None:
    assert len(hashes(SINGLE)) == 1


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("tf32", [True, False])
def test_gradients_have_one_hash_on_every_device_with_and_without_tf32(device: str, tf32: bool) -> None:
    here, before = digest("cpu"), torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        assert digest(device) == here
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_problem_that_rounds_is_not_called_exact() -> None:
    """Planted: the same network on Gaussian data is refused, and its bits do differ."""
    p = problem(Architecture((16, 24, 16, 4), "relu"), "mse", 32, dtype=np.float64, seed=0)
    x = np.random.default_rng(0).normal(size=p.x.shape)
    with pytest.raises(RefusedError):
        prove(p.model.trace(x, p.y, "mse"))
