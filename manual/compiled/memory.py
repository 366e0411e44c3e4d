"""What the compiled rooms stand on: how they are compiled, and arrays inside one buffer.

Everything of a step lies in a few flat arrays that are made once. `at` is a piece of one, without the
reference counts of a slice.
"""

from typing import Any

from numba import carray, njit, types
from numba.extending import intrinsic

# Sums may be taken in any order and products fused into them; NaN and infinity stay what they are.
FASTMATH = {"contract", "reassoc", "nsz"}
loops = njit(fastmath=FASTMATH, error_model="numpy", nogil=True)
strict = njit(fastmath={"contract"}, error_model="numpy", nogil=True)


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
