"""The compiled product: right for any sizes and strides, on any kind of processor, and nowhere else."""

import os
import subprocess
import sys
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from manual.compiled import products
from manual.compiled.memory import OPTIONS, pointer
from manual.numbers import Array
from tests.problems import DTYPES

SIZES = st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 127, 257, 300]))


@njit(**OPTIONS)
def multiply(
    s: Any, s_row: int, s_k: int, v: Any, v_row: int, c: Any, c_row: int, rows: int, columns: int, depth: int
) -> None:  # fmt: skip
    products.product(
        pointer(s, 0), s_row, s_k, pointer(v, 0), v_row, pointer(c, 0), c_row, rows, columns, depth, False
    )


@njit(**OPTIONS)
def transpose(a: Any, a_row: int, b: Any, b_row: int, rows: int, columns: int) -> None:
    products.transpose(pointer(a, 0), a_row, pointer(b, 0), b_row, rows, columns)


def padded(matrix: Array, gap: int, filler: float) -> Array:
    """The matrix's rows, flat, with `gap` numbers behind each."""
    rows = np.full((matrix.shape[0], matrix.shape[1] + gap), filler, matrix.dtype)
    rows[:, : matrix.shape[1]] = matrix
    return rows.reshape(-1)


def product_error(rows: int, columns: int, depth: int, gap: int, transposed: bool, dtype: str) -> float:
    """The largest error in units of what rounding allows; infinite if anything beside C was written."""
    rng = np.random.default_rng(rows * 10**6 + columns * 10**3 + depth)
    s, v = (rng.standard_normal(shape).astype(dtype) for shape in ((rows, depth), (depth, columns)))
    c = padded(np.full((rows, columns), np.nan, dtype), gap, 7)
    flat = padded(s.T if transposed else s, gap, np.nan)
    strides = (1, rows + gap) if transposed else (depth + gap, 1)
    multiply(flat, *strides, padded(v, gap, np.nan), columns + gap, c, columns + gap, rows, columns, depth)
    found = c.reshape(rows, columns + gap)
    wide = (s.astype(np.longdouble), v.astype(np.longdouble))
    # one rounding a product and a sum
    allowed = (depth + 2) * np.finfo(dtype).eps * (abs(wide[0]) @ abs(wide[1]))
    error = abs(found[:, :columns] - wide[0] @ wide[1]) / allowed
    return float(error.max()) if (found[:, columns:] == 7).all() else np.inf


@given(SIZES, SIZES, SIZES, st.integers(0, 5), st.booleans(), st.sampled_from(list(DTYPES)))
def test_a_product_is_right_to_rounding_and_writes_nothing_else(
    rows: int, columns: int, depth: int, gap: int, transposed: bool, dtype: str
) -> None:
    assert product_error(rows, columns, depth, gap, transposed, dtype) <= 1


def test_integers_multiply_exactly() -> None:
    rng = np.random.default_rng(0)
    s, v = rng.integers(-9, 10, (37, 301)).astype(np.float32), rng.integers(-9, 10, (301, 53)).astype("f4")
    c = np.zeros(37 * 53, np.float32)
    multiply(s.reshape(-1), 301, 1, v.reshape(-1), 53, c, 53, 37, 53, 301)
    assert np.array_equal(c.reshape(37, 53), s @ v)


@given(SIZES, SIZES, st.integers(0, 5), st.sampled_from(list(DTYPES)))
def test_a_matrix_is_transposed_exactly_and_nothing_else_is_written(
    rows: int, columns: int, gap: int, dtype: str
) -> None:
    a = np.random.default_rng(0).standard_normal((rows, columns)).astype(dtype)
    b = padded(np.zeros((columns, rows), dtype), gap, 7)
    transpose(padded(a, gap, np.nan), columns + gap, b, rows + gap, rows, columns)
    found = b.reshape(columns, rows + gap)
    assert np.array_equal(found[:, :rows], a.T)
    assert (found[:, rows:] == 7).all()


@pytest.mark.parametrize("fault", ["columns", "rows", "depth"])
def test_the_measure_sees_a_product_of_a_wrong_size(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = multiply

    def wrong(*arguments: Any) -> None:
        *rest, rows, columns, depth = arguments
        right(*rest, rows - (fault == "rows"), columns + (fault == "columns"), depth - (fault == "depth"))

    monkeypatch.setitem(globals(), "multiply", wrong)
    assert not product_error(11, 13, 7, 2, False, "float64") <= 1


PROCESSORS = {
    "sse2": ("x86-64", "+sse2", (16, 6)),
    "avx2": ("haswell", "+avx,+avx2,+fma,+sse4.2,+sse4.1,+popcnt", (32, 6)),
    "avx512": ("skylake-avx512", "+avx,+avx2,+fma,+avx512f,+avx512vl,+avx512dq,+avx512bw", (64, 8)),
}
THERE = """
import sys
from manual.compiled import products
from tests.manual.test_products import DTYPES, product_error
assert (products.VECTOR, products.ROWS) == %s, (products.VECTOR, products.ROWS)
sizes = [(1, 1, 1), (13, 37, 300), (6, 16, 8), (31, 65, 5), (2, 129, 3)]
print(max(product_error(*s, 1, t, dtype) for s in sizes for t in (False, True) for dtype in DTYPES))
"""


@pytest.mark.parametrize("name", PROCESSORS)
def test_a_processor_with_narrower_vectors_gets_its_own_tiles(name: str) -> None:
    processor, features, shape = PROCESSORS[name]
    here = llvm.get_host_cpu_features()
    needed = [feature.removeprefix("+") for feature in features.split(",")]
    if not all(here.get(feature) for feature in needed):
        # what cannot run here is not taken here; the narrowest is for whatever is left, ARM too
        assert shape[0] > products.VECTOR or name == "sse2"
        return
    done = subprocess.run(
        [sys.executable, "-c", THERE % (shape,)],
        env=os.environ | {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= 1
