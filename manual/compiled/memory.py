"""What the compiled rooms stand on: how they are compiled, arrays inside one buffer, matrix products.

Everything of a step lies in a few flat arrays that are made once. `at` is a piece of one, without the
reference counts of a slice; `product` hands such pieces to SciPy's BLAS.
"""

from typing import Any

from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic

# Sums may be taken in any order and products fused into them; NaN and infinity stay what they are.
FASTMATH = {"contract", "reassoc", "nsz"}
loops = njit(fastmath=FASTMATH, error_model="numpy", nogil=True)
strict = njit(fastmath={"contract"}, error_model="numpy", nogil=True)

BLAS = {
    "float32": get_cython_function_address("scipy.linalg.cython_blas", "sgemm"),
    "float64": get_cython_function_address("scipy.linalg.cython_blas", "dgemm"),
}


@intrinsic
def pointer(typing: Any, array: Any, offset: Any) -> Any:
    """The address of a flat array's entry."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.gep(data, [arguments[1]])

    return types.CPointer(array.dtype)(array, types.int64), generate


@loops
def at(array: Any, offset: int, size: int) -> Any:
    """The entries offset … offset + size − 1 of a flat array, as an array that owns nothing."""
    return carray(pointer(array, offset), size)


@intrinsic
def gemm(
    typing: Any,
    blas: Any,
    a_transposed: Any,
    b_transposed: Any,
    m: Any,
    n: Any,
    k: Any,
    a: Any,
    lda: Any,
    b: Any,
    ldb: Any,
    c: Any,
    ldc: Any,
) -> Any:
    """C ← A B by the BLAS routine at the address `blas`; columns are contiguous, as BLAS has it."""
    numbers = [types.int64] * 6
    signature = types.void(*numbers, a, types.int64, b, types.int64, c, types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        ir = cgutils.ir
        address, ta, tb, m, n, k, a, lda, b, ldb, c, ldc = arguments

        def stored(value: Any) -> Any:
            return cgutils.alloca_once_value(builder, value)

        def integer(value: Any) -> Any:
            return stored(builder.trunc(value, ir.IntType(32)))

        def letter(transposed: Any) -> Any:
            return stored(builder.trunc(transposed, ir.IntType(8)))

        number = context.get_value_type(signature.args[6].dtype)
        one, zero = (stored(ir.Constant(number, value)) for value in (1.0, 0.0))
        passed = [letter(ta), letter(tb), integer(m), integer(n), integer(k), one]
        passed += [a, integer(lda), b, integer(ldb), zero, c, integer(ldc)]
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in passed])
        builder.call(builder.inttoptr(address, kind.as_pointer()), passed)
        return context.get_dummy_value()

    return signature, generate
