"""The losses' terms: no sample touches another, however far apart their sizes are, and weights must fit."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manual import LOSSES
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
