"""The losses' rows: no sample touches another at any size, weights must fit, options are what they say."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manual import LOSSES
from manual.losses import Loss
from manual.structure.table import with_options
from tests.problems import targets

CASES = [(name, False) for name in LOSSES] + [("cross_entropy", True)]


@pytest.mark.parametrize(("loss", "probabilities"), CASES)
@given(decades=st.lists(st.integers(0, 18), min_size=2, max_size=5), seed=st.integers(0, 2**32 - 1))
def test_no_sample_touches_another_at_any_size(
    loss: str, probabilities: bool, decades: list[int], seed: int
) -> None:
    rng, row = np.random.default_rng(seed), LOSSES[loss]
    output = rng.normal(size=(len(decades), 3)) * 10.0 ** np.array(decades)[:, None]
    y = targets(loss, output.shape, rng, float, probabilities)
    terms, derivative = (partial(f, **row.options) for f in (row.terms, row.derivative))
    whole, slopes = terms(output, y), derivative(output, y)
    assert np.isfinite(whole).all()
    for i in range(len(output)):
        alone = output[i : i + 1], y[i : i + 1]
        np.testing.assert_allclose(whole[i], terms(*alone)[0], rtol=1e-13)
        np.testing.assert_allclose(slopes[i], derivative(*alone)[0], rtol=1e-13)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", [(4,), (5, 1), (1,)])
def test_weights_that_are_not_one_a_sample_are_refused_with_both_shapes(
    loss: str, shape: tuple[int, ...]
) -> None:
    output = np.ones((5, 3))
    y = targets(loss, output.shape, np.random.default_rng(0), float)
    for run in (LOSSES[loss].value, LOSSES[loss].gradient):
        with pytest.raises(ValueError, match=r"one a sample, shape \(5,\), is needed$") as caught:
            run(output, y, "mean", np.ones(shape))
        assert str(caught.value).startswith(f"{loss}: the weights have shape {shape}; ")


@given(delta=st.floats(1e-3, 1e3), seed=st.integers(0, 2**32 - 1))
def test_huber_is_torchs_at_any_delta_and_at_its_kink(delta: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(5, 3))
    output = y + delta * rng.normal(0, 2, y.shape)
    output[0], y[0] = (delta, -delta, 0), 0
    tensor = torch.from_numpy(output).requires_grad_()
    theirs = torch.nn.functional.huber_loss(tensor, torch.from_numpy(y), delta=delta)
    theirs.backward()
    row = LOSSES[f"huber(delta={delta!r})"]
    assert row.value(output, y) == pytest.approx(theirs.item(), rel=1e-13)
    np.testing.assert_allclose(row.gradient(output, y), tensor.grad, rtol=1e-13)


def mine() -> Loss:
    return replace(LOSSES["mse"], name="mine", options={"a": "1", "b": "2"})


@pytest.mark.parametrize("value", ["3", "1", "0.25", "1e-3"])
def test_an_option_takes_the_place_of_its_own_and_of_no_other(value: str) -> None:
    row = mine()
    assert with_options(row, {"b": value}) == replace(row, options={"a": "1", "b": value})
    assert row == mine()


@pytest.mark.parametrize("value", ["0", "-1", "inf", "nan", "much"])
def test_an_option_that_is_no_finite_number_above_0_is_refused(value: str) -> None:
    says = f"^mine\\(b={value}\\): b is a finite number above 0$"
    with pytest.raises(ValueError, match=says):
        with_options(mine(), {"b": value})


def test_an_option_that_a_row_lacks_is_refused_with_those_it_has() -> None:
    with pytest.raises(ValueError, match=r"^mine has no option 'c': it takes a, b$"):
        with_options(mine(), {"c": "1"})
    with pytest.raises(ValueError, match=r"^mse has no option 'delta': it takes none$"):
        with_options(LOSSES["mse"], {"delta": "1"})


@pytest.mark.parametrize("loss", ["cross_entropy", "multi_margin"])
def test_a_loss_whose_labels_do_not_fit_is_named(loss: str) -> None:
    with pytest.raises(ValueError, match=f"^{loss}: "):
        LOSSES[loss].value(np.ones((2, 3)), np.array([0, 3]))
