"""Steps 1 to 6: every number against closed forms, and the eight slips of the lecture."""

from itertools import pairwise

import numpy as np
import pytest

from mlp_torch.lecture import chain, losses, perceptrons, smallest
from mlp_torch.lecture.steps import STEPS
from tests.mlp_torch.lecture.opened import slips, tables

# ---- the slips ---------------------------------------------------------------------------------------


@pytest.mark.long
def test_all_eight_slips_are_stated_where_they_belong():
    found = {s.name: [slip.says for slip in slips(s.name)] for s in STEPS}
    assert {name: len(says) for name, says in found.items() if says} == {
        "forward": 1, "smallest": 3, "second": 1, "chain": 1, "descent": 2,
    }  # fmt: skip
    assert "exp(-a)" in found["forward"][0]
    assert found["smallest"][0] == "for n = 1 … N: w = w + (yₙ − ŷ) xₙ;"
    assert found["second"] == ["Lᵢ = ½ (yᵢ − ŷ)"]
    assert "−η (y − ŷ)" in found["chain"][0]
    assert found["descent"] == ["Same convergence guarantees and complexity!", "θ ← θ + η ∂L/∂θ"]


# ---- 1 to 6 ------------------------------------------------------------------------------------------


def test_the_sigmoids_table_shows_the_overflow_and_the_lost_derivative():
    rows = {r["a"]: r for r in perceptrons.sigmoid_table()}
    assert [rows[a]["warns"] for a in (-1000, -30, 40)] == ["overflow", "no", "no"]
    assert rows[-1000]["slide"] == rows[-1000]["f"] == 0
    assert rows[40]["product"] == 0 < rows[40]["derivative"]
    assert perceptrons.first_flat(np.float32) == 17  # 2^−24 > e^−17
    assert perceptrons.first_flat(np.float64) == 37  # 2^−53 > e^−37


def test_the_lectures_network_counts_6_20_26():
    cells = {row[0]: row[-1] for row in tables("counting")[0].rows}
    assert list(cells.values()) == ["6", "20", "26"]
    assert sum(int(row[-1]) for row in tables("counting")[1].rows) == 26


def test_the_smallest_step_shows_the_exact_iterates():
    m = smallest.measure_smallest()
    assert [float(w) for w in m.two_passes[1:5]] == [101, -299.2, 3377.9, 1.1]
    assert [row[-1] for row in tables("smallest")[0].rows][:3] == ["101", "-299.2", "3377.9"]
    assert m.factors == [-99, -3, -11.25, 0]
    assert abs(m.descent[-1] - 117.8 / 117.25) < 1e-9
    assert all(b == 1 - x * x / 100 for x, b in zip((10, 2), (0, 0.96), strict=True))
    distances = [abs(w - m.best) for w in smallest.in_tens()]
    assert max(distances[4:]) < 0.1


def test_l2_finds_the_mean_l1_the_median_and_the_hinge_loss_decides_right():
    m = losses.measure_losses()
    assert m.constants["mse"] == pytest.approx(22, abs=1e-6)
    assert m.constants["l1"] == pytest.approx(3, abs=1e-3)
    assert m.wrong["hinge"] == 0 < m.wrong["mse"]


def test_the_linear_fit_by_l2_is_the_closed_form_and_by_l1_no_worse_than_any_line_through_two_samples():
    x, y = losses.SIDES, np.where(losses.SIDES > 0, 1.0, -1.0)
    design = np.hstack([x, np.ones_like(x)])
    best = np.linalg.lstsq(design, y, rcond=None)[0][:, 0]
    model = losses.fitted(x, y, "mse", 2e-3, 4000)
    ours = [model.parameters[f"layers.0.{kind}"].item() for kind in ("weight", "bias")]
    np.testing.assert_allclose(ours, best, atol=1e-3)
    lines = [np.linalg.solve(design[[i, j]], y[[i, j]]) for i in range(6) for j in range(i)]
    least = min(float(np.abs(design @ line - y).mean()) for line in lines)
    l1 = losses.fitted(x, y, "l1", 2e-2, 4000).predict(x)
    assert float(np.abs(l1 - y).mean()) <= least + 1e-2


def test_two_weights_have_two_derivatives_and_find_the_line():
    m = smallest.measure_second()
    assert m.by_hand == m.by_difference == (-1.0, 0.5)
    np.testing.assert_allclose(m.path[-1], smallest.TRUE, atol=0.02)
    assert all(b < a for a, b in pairwise(m.losses))
    assert m.slide_loss == [0.25, -0.375, -1.0, -1.625]  # each step takes η |½x|² = 0.625


def test_every_factor_by_hand_is_autograds_number():
    m = chain.measure_chain()
    assert (m.reused, m.total) == (12, 22)
    for name, rows in m.rows.items():
        for row in rows:
            assert row.factor.value == pytest.approx(row.autograd, rel=1e-14)
        assert chain.gradient([r.factor for r in rows]) == pytest.approx(m.autograd[name], rel=1e-14)
    shown = tables("chain")[1].rows
    assert [row[-1] for row in shown] == ["new", "new", "new", ""]
    assert shown[-1][2] == shown[-1][3] == "-0.021926502"
