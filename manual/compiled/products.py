"""The matrix product of the compiled step: register tiles, written for vectors of this machine's width.

C[i, j] = Σₖ S[i, k] V[k, j], where a row of V and of C is contiguous and S has any strides. A tile of C,
some rows by two vectors, stays in registers while k runs; each entry of S is multiplied with both vectors
of V[k] at once. Nothing is packed, so small products cost what their arithmetic costs; large ones are cut
so that what is used again is still in the cache. Every entry of C is one sum in the order of k, each product
fused into it, whatever the sizes around it, the vectors' width and where k is cut: the same bits everywhere.
"""

from collections.abc import Callable
from itertools import chain
from typing import Any

from numba import types
from numba.extending import intrinsic

from manual.compiled.memory import loops
from manual.compiled.vectors import INDEX, ROWS, VECTOR, Vectors, ir

# Entries of k that are summed before C is written, the next ones onto it, and rows of C that use the same
# piece of V.
DEPTH, BLOCK = 256, 64


@intrinsic
def lanes(typing: Any, place: Any) -> Any:
    """How many numbers, of the kind that this address holds, are one vector."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.get_constant(types.int64, VECTOR * 8 // place.dtype.bitwidth)

    return types.int64(place), generate


@intrinsic
def shift(typing: Any, place: Any, count: Any) -> Any:
    """The address that many numbers further on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.gep(arguments[0], [arguments[1]])

    return place(place, types.int64), generate


def tile(rows: int, vectors: int) -> Callable[..., None]:
    """So many rows of C by so many vectors, the last of them up to `columns`; onto C with `add`."""

    @intrinsic
    def tile(
        typing: Any,
        s: Any,
        s_row: Any,
        s_k: Any,
        v: Any,
        v_row: Any,
        c: Any,
        c_row: Any,
        i: Any,
        columns: Any,
        depth: Any,
        add: Any,
    ) -> Any:
        integer = types.int64
        strides = (s, integer, integer, v, integer, c, integer)
        signature = types.void(*strides, integer, integer, integer, types.boolean)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            s, s_row, s_k, v, v_row, c, c_row, i, columns, depth, add = arguments
            V = Vectors(context, builder, signature.args[0].dtype)
            last = vectors - 1

            def row_of(place: Any, stride: Any, row: int) -> Any:
                return builder.gep(place, [builder.mul(stride, builder.add(i, ir.Constant(INDEX, row)))])

            left = V.first(builder.sub(columns, ir.Constant(INDEX, last * V.lanes)))
            masks = [*([None] * last), left]
            factors, places = ([row_of(*m, row) for row in range(rows)] for m in ((s, s_row), (c, c_row)))
            before = builder.block
            onto, body, after = (builder.append_basic_block(name) for name in ("onto", "k", "after"))
            builder.cbranch(add, onto, body)
            builder.position_at_end(onto)
            old = [V.load(place, j, masks[j]) for place in places for j in range(vectors)]
            builder.branch(body)
            builder.position_at_end(body)
            k, zero = builder.phi(INDEX), ir.Constant(INDEX, 0)
            sums = [[builder.phi(V.kind) for _ in range(vectors)] for _ in range(rows)]
            at_k = builder.gep(v, [builder.mul(k, v_row)])
            wide = [V.load(at_k, j, masks[j]) for j in range(vectors)]
            done: list[list[Any]] = []
            for factor, row_sums in zip(factors, sums, strict=True):
                number = V.broadcast(builder.load(builder.gep(factor, [builder.mul(k, s_k)])))
                done.append([V.fused(number, *pair) for pair in zip(wide, row_sums, strict=True)])
            following = builder.add(k, ir.Constant(INDEX, 1))
            for block, number in ((before, zero), (onto, zero), (body, following)):
                k.add_incoming(number, block)
            for total, new, given in zip(chain(*sums), chain(*done), old, strict=True):
                total.add_incoming(V.zero, before)
                total.add_incoming(given, onto)
                total.add_incoming(new, body)
            builder.cbranch(builder.icmp_signed("<", following, depth), body, after)
            builder.position_at_end(after)
            for place, totals in zip(places, done, strict=True):
                for j, total in enumerate(totals):
                    V.store(total, place, j, masks[j])
            return context.get_dummy_value()

        return signature, generate

    made: Callable[..., None] = tile
    return made


