"""Bounds that follow from a row's formulas hold for every engine, are not loose, and see a small fault."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flint import arb
from hypothesis import given
from hypothesis import strategies as st

from manual import ACTIVATIONS, LOSSES
from manual.numbers import Array
from manual.recorded import Formula, Recorded, walk
from manual.recorded.record import Record
from manual.structure.trace import Trace
from mlp_torch.model import to_torch
from mlp_torch.steps import hand_written
from mlp_torch.trace import trace
from mlp_torch.verify.certificate import certify
from mlp_torch.verify.derived import running, spellings
from mlp_torch.verify.derived.jets import ways
from mlp_torch.verify.derived.running import Value, errors
from mlp_torch.verify.derived.shapes import shape_of, variation
from mlp_torch.verify.derived.spellings import differentiated, errors_of
from mlp_torch.verify.enclosure import proven
from mlp_torch.verify.kinds.activation.errors import Point
from mlp_torch.verify.kinds.activation.rows import ROWS
from mlp_torch.verify.kinds.activation.stages import true_values
from mlp_torch.verify.kinds.loss.entries import ROWS as LOSS_ROWS
from mlp_torch.verify.kinds.loss.entries import true_terms
from mlp_torch.verify.propagation import propagate
from mlp_torch.verify.rounding import Rounding
from mlp_torch.verify.truth import FUNCTIONS, TERMS
from tests.mlp_torch.verify.edges import with_value
from tests.problems import DTYPES, Problem

SMOOTH = ("sigmoid", "tanh", "silu", "gelu", "gelu_tanh", "elu", "selu", "softplus", "mish")
SLOPED = ("leaky_relu", "prelu")  # their truths take a slope
Z = np.concatenate([np.random.default_rng(0).normal(0, s, 200) for s in (1e-3, 0.3, 2, 10, 40)])
ENGINES = ("manual", "buffered", "torch")


@pytest.fixture
def _without_bounds_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in ROWS if name not in SLOPED]:
        monkeypatch.delitem(ROWS, name)
    for name in list(LOSS_ROWS):
        monkeypatch.delitem(LOSS_ROWS, name)


def traces(activation: str, loss: str, dtype: Any, seed: int, names: Any = ENGINES) -> dict[str, Trace]:
    """One network by each engine, its pre-activations from tiny to saturated."""
    p = Problem(11, (3, 7, 2), seed)
    model, rng = p.model(dtype, activation=activation), p.generator()
    for layer in (0, 1):
        model.parameters[f"layers.{layer}.weight"] *= dtype(10.0 ** rng.uniform(-2, 1.5))
    x, y = p.batch(loss, dtype)
    module = to_torch(model)
    found = {"autograd": trace(module, x, y, loss)}
    return found | {name: hand_written(name, module, loss)(x, y) for name in names}


def largest(found: dict[str, Trace], stages: tuple[str, ...]) -> float:
    """The largest error of these stages by its bound, over the engines; all must be certified."""
    judged = [certify(t, stage)[stage] for t in found.values() for stage in stages]
    assert [j for j in judged if j.verdict not in ("exact", "certified")] == []
    return max(j.ratio for j in judged)


# ---- they hold, for every spelling that an engine uses ---------------------------------------------


@pytest.mark.usefixtures("_without_bounds_by_hand")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", [name for name in FUNCTIONS if name not in SLOPED])
def test_every_engine_of_an_activation_is_within_the_derived_bound(row: str, dtype: str) -> None:
    assert max(largest(traces(row, "mse", DTYPES[dtype], s), ("a1", "dz1")) for s in range(4)) < 1


@pytest.mark.usefixtures("_without_bounds_by_hand")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", TERMS)
def test_every_engine_of_a_loss_is_within_the_derived_bound(loss: str, dtype: str) -> None:
    found = (traces("tanh", loss, DTYPES[dtype], s) for s in range(4))
    assert max(largest(t, ("loss", "dloss")) for t in found) < 1


@pytest.mark.long
@pytest.mark.usefixtures("_without_bounds_by_hand")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", SMOOTH)
def test_compiled_kernels_are_within_the_derived_bound(row: str, dtype: str) -> None:
    pytest.importorskip("numba")
    for seed in range(20):
        assert largest(traces(row, "mse", DTYPES[dtype], seed, ("compiled",)), ("a1", "dz1")) < 1


@given(st.lists(st.floats(-200, 200, width=32), min_size=1, max_size=20), st.sampled_from(SMOOTH))
def test_a_row_as_it_is_written_is_within_its_derived_bound(z: list[float], row: str) -> None:
    for dtype in DTYPES.values():
        points = np.array(z, dtype)
        with np.errstate(all="ignore"):
            f = ACTIVATIONS[row].forward(points)
            d = ACTIVATIONS[row].derivative(points, f, **ACTIVATIONS[row].options)
            bounds = errors_of(ACTIVATIONS[row])({"z": points.astype(np.float64)}, Rounding.of(dtype))
        with proven():
            truths = true_values(row, points.astype(np.float64))
        for value, truth, bound in zip((f, d), truths, bounds, strict=True):
            assert (truth.distance(value)[0] <= bound).all()


@pytest.mark.usefixtures("_without_bounds_by_hand")
@pytest.mark.parametrize("loss", ["mse", "hinge", "huber"])
def test_the_global_bound_of_derived_rows_holds_what_two_engines_differ_in(loss: str) -> None:
    for seed in range(6):
        found = traces("mish", loss, np.float32, seed, ("manual",))
        ours, theirs = found["manual"], found["autograd"]
        bounds = [propagate(t).errors for t in (ours, theirs)]
        for stage in ours:
            gap = np.abs(np.asarray(ours[stage.name], np.float64) - theirs[stage.name])
            assert (gap <= bounds[0][stage.name] + bounds[1][stage.name]).all()
            assert np.isfinite(bounds[0][stage.name]).all()


# ---- they are tight --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", [name for name in SMOOTH if name in ROWS])
def test_a_derived_bound_is_in_the_median_at_most_three_times_that_by_hand(row: str, dtype: str) -> None:
    r = Rounding.of(DTYPES[dtype])
    with proven():
        f, d = true_values(row, Z)
    with np.errstate(all="ignore"):
        hand = ROWS[row].errors(Point(Z, f.hi, d.hi, r))
        derived = errors_of(ACTIVATIONS[row])({"z": Z}, r)
    for ours, theirs in zip(derived, hand, strict=True):
        assert np.median(ours / theirs) <= 3


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stage", ["a1", "dz1"])
def test_a_fault_of_a_thousandth_in_one_entry_is_wrong(stage: str, dtype: str) -> None:
    for t in traces("mish", "mse", DTYPES[dtype], 1).values():
        off = t[stage].copy()
        index = np.unravel_index(np.argmax(np.abs(off)), off.shape)
        off[index] *= 1.001
        assert certify(with_value(t, stage, off), stage)[stage].verdict == "wrong"


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_fault_of_a_thousandth_in_one_entry_of_a_derived_loss_is_wrong(dtype: str) -> None:
    t = traces("tanh", "huber", DTYPES[dtype], 1)["manual"]
    off = t["dloss"].copy()
    off[0, 0] *= 1.001
    assert certify(with_value(t, "dloss", off), "dloss")["dloss"].verdict == "wrong"


# ---- shapes: sup |f′|, sup |f″|, jumps -------------------------------------------------------------


@pytest.mark.parametrize("row", [name for name in FUNCTIONS if name in ROWS and name not in SLOPED])
def test_the_shape_found_in_the_truth_is_that_by_hand_and_a_little_more(row: str) -> None:
    found, hand = shape_of(FUNCTIONS[row], ACTIVATIONS[row].kinks, 20), ROWS[row].shape
    assert hand is not None
    for part in ("slope", "curvature", "jump", "value_jump"):
        ours, theirs = getattr(found, part), getattr(hand, part)
        assert theirs * 0.98 <= ours + 1e-12
        assert ours <= theirs * 1.03 + 1e-12, part


def test_a_bound_of_f_and_its_slopes_holds_to_the_end_of_float64() -> None:
    assert shape_of(FUNCTIONS["mish"], (), 1023).slope < 1.12


def test_both_ways_are_gone_where_a_ball_does_not_settle_a_choice() -> None:
    with proven():
        found = ways(FUNCTIONS["relu"], arb(0, 1e-3))
    assert sorted(float(d.mid()) for _, d, _ in found) == [0.0, 1.0]


def test_a_loss_at_an_edge_moves_by_its_jump_unless_no_unit_changes_sides() -> None:
    output, y, e = np.array([[1.0, 3.0]]), np.zeros((1, 2)), np.full((1, 2), 1e-9)
    moved, near = variation(TERMS["l1"], 0 * output + [[0.0, 3.0]], y, e, True)
    assert moved.tolist() == [[pytest.approx(1.0), 0.0]]  # at 0 the derivative is 0, beside it ±1
    assert near.tolist() == [[True, False]]
    smooth, _ = variation(TERMS["hinge"], output, np.ones((1, 2)), e, False)
    assert smooth.tolist() == [[0.0, 0.0]]


# ---- the algebra of derivatives --------------------------------------------------------------------


def strays(root: Recorded, inputs: dict[Recorded, Array], truth: Array) -> bool:
    """Whether a record, evaluated in float64, is further from the truth than its own bound says."""
    r, found = Rounding.of(np.float64), {node: Value(v, np.zeros_like(v)) for node, v in inputs.items()}
    with np.errstate(all="ignore"):
        for node in walk(root, list(found)):
            found[node] = running._step(node, found, r)
        (bound,) = errors([root], inputs, r)
    return bool((np.abs(found[root].v - truth) > bound + 2**-50 * np.abs(truth)).any())


@pytest.mark.parametrize("row", SMOOTH)
def test_the_algebraic_derivative_is_the_true_one(row: str) -> None:
    f = Formula.of(ACTIVATIONS[row])
    d = differentiated(f.value, f.inputs["z"])
    assert d is not None
    with proven():
        truth = true_values(row, Z)[1].hi
    assert not strays(d, {f.inputs["z"]: Z}, truth)
    assert strays(d, {f.inputs["z"]: Z}, truth * (1 + 1e-9))


@pytest.mark.parametrize("loss", TERMS)
def test_the_algebraic_derivative_of_a_loss_is_the_true_one(loss: str) -> None:
    f, y = Formula.of(LOSSES[loss]), np.where(np.arange(len(Z)) % 2 == 0, 1.0, -1.0)
    d = differentiated(f.value, f.inputs["output"])
    assert d is not None
    with proven():
        truth = true_terms(loss, Z, y, LOSSES[loss].options)[1].hi
    assert not strays(d, {f.inputs["output"]: Z, f.inputs["y"]: y}, truth)


def test_a_formula_with_an_operation_of_unknown_slope_has_no_algebraic_derivative() -> None:
    f = Formula.of(ACTIVATIONS["silu"], opaque=("sigmoid",))
    assert differentiated(f.value, f.inputs["z"]) is None


# ---- each check fails on a planted fault -----------------------------------------------------------


def recorded(formula: Callable[[Recorded], Any]) -> tuple[Recorded, Recorded]:
    record = Record()
    z = record.input("z")
    return record.constant(formula(z)), z


def test_a_cancellation_is_bounded_by_what_cancels() -> None:
    root, z = recorded(lambda z: (z + 1) - 1)
    r = Rounding.of(np.float32)
    (bound,) = errors([root], {z: np.array([1e-9])}, r)
    assert r.u <= bound[0] <= 4 * r.u


def test_a_quotient_by_what_may_be_0_claims_nothing() -> None:
    root, z = recorded(lambda z: 1 / ((z + 1) - 1))
    (bound,) = errors([root], {z: np.array([1e-9, 1.0])}, Rounding.of(np.float32))
    assert np.isinf(bound).tolist() == [True, False]


def test_what_overflows_in_the_judged_arithmetic_claims_nothing() -> None:
    root, z = recorded(lambda z: z * z / z)
    (bound,) = errors([root], {z: np.array([1e30, 1.0])}, Rounding.of(np.float32))
    assert np.isinf(bound).tolist() == [True, False]


def test_a_choice_in_doubt_may_be_either() -> None:
    root, z = recorded(lambda z: np.where(z + 1 > 2, z * 0, z * 0 + 5))
    (bound,) = errors([root], {z: np.array([1.0, 2.0])}, Rounding.of(np.float32))
    assert bound[0] > 5 > 1 > bound[1]


def test_bounds_of_an_eighth_would_be_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spellings, "UNSEEN", 0.25)
    broken, z = 0, Z.astype(np.float32)
    for row in (ACTIVATIONS[name] for name in SMOOTH):
        _, bound = errors_of(row)({"z": z.astype(np.float64)}, Rounding.of(np.float32))
        d = row.derivative(z, row.forward(z), **row.options)
        with proven():
            truth = true_values(row.name, z.astype(np.float64))[1]
        broken += bool((truth.distance(d)[0] > bound).any())
    assert broken >= 4
