"""No bound has grown: one that is wider than it was forgives what it was made to find, and no plant tells.

What is planted at 1.5 times a bound moves with it; these numbers do not.
"""

import numpy as np
import pytest

from mlp_torch.verify.kinds.activation.rows import ROWS
from mlp_torch.verify.kinds.loss.entries import ROWS as LOSS_ROWS
from mlp_torch.verify.propagation import propagate
from mlp_torch.verify.rounding import Rounding
from mlp_torch.verify.truth import FUNCTIONS, TERMS
from tests.mlp_torch.verify.edges import SITES, local
from tests.problems import norm, scales, terms

# ‖bound‖ at most: the local one in units of u ‖terms‖, the global one, which carries all before it, in
# units of u and what rounding there is measured against (`problems.scales`). Measured, and a tenth more.
WIDTHS: dict[str, tuple[int, int]] = {
    "z1 tanh": (5, 5),
    "z2 tanh": (10, 13),
    "dW1 tanh": (15, 40),
    "dW2 tanh": (15, 29),
    "db1 tanh": (14, 41),
    "db2 tanh": (14, 23),
    "da1 tanh": (7, 15),
    "dx tanh": (9, 26),
    "a1 identity": (0, 4),
    "dz1 identity": (0, 14),
    "a1 sigmoid": (23, 16),
    "dz1 sigmoid": (28, 21),
    "a1 tanh": (10, 7),
    "dz1 tanh": (14, 15),
    "a1 relu": (0, 4),
    "dz1 relu": (0, 11),
    "a1 leaky_relu": (3, 4),
    "dz1 leaky_relu": (3, 12),
    "a1 prelu": (2, 4),
    "dz1 prelu": (2, 15),
    "a1 elu": (12, 8),
    "dz1 elu": (13, 20),
    "a1 selu": (16, 10),
    "dz1 selu": (18, 24),
    "a1 gelu": (15, 9),
    "dz1 gelu": (24, 20),
    "a1 gelu_tanh": (14, 8),
    "dz1 gelu_tanh": (43, 24),
    "a1 silu": (25, 13),
    "dz1 silu": (49, 27),
    "a1 mish": (24, 12),
    "dz1 mish": (68, 33),
    "a1 softplus": (23, 14),
    "dz1 softplus": (24, 25),
    "a1 hardtanh": (0, 4),
    "dz1 hardtanh": (0, 13),
    "a2 softmax": (89, 55),
    "dz2 softmax": (8, 121),
    "dslope1 prelu": (102, 110),
    "loss half_squared_error": (88, 84),
    "dloss half_squared_error": (10, 10),
    "loss mse": (82, 80),
    "dloss mse": (10, 10),
    "loss l1": (80, 95),
    "dloss l1": (9, 9),
    "loss smooth_l1": (87, 86),
    "dloss smooth_l1": (11, 14),
    "loss huber": (84, 83),
    "dloss huber": (8, 8),
    "loss hinge": (86, 85),
    "dloss hinge": (13, 9),
    "loss multi_margin": (102, 306),
    "dloss multi_margin": (13, 37),
    "loss bce_with_logits": (105, 90),
    "dloss bce_with_logits": (162, 104),
    "loss cross_entropy": (111, 1086),
    "dloss cross_entropy": (64, 57),
    "loss cross_entropy probabilities": (111, 320),
    "dloss cross_entropy probabilities": (171, 71),
    "h1 tanh 0.3": (2, 6),
    "da1 tanh 0.3": (2, 15),
    "n1 tanh batch_norm": (103, 54),
    "dgamma1 tanh batch_norm": (529, 221),
    "dbeta1 tanh batch_norm": (14, 143),
    "dz1 tanh batch_norm": (281, 261),
    "n1 tanh batch_norm evaluation": (26, 15),
    "dgamma1 tanh batch_norm evaluation": (155, 132),
    "dbeta1 tanh batch_norm evaluation": (14, 77),
    "dz1 tanh batch_norm evaluation": (19, 32),
    "n1 tanh layer_norm": (75, 43),
    "dgamma1 tanh layer_norm": (291, 175),
    "dbeta1 tanh layer_norm": (14, 111),
    "dz1 tanh layer_norm": (198, 211),
}


DERIVED = {*FUNCTIONS, *TERMS} - {*ROWS, *LOSS_ROWS}  # rows whose bounds follow from their formulas


def widths(name: str) -> tuple[float, float]:
    """How wide the two bounds of a site are in float64, in units of u of what they round."""
    t = SITES[name].trace(np.float64)
    stage = t.stage(SITES[name].stage)
    u, size = Rounding.of(np.float64).u, np.shape(t[stage.name])
    values = {n: np.asarray(v) for n, v in t.values.items()}
    narrow = norm(np.broadcast_to(local(t, stage.name).bound, size)) / norm(terms(stage, values))
    wide = norm(propagate(t).errors[stage.name]) / scales(t)[stage.name]
    return narrow / u, wide / u


def test_every_bound_by_hand_has_its_width() -> None:
    by_hand = {name for name, site in SITES.items() if not {site.loss, *dict(site.rows).values()} & DERIVED}
    assert set(WIDTHS) >= by_hand


@pytest.mark.parametrize("name", WIDTHS)
def test_no_bound_is_wider_than_it_was(name: str) -> None:
    narrow, wide = widths(name)
    assert narrow <= WIDTHS[name][0]
    assert wide <= WIDTHS[name][1]
