"""Who could be on the other side of a kink: the radius of every kink, and the jump that a bound counts in."""

# ---- one stage by itself ---------------------------------------------------------------------------
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from manual import ACTIVATIONS, MLP
from manual.structure.trace import Trace, run
from mlp_torch.verify.certificate import certify
from mlp_torch.verify.kinds.activation.rows import ROWS
from mlp_torch.verify.propagation import propagate
from mlp_torch.verify.report import ComparisonReport
from mlp_torch.verify.rounding import Rounding
from mlp_torch.verify.verdicts import compare_traces
from tests.mlp_torch.verify.edges import SITES, Site, with_value
from tests.mlp_torch.verify.engines import engines
from tests.problems import DTYPES, Problem


def multi_margin_at(margin: float, dtype: Any) -> Trace:
    """dloss of one sample whose margin 1 − ŷ₀ + ŷ₁ is `margin` times the radius of the kink."""
    t = MLP((1, 2), dtype=dtype).trace(np.ones((1, 1), dtype), np.array([0]), "multi_margin")
    radius = 2 * Rounding.of(dtype).gamma(4) * 6
    return with_value(t, "a1", np.array([[3, 2 + margin * radius]]))


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_margin_is_open_up_to_the_radius_that_its_rounding_allows(dtype: str, side: int) -> None:
    near = certify(multi_margin_at(0.9 * side, DTYPES[dtype]), "dloss")["dloss"]
    assert near.units == ((0, 0), (0, 1))
    assert certify(multi_margin_at(1.1 * side, DTYPES[dtype]), "dloss")["dloss"].units == ()


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_hinge_of_a_soft_sign_is_open_up_to_the_radius_that_its_rounding_allows(
    dtype: str, side: int
) -> None:
    t = MLP((1, 1), dtype=DTYPES[dtype]).trace(np.ones((1, 1), dtype), np.array([[0.5]], dtype), "hinge")
    radius = 4 * Rounding.of(DTYPES[dtype]).u * 2  # of 1 − ½ ŷ
    found = [
        certify(with_value(t, "a1", np.array([[2 + 2 * share * side * radius]])), "dloss")["dloss"].units
        for share in (0.75, 1.25)  # floats, above 2 too
    ]
    assert found == [((0, 0),), ()]


# ---- a whole pass ----------------------------------------------------------------------------------

KINKED = [row for row in ROWS if ACTIVATIONS[row].kinks]


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", KINKED)
def test_a_unit_is_at_a_kink_up_to_twice_its_error_from_it(row: str, dtype: str, side: int) -> None:
    t = SITES[f"dz1 {row}"].trace(DTYPES[dtype])
    t = with_value(t, "x", 64 * t["x"])  # an error of many ulps, at softplus's kink of 20 too
    e = propagate(t).errors["z1"]
    for kink in map(float, ACTIVATIONS[row].kinks):
        z = t["z1"].copy()
        z[2, 3], z[4, 5] = kink + 0.9 * side * 2 * e[2, 3], kink + 1.1 * side * 2 * e[4, 5]
        kinks = propagate(with_value(t, "z1", z)).kinks["z1"]
        assert kinks[2, 3]
        assert not kinks[4, 5]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", ["relu", "leaky_relu", "prelu", "selu", "hardtanh"])
def test_a_unit_whose_true_value_is_beyond_the_kink_has_the_jump_in_its_bound(row: str, dtype: str) -> None:
    """z may be its whole error from the kink, and the true z just behind it: f′ is then the other side's."""
    t = SITES[f"dz1 {row}"].trace(DTYPES[dtype])
    e = propagate(t).errors["z1"]
    kink = float(ACTIVATIONS[row].kinks[0])
    z = t["z1"].copy()
    z[2, 3] = kink + 0.9 * e[2, 3]
    bounds = propagate(with_value(t, "z1", z))
    function, slope = ACTIVATIONS[row], [t["slope1"]] if row == "prelu" else []
    sides = [
        function.derivative(v, function.forward(v, *slope), *slope, **function.options)
        for v in (np.array([kink + 1e-3]), np.array([kink - 1e-3]))
    ]
    jump = float(np.abs(sides[0] - sides[1])[0])
    assert jump > 0.01
    assert bounds.errors["dz1"][2, 3] > 0.99 * jump * abs(float(t["da1"][2, 3]))


