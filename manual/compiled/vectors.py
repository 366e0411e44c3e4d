"""Instructions on whole vectors, for what the compiler is not to arrange by itself."""

from collections.abc import Sequence
from typing import Any

from numba.core import cgutils

from manual.compiled.memory import features, fused

ir = cgutils.ir
INDEX, SHORT = ir.IntType(64), ir.IntType(32)


def _shape() -> tuple[int, int]:
    """The bytes of a vector, and how many rows of two of them are summed in registers at once."""
    shapes, known = (("+avx512f", 64, 8), ("+avx2", 32, 6)), features().split(",")
    return next(((size, rows) for name, size, rows in shapes if name in known), (16, 6))


VECTOR, ROWS = _shape()


class Vectors:
    """Instructions on vectors of one number type, of this machine's width or of so many lanes."""

    def __init__(self, context: Any, builder: Any, dtype: Any, lanes: int = 0) -> None:
        self.builder, self.size = builder, dtype.bitwidth // 8
        self.lanes = lanes or VECTOR // self.size
        self.kind = ir.VectorType(context.get_value_type(dtype), self.lanes)
        self.mask_kind = ir.VectorType(ir.IntType(1), self.lanes)
        self.zero = ir.Constant(self.kind, [0.0] * self.lanes)
        self.name = f"v{self.lanes}f{dtype.bitwidth}"

    def shuffle(self, a: Any, b: Any, lanes: Sequence[int]) -> Any:
        """Lanes of a, then of b, in that order."""
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(SHORT, len(lanes)), list(lanes)))

    def broadcast(self, number: Any) -> Any:
        """The number in every lane."""
        blank = ir.Constant(ir.VectorType(number.type, self.lanes), ir.Undefined)
        one = self.builder.insert_element(blank, number, ir.Constant(SHORT, 0))
        return self.shuffle(one, blank, [0] * self.lanes)

    def first(self, count: Any) -> Any:
        """The mask of the first `count` lanes."""
        numbers = ir.Constant(ir.VectorType(INDEX, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed("<", numbers, self.broadcast(count))

    def fused(self, a: Any, b: Any, c: Any) -> Any:
        """a b + c."""
        return fused(self.builder, a, b, c, self.name)

    def _masked(self, what: str, result: Any, arguments: Sequence[Any]) -> Any:
        kind = ir.FunctionType(result, [a.type for a in arguments])
        function = cgutils.get_or_insert_function(
            self.builder.module, kind, f"llvm.masked.{what}.{self.name}.p0"
        )
        return self.builder.call(function, arguments)

    def _address(self, place: Any, vector: int) -> Any:
        place = self.builder.gep(place, [ir.Constant(INDEX, vector * self.lanes)])
        return self.builder.bitcast(place, self.kind.as_pointer())

    def load(self, place: Any, vector: int = 0, mask: Any = None) -> Any:
        """A vector from memory; 0 where a mask has no lane."""
        address = self._address(place, vector)
        if mask is None:
            return self.builder.load(address, align=self.size)
        return self._masked("load", self.kind, (address, ir.Constant(SHORT, self.size), mask, self.zero))

    def store(self, value: Any, place: Any, vector: int = 0, mask: Any = None) -> None:
        """A vector to memory; only the lanes of a mask."""
        address = self._address(place, vector)
        if mask is None:
            self.builder.store(value, address, align=self.size)
        else:
            self._masked("store", ir.VoidType(), (value, address, ir.Constant(SHORT, self.size), mask))

    def absolute(self, x: Any) -> Any:
        """|x|."""
        kind = ir.FunctionType(self.kind, [self.kind])
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.fabs.{self.name}")
        return self.builder.call(function, [x])

    def fold(self, x: Any) -> Any:
        """The sum of a vector's numbers: its upper half is added to the lower, until one is left."""
        half = self.lanes // 2
        while half:
            low, high = (self.shuffle(x, x, range(start, start + half)) for start in (0, half))
            x, half = self.builder.fadd(low, high), half // 2
        return self.builder.extract_element(x, ir.Constant(SHORT, 0))
