"""One pass of the compiled engine has the stages of the plain one: every row, kinks, what is not finite."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manual import ACTIVATIONS, LOSSES, MLP
from tests.manual.pairs import pair, rows
from tests.problems import DTYPES, Problem, disagreements, near_kink, problems, targets


@pytest.mark.parametrize("loss", [*LOSSES, "cross_entropy of probabilities"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_stage_of_a_pass_is_that_of_the_plain_network(activation: str, loss: str) -> None:
    for seed, (dtype, dropout, reduction, output) in enumerate(
        [("float64", 0.4, "mean", activation), ("float32", 0.0, "sum", "identity")]
    ):
        p = Problem(7, (5, 3, 11, 2), seed)
        model = p.model(DTYPES[dtype], activation=activation, output_activation=output, dropout=dropout)
        row = loss.split()[0]
        x, y = p.batch(row, DTYPES[dtype], probabilities=loss != row)
        masks = model.draw_masks(len(x))
        plain = model.trace(x, y, row, masks=masks, reduction=reduction)
        ours = pair(model, row)[1].trace(x, y, masks, reduction=reduction)
        assert near_kink(plain) or disagreements(plain, ours) == {}


@given(
    p=problems(hidden=3),
    **rows,
    loss=st.sampled_from(list(LOSSES)),
    dtype=st.sampled_from(list(DTYPES)),
    threads=st.integers(1, 3),
)
def test_random_networks_have_the_stages_of_the_plain_network(
    p: Problem, loss: str, dtype: str, threads: int, **options: Any
) -> None:
    model = p.model(DTYPES[dtype], **options)
    x, y = p.batch(loss, DTYPES[dtype])
    masks = model.draw_masks(len(x))
    plain = model.trace(x, y, loss, masks=masks)
    ours = pair(model, loss, threads=threads)[1].trace(x, y, masks)
    assert near_kink(plain) or disagreements(plain, ours) == {}


def test_a_stage_that_is_off_by_1e_9_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    p = Problem(7, (5, 3, 2), 0)
    model = p.model(activation="tanh")
    x, y = p.batch("mse")
    plain, ours = model.trace(x, y, "mse"), pair(model, "mse")[1].trace(x, y)
    ours.values["dz1"] = ours["dz1"] * (1 + 1e-9)
    assert list(disagreements(plain, ours)) == ["dz1"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_kinks_and_values_that_are_not_finite_are_treated_as_in_the_plain_formulas(
    activation: str, dtype: str
) -> None:
    """z is the input itself: 0, the kinks, what overflows in the exponential, infinities and NaN."""
    values = [0.0, -0.0, 1, -1, 20, 20.5, -20, 1e-30, -300.0, 300.0, np.inf, -np.inf, np.nan]
    model = MLP((1, 1, 1), activation=activation, dtype=DTYPES[dtype])
    model.parameters["layers.0.weight"] = np.ones((1, 1), dtype)
    model.parameters["layers.0.bias"] = np.zeros(1, dtype)
    with np.errstate(all="ignore"):
        for value in values:
            x, y = np.array([[value]], dtype), np.zeros((1, 1), dtype)
            plain, ours = model.trace(x, y, "l1"), pair(model, "l1")[1].trace(x, y)
            for name in ("a1", "dz1"):
                assert ours[name] == pytest.approx(plain[name], rel=1e-5, abs=1e-37, nan_ok=True), (
                    name,
                    value,
                )


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_at_its_kink_or_of_what_is_not_finite_is_that_of_the_plain_formula(loss: str) -> None:
    outputs = [[0, 0, 0], [1, 0, 1], [2, 1, 1], [-1, 0, 2], [np.nan, 0, 1], [np.inf, 0, 0], [200, -200, 0]]
    model = MLP((3, 3))
    model.parameters["layers.0.weight"], model.parameters["layers.0.bias"] = np.eye(3), np.zeros(3)
    y = targets(loss, (1, 3), np.random.default_rng(0), np.float64)
    plain, ours = pair(model, loss)
    with np.errstate(all="ignore"):
        for z in outputs:
            by_formula = LOSSES[loss].value(np.array([z]), y), LOSSES[loss].gradient(np.array([z]), y)
            w = ours.trace(np.array([z]), y)
            if np.isfinite(z).all():  # else 0 · ∞ has made everything NaN before it reaches the loss
                assert w["loss"] == pytest.approx(by_formula[0], rel=1e-12)
                assert w["dloss"] == pytest.approx(by_formula[1], rel=1e-12, abs=1e-300)
            assert np.isfinite(w["loss"]) == np.isfinite(plain.model.trace(np.array([z]), y, loss)["loss"])


@given(
    size=st.sampled_from([0.0, 1e3, 1e6, 1e7]),
    probabilities=st.booleans(),
    dtype=st.sampled_from(list(DTYPES)),
    threads=st.integers(1, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_cross_entropy_keeps_its_digits_at_large_logits(
    size: float, probabilities: bool, dtype: str, threads: int, seed: int
) -> None:
    """Logits of one size that differ by little: the differences are exact, so no digit is lost."""
    rng = np.random.default_rng(seed)
    z = (size + rng.integers(-16, 17, (23, 5)) / 8 * (4 if size == 1e7 else 1)).astype(dtype)
    y = targets("cross_entropy", z.shape, rng, z.dtype, probabilities)
    model = MLP((5, 5), dtype=z.dtype)
    model.parameters["layers.0.weight"] = np.eye(5, dtype=dtype)
    model.parameters["layers.0.bias"] = np.zeros(5, dtype)
    found = pair(model, "cross_entropy", threads=threads)[1].trace(z, y)
    assert np.array_equal(found["z1"], z)
    wide = z.astype(np.float64)
    near = wide - wide.max(axis=1, keepdims=True)
    log_softmax = near - np.log(np.exp(near).sum(axis=1, keepdims=True))
    chances = y if probabilities else np.eye(5)[y]
    # two elementary functions of 4 ulp, a sum of 5, and as many operations as a term has; all terms positive
    allowed = 30 * float(np.finfo(dtype).eps)
    assert found["loss"] == pytest.approx(-(chances * log_softmax).sum() / 23, rel=allowed, abs=0)
    gradient = (np.exp(log_softmax) * chances.sum(axis=1, keepdims=True) - chances) / 23
    assert found["dloss"] == pytest.approx(gradient, rel=allowed, abs=allowed / 23)
