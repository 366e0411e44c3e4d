"""A term that a default of 0 switches off is not judged, and that is said."""

import numpy as np
import pytest

from mlp_torch import check_function

R = np.random.default_rng(0)
X, T = R.normal(size=(7, 5)), R.normal(size=(7, 3))
PARAMETERS = {"w": R.normal(size=(5, 3))}


def loss_and_gradients(params, x, y, reg=0.0, seed=0):
    """Half of the penalty's gradient is forgotten."""
    e = x @ params["w"] - y
    return (e**2).sum() + reg * (params["w"] ** 2).sum(), {"w": 2 * x.T @ e + reg * params["w"]}


class Net:
    def __init__(self):
        self.params = PARAMETERS

    def loss(self, x, y, reg=0.0):
        return loss_and_gradients(self.params, x, y, reg)


def said(report) -> list[str]:
    return [note for note in report.notes if "is the default" in note]


@pytest.mark.parametrize("judged", [(loss_and_gradients, PARAMETERS, X, T), (Net(), X, T)])
def test_a_strength_that_stays_at_0_is_named_beside_the_verdict(judged):
    report = check_function(*judged)
    assert report.verdict == "right"
    (note,) = said(report)
    assert note.startswith("note: reg=0.0 is the default: what it multiplies was not judged")


@pytest.mark.parametrize(("more", "keywords"), [((), {"reg": 0.1}), ((0.1,), {})])
def test_one_that_is_given_is_judged_and_not_named(more, keywords):
    report = check_function(loss_and_gradients, PARAMETERS, X, T, *more, **keywords)
    assert report.verdict == "wrong"
    assert said(report) == []
