"""Who could be on the other side of a kink: the radius of every kink, and the jump that a bound counts in."""

from typing import Any

import numpy as np
import pytest

from manual import ACTIVATIONS, MLP
from manual.structure.trace import Trace
from mlp_torch.verify.certificate import certify
from mlp_torch.verify.propagation import propagate
from mlp_torch.verify.propagation_layers import SHAPES
from mlp_torch.verify.rounding import Rounding
from tests.mlp_torch.verify.edges import SITES, Site, with_value
from tests.problems import DTYPES

# ---- one stage by itself ---------------------------------------------------------------------------


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

KINKED = [row for row in SHAPES if ACTIVATIONS[row].kinks]


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
