"""Sums that come out the same whatever the processor: which numbers meet when is written down.

Number i of a row is added in lane i mod `LANES`; then the lanes are folded, the upper half onto the lower,
until one is left. A row may come in pieces that start at a multiple of `LANES`: the lanes wait in memory.
"""

from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import intrinsic

from manual.compiled.vectors import INDEX, Vectors, ir

LANES = 16


def sums(term: Callable[[Any, Any], Any], wide: bool) -> Callable[..., Any]:
    """Σ term(x) over a row, in its numbers' type or with `wide` in float64."""

    @intrinsic
    def total(typing: Any, lanes: Any, place: Any, count: Any, onto: Any) -> Any:
        """The sum of `count` numbers, and with `onto` of what the lanes hold, which hold it from then on."""
        result = types.float64 if wide else place.dtype

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            lanes, place, count, onto = arguments
            row, acc = (Vectors(context, builder, kind, LANES) for kind in (place_type.dtype, result))
            zero, step = ir.Constant(INDEX, 0), ir.Constant(INDEX, LANES)
            before = builder.block
            names = "onto", "start", "chunk", "after"
            waiting, start, body, after = (builder.append_basic_block(name) for name in names)
            builder.cbranch(onto, waiting, start)
            builder.position_at_end(waiting)
            held = acc.load(lanes)
            builder.branch(start)
            builder.position_at_end(start)
            begin = builder.phi(acc.kind)
            begin.add_incoming(acc.zero, before)
            begin.add_incoming(held, waiting)
            builder.cbranch(builder.icmp_signed(">", count, zero), body, after)
            builder.position_at_end(body)
            i, so_far = builder.phi(INDEX), builder.phi(acc.kind)
            left = row.first(builder.sub(count, i))
            numbers = row.load(builder.gep(place, [i]), mask=left)
            if result is not place_type.dtype:
                numbers = builder.fpext(numbers, acc.kind)
            new = builder.fadd(so_far, term(acc, numbers))
            following = builder.add(i, step)
            for phi, first, then in ((i, zero, following), (so_far, begin, new)):
                phi.add_incoming(first, start)
                phi.add_incoming(then, body)
            builder.cbranch(builder.icmp_signed("<", following, count), body, after)
            builder.position_at_end(after)
            found = builder.phi(acc.kind)
            found.add_incoming(begin, start)
            found.add_incoming(new, body)
            acc.store(found, lanes)
            return acc.fold(found)

        place_type = place
        integer = types.int64
        return result(types.CPointer(result), place, integer, types.boolean), generate

    made: Callable[..., Any] = total
    return made


row_sum = sums(lambda vectors, x: x, wide=False)
sum_of_absolutes = sums(lambda vectors, x: vectors.absolute(x), wide=True)
sum_of_squares = sums(lambda vectors, x: vectors.builder.fmul(x, x), wide=True)
