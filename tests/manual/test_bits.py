"""The same seed, the same bits: whatever the number of threads, the processor, and how an epoch is cut."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from manual import ACTIVATIONS, LOSSES, MLP, OPTIMIZERS
from manual.compiled import CompiledEngine, optimizers, sums
from manual.compiled.memory import FUSES, OPTIONS, pointer
from manual.recorded.compiled import missing
from manual.structure.fingerprint import fingerprint
from tests.manual import runs
from tests.manual.runs import COUNT, FIRST, RECIPES, RULES, configuration, foreign, result, results
from tests.problems import DTYPES

AVX2 = "+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+lzcnt,+movbe,+sse4.2,+sse4.1,+popcnt"
AVX512 = f"{AVX2},+avx512f,+avx512vl,+avx512dq,+avx512bw,+avx512cd"
PROCESSORS = {
    "haswell": AVX2,
    "znver2": AVX2,
    "x86-64-v3": AVX2,
    "skylake-avx512": AVX512,
    "znver4": AVX512,
    "sapphirerapids": AVX512,
}


def can(features: str) -> bool:
    """Whether this machine has them all."""
    here = llvm.get_host_cpu_features()
    return all(here.get(feature.removeprefix("+")) for feature in features.split(","))


def found_on(processor: str, cache: Path, *arguments: str) -> dict[str, list[str]]:
    """The fingerprints of a process that compiles for that processor, and calls nobody else's functions."""
    there = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": PROCESSORS[processor]}
    done = subprocess.run(
        [sys.executable, "-m", "tests.manual.runs", *arguments],
        env=os.environ | there | {"NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    assert found.pop("foreign") == []
    return found


def test_the_configurations_have_every_row_of_every_table() -> None:
    all_of_them = [configuration(number) for number in range(COUNT)]
    kernels = {name for name, row in (ACTIVATIONS | LOSSES).items() if missing(row) is None}
    assert {c["activation"] for c in all_of_them} == kernels & set(ACTIVATIONS)
    assert {c["loss"] for c in all_of_them} >= kernels & set(LOSSES)
    with_kernels = {name for name, rule in OPTIMIZERS.items() if rule in optimizers.ROWS}
    assert {name for name, _ in (c["rule"] for c in all_of_them)} == with_kernels, (
        "a rule with a compiled kernel goes to the end of RULES in tests/manual/runs.py"
    )
    assert all(any(c["rule"] == rule for c in all_of_them) for rule in RULES)
    assert all(any(c["recipe"] == recipe for c in all_of_them) for recipe in RECIPES)


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_number_of_threads_gives_the_same_bits(dtype: str) -> None:
    found = results(COUNT, [dtype], [1, 2, 3, 4, 7])
    assert {name: len(fingerprints) for name, fingerprints in found.items()} == dict.fromkeys(found, 1)


@pytest.mark.skipif(not can(AVX2), reason="this machine has no AVX2 to compile for")
@pytest.mark.long
def test_an_older_processor_gives_the_same_bits(tmp_path: Path) -> None:
    assert found_on("haswell", tmp_path, "16", "float32", "2") == results(16, ["float32"], [1])


@pytest.mark.long
@pytest.mark.parametrize("processor", PROCESSORS)
def test_every_processor_gives_the_same_bits(processor: str, tmp_path: Path) -> None:
    if not can(PROCESSORS[processor]):
        pytest.skip(f"this machine cannot do what a {processor} can")
    found = found_on(processor, tmp_path, "64", "float32,float64", "1,2,3,4")
    assert found == results(64, ["float32", "float64"], [1])


# What an Intel Xeon with AVX-512 found.
RECORDED = {"float64": "d4492a28", "float32": "6052aedc"}


@pytest.mark.skipif(not FUSES, reason="without fused products the bits are others")
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_bits_are_those_of_other_machines(dtype: str) -> None:
    assert fingerprint({str(n): np.array(result(n, dtype, 1)) for n in range(FIRST)}) == RECORDED[dtype]


@given(
    cuts=st.lists(st.integers(1, 7), max_size=3, unique=True),
    threads=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_an_epoch_in_parts_draws_and_leaves_what_it_does_in_one(
    cuts: list[int], threads: int, seed: int
) -> None:
    """Cut at any batches, with dropout and momentum."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-1, 1, (61, 5)).astype("f4"), rng.integers(0, 3, 61)
    shown = set()
    for crew, ends in ((1, [8]), (threads, [*sorted(cuts), 8])):
        model = MLP((5, 23, 3), dtype=np.float32, dropout=0.4, seed=seed)
        rule = OPTIMIZERS["sgd"](model.parameters, momentum=0.9)
        engine, first, losses = CompiledEngine(model, "cross_entropy", rule, threads=crew), 0, []
        for end in ends:
            part = np.arange(first * 8, min(61, end * 8))
            losses.extend(engine.epoch(x, y, part, 8, np.full(end - first, 0.1)))
            first = end
        after = model.generator.random(3)
        shown.add(fingerprint({"flat": engine.flat, "losses": np.array(losses), "after": after}))
    assert len(shown) == 1


def test_one_unit_in_the_last_place_for_one_number_of_threads_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Faulty(CompiledEngine):
        def predict(self, x: Any) -> Any:
            found = super().predict(x)
            found[0, 0] = np.nextafter(found[0, 0], 9) if self.threads == 3 else found[0, 0]
            return found

    monkeypatch.setattr(runs, "CompiledEngine", Faulty)
    assert [len(found) for found in results(1, ["float32"], [1, 2, 3]).values()] == [2]


@pytest.mark.parametrize(
    ("function", "fastmath", "found"),
    [
        (lambda x: x * x + 1, False, []),
        (lambda x: x * x + 1, {"contract"}, ["contract"]),
        (lambda x: math.exp(x), False, ["exp"]),
        (lambda x: math.erf(x), False, ["erf"]),
    ],
)
def test_a_call_of_the_library_and_a_flag_are_seen(function: Any, fastmath: Any, found: list[str]) -> None:
    compiled = njit(["float64(float64)"], fastmath=fastmath)(function)
    assert [name.removeprefix("llvm.").partition(".")[0] for name in foreign(compiled)] == found


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ({"a": np.ones(2), "b": np.zeros(1)}, True),
        ({"b": np.zeros(1), "a": np.ones(2)}, True),
        ({"b": np.zeros(1, ">f8"), "a": np.ones(4)[::2]}, True),
        ({"a": np.ones(2), "c": np.zeros(1)}, False),
        ({"a": np.ones((2, 1)), "b": np.zeros(1)}, False),
        ({"a": np.ones(2), "b": np.zeros(1, int)}, False),
        ({"a": np.ones(2), "b": -np.zeros(1)}, False),
        ({"a": np.nextafter(np.ones(2), 2), "b": np.zeros(1)}, False),
    ],
)
def test_a_fingerprint_is_of_names_types_shapes_and_bits_alone(other: dict[str, Any], same: bool) -> None:
    assert (fingerprint({"a": np.ones(2), "b": np.zeros(1)}) == fingerprint(other)) == same


# ---- sums ------------------------------------------------------------------------------------------


@njit(**OPTIONS)
def in_pieces(lanes: Any, x: Any, size: int) -> float:
    """The sum of x, taken in pieces of that size."""
    total = x.dtype.type(0)
    for start in range(0, len(x), size):
        piece = min(size, len(x) - start)
        total = sums.row_sum(pointer(lanes, 0), pointer(x, start), piece, start > 0)
    return total


def by_hand(x: Any) -> Any:
    """Lane by lane in the order of the row, then half upon half."""
    lanes = np.zeros(16, x.dtype)
    for start in range(0, len(x), 16):
        lanes[: len(x) - start] += x[start : start + 16]
    while len(lanes) > 1:
        lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
    return lanes[0]


@given(
    n=st.integers(1, 100),
    blocks=st.integers(1, 7),
    dtype=st.sampled_from(list(DTYPES)),
    seed=st.integers(0, 99),
)
def test_a_sum_is_taken_in_the_written_order_however_it_is_cut(
    n: int, blocks: int, dtype: str, seed: int
) -> None:
    x = np.random.default_rng(seed).normal(size=n).astype(dtype)
    assert in_pieces(np.zeros(16, dtype), x, 16 * blocks) == by_hand(x)
