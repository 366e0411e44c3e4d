"""The compiled code on disk: compiled once, after a word, and again when its text changes."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from numba import njit
from numba.core.registry import cpu_target

from manual.compiled import prepare, ready
from manual.compiled.epoch import entry

TRAIN = """
import numpy as np, manual, sys
from manual.compiled import CompiledEngine, prepare
waits = []
prepare(np.float32, lambda: waits.append(1))
model = manual.MLP((3, 4, 2), dtype=np.float32)
e = CompiledEngine(model, "mse", manual.OPTIMIZERS["adam"](model.parameters))
e.epoch(np.ones((5, 3), np.float32), np.ones((5, 2), np.float32), np.arange(5), 2, np.full(3, 0.1))
e.predict(np.ones((5, 3), np.float32))
prepare(np.float32, lambda: waits.append(1))
from manual.compiled.ready import compiled_run
misses = sum(compiled_run().stats.cache_misses.values())
print(len(waits), misses, len(compiled_run().signatures), "torch" in sys.modules)
"""


def process(**environment: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", TRAIN],
        env=os.environ | environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def test_a_second_process_compiles_nothing_and_has_no_torch() -> None:
    prepare(np.float32, lambda: None)
    assert process() == "0 0 1 False"


def test_before_the_code_is_compiled_the_wait_is_announced_and_the_cache_may_lie_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a function in place of the whole epoch, which would take many seconds."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(ready, "ENTRY", ready.ENTRY[:1])
    waits: list[int] = []
    for compiles in (1, 0):
        small = njit(cache=True)(lambda spec: 0)
        monkeypatch.setattr(ready, "compiled_run", lambda small=small: small)
        monkeypatch.setattr(ready, "AT_HAND", set())  # as in a process that begins
        prepare(np.float32, lambda: waits.append(1))
        prepare(np.float32, lambda: waits.append(1))
        assert sum(small.stats.cache_misses.values()) == len(waits) == compiles
        assert list(tmp_path.glob("**/*.nbc"))
        waits.clear()


def test_without_a_folder_to_keep_it_in_the_code_is_compiled_for_the_process_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    monkeypatch.setattr("numba.core.caching.CompileResultCacheImpl._locator_classes", [])
    assert entry("nowhere").stats.cache_path is None  # type: ignore[attr-defined]  # numba's dispatcher has it


def test_a_change_in_any_room_asks_for_new_code() -> None:
    assert entry("a")._cache._index_key((), cpu_target.target_context.codegen()) != entry(
        "b"
    )._cache._index_key((), cpu_target.target_context.codegen())
