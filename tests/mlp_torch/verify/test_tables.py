"""What every table of the instrument must hold, and what it may leave out; and shapes that are bounds."""

import numpy as np
import pytest
from flint import arb

from manual import ACTIVATIONS, LOSSES, MLP
from manual.structure.architecture import NORMALIZATIONS
from manual.training.recipe import Recipe
from mlp_torch.verify.derived.shapes import shape_of
from mlp_torch.verify.kinds import ENTRIES, RULES, STEPS
from mlp_torch.verify.kinds.activation.rows import ROWS
from mlp_torch.verify.kinds.loss.entries import ROWS as LOSS_ROWS
from mlp_torch.verify.truth import FUNCTIONS, TERMS
from tests.mlp_torch.verify.test_truth import ELEMENTWISE, SLOPE, constants


def kinds() -> set[str]:
    """Every kind of stage that manual can produce."""
    found = set()
    for activation in ("prelu", "softmax"):
        for normalization in NORMALIZATIONS:
            for training in (True, False):
                model = MLP((2, 3, 2), activation=activation, normalization=normalization, dropout=0.5)
                model.training = training
                found |= {stage.kind for stage in model.stages("mse", recipe=Recipe(l2=0.1))}
    return found


NORMALIZING = ("batch_norm", "layer_norm")
PER_SAMPLE = {name for name, row in LOSSES.items() if row.per_sample}
REQUIRED = {
    "kinds.RULES": (set(RULES), kinds()),
    "kinds.STEPS": (set(STEPS), kinds()),
    "kinds.ENTRIES": (
        set(ENTRIES),
        {k for k in kinds() if not k.startswith(NORMALIZING)} - {"jacobian_product"},
    ),
}
OPTIONAL = {
    "truth.FUNCTIONS": (set(FUNCTIONS), set(ELEMENTWISE)),
    "truth.TERMS": (set(TERMS), set(LOSSES) - PER_SAMPLE),
    "activation.rows.ROWS": (set(ROWS), set(FUNCTIONS)),
    "loss.entries.ROWS": (set(LOSS_ROWS), set(TERMS)),
}


@pytest.mark.parametrize("table", REQUIRED)
def test_a_table_of_kinds_has_exactly_those_that_manual_can_produce(table: str) -> None:
    ours, needed = REQUIRED[table]
    assert ours == needed


@pytest.mark.parametrize("table", OPTIONAL)
def test_no_table_has_a_row_that_nobody_asks_for(table: str) -> None:
    """What a table lacks is said by `missing.missing_rows`, and by the certificate."""
    ours, possible = OPTIONAL[table]
    assert ours <= possible


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_slope_curvature_and_jump_of_a_row_are_upper_bounds(name: str) -> None:
    shape = shape_of(FUNCTIONS[name], ACTIVATIONS[name].kinks, 5) if name not in ROWS else ROWS[name].shape
    z = np.linspace(-30, 30, 120001)
    row = ACTIVATIONS[name]
    slope = [np.array([0.25])] if row.slope is not None else []
    d = row.derivative(z, row.forward(z, *slope), *slope, **row.options)
    away = np.ones(len(z) - 1, dtype=bool)
    for kink in row.kinks:
        crossing = (z[:-1] <= kink + 1e-9) & (z[1:] >= kink - 1e-9)
        away &= ~crossing
        sides = [float(FUNCTIONS[name](arb(kink) + s, *constants(name))[1]) for s in (-1e-9, 0, 1e-9)]
        jump = max(sides) - min(sides)
        allowed = 1 - SLOPE[name] if name in SLOPE else shape.jump  # 1 − slope: see `_shape`
        assert jump <= allowed * (1 + 1e-3) + 1e-9
    assert np.abs(d).max() <= shape.slope
    assert np.abs(np.diff(d) / np.diff(z))[away].max() <= shape.curvature + 1e-9
