"""What the compiled rooms stand on: how they are compiled, fused products, arrays inside one buffer.

Everything of a step lies in a few flat arrays that are made once. `at` is a piece of one, without the
reference counts of a slice.
"""

from typing import Any

import llvmlite.binding as llvm
from numba import carray, njit, types
from numba.core import cgutils, config
from numba.extending import intrinsic

# No flag lets the compiler reorder a sum or fuse a product into it, as the width of the processor's vectors
# would decide how: each operation is IEEE's, and what is fused is written so.
OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True, "no_rewrites": True}
# For what other compiled functions call. No code is made for calls from Python: such a call ends the process.
loops = njit(**OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def features() -> str:
    """What the processor that is compiled for can do, in LLVM's words."""
    asked: str | None = config.CPU_FEATURES
    return llvm.get_host_cpu_features().flatten() if asked is None else asked


# Every 64-bit ARM can fuse, and every x86-64 with AVX2 but for a few of one maker.
FUSES = "+fma" in features().split(",") or llvm.get_process_triple().startswith(("aarch64", "arm64"))


def fused(builder: Any, a: Any, b: Any, c: Any, name: str) -> Any:
    """a b + c of numbers or vectors, rounded once where the processor can; `name` is the type's in LLVM."""
    if not FUSES:
        return builder.fadd(builder.fmul(a, b), c)
    kind = cgutils.ir.FunctionType(a.type, [a.type] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.{name}"), (a, b, c))


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once where the processor can."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, y, z = arguments
        return fused(builder, x, y, z, f"f{a.bitwidth}")

    return a(a, a, a), generate


@intrinsic
def root(typing: Any, x: Any) -> Any:
    """√x, rounded once: the processor's own, where a library's root might be put in the place of C's."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = cgutils.ir.FunctionType(arguments[0].type, [arguments[0].type])
        name = f"llvm.sqrt.f{x.bitwidth}"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)

    return x(x), generate


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


@loops
def unowned(array: Any) -> Any:
    """The array as one that owns nothing: who hands it on counts no references, an atomic addition each."""
    return carray(pointer(array, 0), array.shape)