def loss_at(loss: str, share: float, dtype: Any) -> Trace:
    """A pass whose second output is `share` times the radius of the loss's kink from it."""
    t = Site("dloss", loss, rows=(("activation", "tanh"),)).trace(dtype)
    o, e, r = t["a2"].astype(np.float64), propagate(t).errors["a2"], Rounding.of(dtype)
    y = t["y"]
    if loss == "l1":
        o[2, 1] = y[2, 1] + share * 2 * e[2, 1]
    elif loss == "hinge":
        o[2, 1] = y[2, 1] * (1 + share * (2 * e[2, 1] + 8 * r.u))
    else:
        other = (int(y[2]) + 1) % 5
        size = 1 + abs(o[2, y[2]]) + abs(o[2, y[2]] - 1)
        o[2, other] = o[2, y[2]] - 1 + share * (2 * r.gamma(4) * size + 2 * e[2, other] + 2 * e[2, y[2]])
    return with_value(t, "a2", o)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ["l1", "hinge", "multi_margin"])
def test_an_output_is_at_a_kink_of_the_loss_up_to_twice_its_error_from_it(
    loss: str, dtype: str, side: int
) -> None:
    near, far = (propagate(loss_at(loss, share * side, DTYPES[dtype])).kinks for share in (0.95, 1.05))
    assert near["a2"][2].sum() == 1
    assert "a2" not in far or not far["a2"][2].any()


# ---- two engines on different sides ----------------------------------------------------------------


def at_a_kink(activation: str, dtype: Any) -> tuple[Trace, Trace, ComparisonReport]:
    """z1[0, 0] = (1 + 2⁻ᵖ) − 1 − 2⁻ᵖ in truth; the second engine's rounding pushed it over the kink."""
    eps = float(np.finfo(dtype).eps)
    model = MLP((3, 2, 2), activation=activation, dtype=dtype, seed=1)
    model.parameters["layers.0.weight"] = np.array([[1, 1, 1], [0.3, -0.7, 0.9]], dtype)
    model.parameters["layers.0.bias"] = np.zeros(2, dtype)
    x = np.array([[1 + eps, -1, -eps], [0.4, 0.2, -0.1]], dtype)
    y = np.array([[0.5, -0.25], [1, 2]], dtype)
    ours = model.trace(x, y, "mse")
    z = ours["z1"].copy()
    sides = []
    for sign in (1, -1):
        z = ours["z1"].copy()
        z[0, 0] = sign * eps / 4
        stages = [replace(s, function=lambda *_, z=z: z) if s.name == "z1" else s for s in ours.stages]
        sides.append(run(stages, ours.leaves))
    return *sides, compare_traces(*sides)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "prelu", "selu"])
def test_a_unit_on_different_sides_of_a_kink_is_undecided_with_its_name(activation: str, dtype: str) -> None:
    left, right, report = at_a_kink(activation, DTYPES[dtype])
    assert report.passed
    assert not np.allclose(left["dW1"], right["dW1"], rtol=1e-3)  # a real difference, and no fault
    row = report.parameters["layers.0.weight"]
    assert row.verdict == "undecided"
    assert ("z1", (0, 0)) in row.units
    assert all(unit == ("z1", (0, 0)) for unit in row.units)
    assert report.parameters["layers.1.weight"].verdict in ("certified", "exact")  # it does not pass the kink


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_fault_below_a_kink_is_still_wrong(dtype: str) -> None:
    left, right, _ = at_a_kink("relu", DTYPES[dtype])
    off = Trace(right.stages, right.leaves, {**right.values, "dW1": 2 * right["dW1"]})
    assert compare_traces(left, off).parameters["layers.0.weight"].verdict == "wrong"


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_loss_at_a_kink_is_reported_with_its_entry(dtype: str) -> None:
    """multi_margin: 1 − ŷ_y + ŷⱼ = 0, where either derivative may stand."""
    model = MLP((2, 2), dtype=DTYPES[dtype])
    model.parameters["layers.0.weight"] = np.eye(2, dtype=dtype)
    model.parameters["layers.0.bias"] = np.zeros(2, dtype)
    x, y = np.array([[2, 1], [0.25, 0.5]], dtype), np.array([0, 1])
    report = compare_traces(*engines(model, x, y, "multi_margin"))
    assert report.stages["dloss"].verdict == "undecided"
    units = {index for j in report.stages["dloss"].evidence.values() for index in j.units}
    assert units == {(0, 0), (0, 1)}


def test_a_network_without_a_unit_near_a_kink_reports_none() -> None:
    p = Problem(5, (3, 4, 2), 0)
    report = compare_traces(*engines(p.model(activation="relu"), *p.batch("mse"), "mse"))
    assert [row.units for row in report.parameters.values() if row.units] == []
