"""A recording number: the rows run on it as they stand, and what it wrote down computes the same bits."""

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from manual.catalogue import ACTIVATIONS, LOSSES
from manual.numbers import erf, number
from manual.recorded import Formula, Record, Recorded, recorded, walk

ROWS: list[Any] = [*ACTIVATIONS.values(), *LOSSES.values()]
COUPLED = ("softmax", "multi_margin", "cross_entropy")
ELEMENTWISE = [row for row in ROWS if row.name not in COUPLED]
FUNCTIONS: dict[str, Any] = {
    **{"add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv},
    **{"neg": operator.neg, "abs": abs, "min": np.minimum, "max": np.maximum, "erf": erf},
    **{name: getattr(np, name) for name in ("exp", "expm1", "log", "log1p", "tanh", "sqrt")},
    **{name: getattr(operator, name) for name in ("gt", "ge", "lt", "le", "eq", "ne")},
    **{"not": operator.invert, "or": operator.or_, "and": operator.and_, "select": np.where},
}


def evaluated(roots: list[Recorded], given: Mapping[str, Any]) -> list[Any]:
    """The values of a record, by NumPy, in the dtype of what is given."""
    like = next(iter(given.values()))
    found: dict[Recorded, Any] = {}
    for node in walk(roots):
        if node.op == "input":
            found[node] = given[node.value]
        elif node.op == "const":
            found[node] = number(node.value.numerator, like) / number(node.value.denominator, like)
            if node.value.denominator != 1:
                found[node] = number(float(node.value), like)
        elif node.op == "pi":
            found[node] = number(np.pi, like)
        else:
            found[node] = FUNCTIONS[node.op](*(found[a] for a in node.args))
    return [found[root] for root in roots]


def points(row: Any, dtype: Any) -> dict[str, Any]:
    """Where a row is looked at: its inputs by name, kinks and not-a-number among them."""
    generator = np.random.default_rng(7)
    z = np.concatenate([generator.normal(0, 4, 400), [-1, 0, 1, 20, 20.5, -90, 90, np.nan]]).astype(dtype)
    if row.name in LOSSES:
        y = np.where(generator.random(z.shape) < 0.5, *((-1, 1) if row.target == "sign" else (0, 1)))
        return {"output": z, "y": y.astype(dtype)}
    return {"z": z} | ({"slope": z.dtype.type(row.slope)} if row.slope is not None else {})


@pytest.mark.parametrize("row", ELEMENTWISE, ids=lambda row: row.name)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_record_computes_the_bits_of_its_row(row: Any, dtype: Any) -> None:
    formula, given = Formula.of(row), points(row, dtype)
    with np.errstate(all="ignore"):
        value, derivative = evaluated([formula.value, formula.derivative], given)
        options = row.options
        if row.name in LOSSES:
            expected = row.terms(*given.values(), **options), row.derivative(*given.values(), **options)
        else:
            a = row.function(*given.values(), **options)
            z, *slope = given.values()
            expected = a, row.derivative(z, a, *slope, **options)
    for found, right in zip((value, derivative), expected, strict=True):
        np.testing.assert_array_equal(np.broadcast_to(found, right.shape), right)


def test_only_rows_that_couple_entries_cannot_be_recorded() -> None:
    assert [row.name for row in ROWS if recorded(row) is None] == list(COUPLED)


def test_a_value_is_recorded_once() -> None:
    z = Record().input("z")
    assert z * z + np.exp(z) is z * z + np.exp(z)
    silu = Formula.of(ACTIVATIONS["silu"])
    assert sum(node.op == "exp" for node in walk([silu.value, silu.derivative])) == 1


def test_arguments_come_before_what_is_made_of_them() -> None:
    for row in ELEMENTWISE:
        formula, seen = Formula.of(row), set[Recorded]()
        for node in walk([formula.value, formula.derivative]):
            assert node not in seen
            assert seen.issuperset(node.args)
            assert all(a.index < node.index for a in node.args)
            seen.add(node)


def test_what_is_known_is_not_walked() -> None:
    z = Record().input("z")
    s = np.exp(z)
    assert list(walk(s * s, [s])) == [s * s]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda z: z if z > 0 else 0,
        lambda z: z.sum(),
        lambda z: np.sin(z),
        lambda z: np.sum(z),
        lambda z: np.add(z, z, out=np.zeros(1)),
        lambda z: z**0.5,
        lambda z: z**-1,
    ],
)
def test_what_cannot_be_recorded_says_so(wrong: Any) -> None:
    with pytest.raises((TypeError, AttributeError)):
        wrong(Record().input("z"))


def test_a_comparison_with_equals_is_recorded_and_not_answered() -> None:
    z = Record().input("z")
    assert (z == 0).op == "eq"
    assert (z != 0).op == "ne"
    chosen: Any = np.where(z == 0, 1, z)  # type: ignore[call-overload]  # of an array, NumPy says
    assert chosen.op == "select"


def test_a_marked_function_is_one_operation_where_it_is_opaque() -> None:
    silu = Formula.of(ACTIVATIONS["silu"], opaque=["sigmoid"])
    assert silu.value.args[1].op == "sigmoid"
    assert Formula.of(ACTIVATIONS["silu"]).value.args[1].op == "div"
    assert Formula.of(ACTIVATIONS["sigmoid"], opaque=["sigmoid"]).value.op == "div"


def test_options_are_constants_or_inputs() -> None:
    row = ACTIVATIONS["leaky_relu"]
    assert set(Formula.of(row).inputs) == {"z"}
    assert set(Formula.of(row, given=["negative_slope"]).inputs) == {"z", "negative_slope"}