def strip(vectors: int) -> Callable[..., None]:
    """All rows of C by so many vectors."""
    most, four, two, one = (tile(rows, vectors) for rows in (ROWS, 4, 2, 1))

    @loops
    def strip(
        s: Any, s_row: int, s_k: int, v: Any, v_row: int, c: Any, c_row: int, rows: int, columns: int,
        depth: int, add: bool,
    ) -> None:  # fmt: skip
        i = 0
        while i + ROWS <= rows:
            most(s, s_row, s_k, v, v_row, c, c_row, i, columns, depth, add)
            i += ROWS
        if i + 4 <= rows:
            four(s, s_row, s_k, v, v_row, c, c_row, i, columns, depth, add)
            i += 4
        if i + 2 <= rows:
            two(s, s_row, s_k, v, v_row, c, c_row, i, columns, depth, add)
            i += 2
        if i < rows:
            one(s, s_row, s_k, v, v_row, c, c_row, i, columns, depth, add)

    made: Callable[..., None] = strip
    return made


one_vector, two_vectors = strip(1), strip(2)


@loops
def product(
    s: Any, s_row: int, s_k: int, v: Any, v_row: int, c: Any, c_row: int, rows: int, columns: int, depth: int,
    onto: bool,
) -> None:  # fmt: skip
    """C = S (rows, depth) V (depth, columns), or C + S V `onto` it; strides in numbers, depth at least 1."""
    width = lanes(c)
    for k in range(0, depth, DEPTH):
        deep, add = min(DEPTH, depth - k), onto or k > 0
        for i in range(0, rows, BLOCK):
            high = min(BLOCK, rows - i)
            factors = shift(s, i * s_row + k * s_k)
            for j in range(0, columns, 2 * width):
                from_, to = shift(v, k * v_row + j), shift(c, i * c_row + j)
                if columns - j > width:
                    wide = min(2 * width, columns - j)
                    two_vectors(factors, s_row, s_k, from_, v_row, to, c_row, high, wide, deep, add)
                else:
                    one_vector(factors, s_row, s_k, from_, v_row, to, c_row, high, columns - j, deep, add)


@intrinsic
def transpose_square(typing: Any, a: Any, a_row: Any, b: Any, b_row: Any) -> Any:
    """B = Aᵀ for as many rows as a vector has lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, a_row, b, b_row = arguments
        V = Vectors(context, builder, signature.args[0].dtype)

        def row_of(place: Any, stride: Any, row: int) -> Any:
            return builder.gep(place, [builder.mul(stride, ir.Constant(INDEX, row))])

        rows = [V.load(row_of(a, a_row, row)) for row in range(V.lanes)]
        step = 1
        while step < V.lanes:  # rows i and i + step exchange the lanes that are in the other's half
            for i in (i for i in range(V.lanes) if not i & step):
                upper, lower = rows[i], rows[i + step]
                one = [k if not k & step else V.lanes + k - step for k in range(V.lanes)]
                two = [k + step if not k & step else V.lanes + k for k in range(V.lanes)]
                rows[i], rows[i + step] = V.shuffle(upper, lower, one), V.shuffle(upper, lower, two)
            step *= 2
        for row, value in enumerate(rows):
            V.store(value, row_of(b, b_row, row))
        return context.get_dummy_value()

    return types.void(a, types.int64, b, types.int64), generate


@loops
def transpose(a: Any, a_row: int, b: Any, b_row: int, rows: int, columns: int) -> None:
    """B (columns, rows) = Aᵀ, A (rows, columns)."""
    width = lanes(a)
    high, wide = rows // width * width, columns // width * width
    for i in range(0, high, width):
        for j in range(0, wide, width):
            transpose_square(shift(a, i * a_row + j), a_row, shift(b, j * b_row + i), b_row)
    for i in range(rows):
        for j in range(wide if i < high else 0, columns):
            b[j * b_row + i] = a[i * a_row + j]
