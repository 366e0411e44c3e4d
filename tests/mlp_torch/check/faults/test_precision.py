"""Gradients in float16 and bfloat16: a name is certain where no other one fits nearly as well."""

import numpy as np
import pytest

from tests.mlp_torch.check.faults.stranger import Stranger, kinds

torch = pytest.importorskip("torch")
HALVES = ["float16", "bfloat16"]


def rounded(found, kind):
    return {name: torch.tensor(value).to(getattr(torch, kind)) for name, value in found.items()}


def likely(report):
    return any("does not tell these names apart" in note for note in report.notes)


LAST = np.eye(7)[:, -1:]
SLIPS = {
    "constant_factor": lambda s, G: {**G, "W2": G["W2"] / 2},
    "sign": lambda s, G: {**G, "W1": -G["W1"]},
    "missing_activation_derivative": lambda s, G: s.back(slope=np.ones_like),
    "wrong_activation_derivative": lambda s, G: s.back(slope=lambda z: 1 - np.tanh(z)),
    "activation_derivative_at_wrong_array": lambda s, G: s.back(slope=lambda z: 1 - np.tanh(np.tanh(z)) ** 2),
    "wrong_bias_reduction": lambda s, G: {**G, "b2": G["b2"] / s.N},
    "transpose": lambda s, G: {**G, "W2": G["W2"].T},
    "swapped_gradients": lambda s, G: {**G, "b1": G["b2"], "b2": G["b1"]},
    "wrong_softmax_jacobian": lambda s, G: s.back(s.top * s.a[-1] * (1 - s.a[-1])),
    "overwritten_gradient": lambda s, G: s.back(s.top * LAST),
}


@pytest.mark.parametrize("kind", HALVES)
@pytest.mark.parametrize("slip", list(SLIPS))
def test_a_slip_in_half_precision_is_named_for_certain(slip, kind):
    s = Stranger((6, 8, 8, 4))
    report = s.check(rounded(SLIPS[slip](s, s.back()), kind))
    assert (report.verdict, {*kinds(report)}, likely(report)) == ("wrong", {slip}, False)


def of_many(n):
    s, r = Stranger((6, 8, 8, 4)), np.random.default_rng(n)
    s.x, s.y, s.N = r.normal(size=(n, 6)), np.eye(4)[r.integers(0, 4, n)], n
    return s.forward()


@pytest.mark.parametrize("kind", HALVES)
def test_constants_further_apart_than_rounding_are_told_apart(kind):
    s = Stranger((6, 8, 8, 4))
    for factor, words in ((7, "times N = 7 ["), (6, "times N − 1 = 6 [")):
        report = s.check(rounded(s.back(s.top * factor), kind))
        assert words in report.message
        assert not likely(report)


def test_constants_within_rounding_are_both_told_as_likely():
    s = of_many(400)
    report = s.check(rounded(s.back(s.top * 399), "bfloat16"))
    assert report.verdict == "scaled"
    assert "times N − 1 = 399 or times N = 400" in report.message
    assert likely(report)


@pytest.mark.parametrize("kind", HALVES)
def test_what_fits_no_name_stays_unexplained(kind):
    s = Stranger((6, 8, 8, 4))
    r = np.random.default_rng(3)
    found = {name: value + 0.3 * r.normal(size=value.shape) for name, value in s.back().items()}
    report = s.check(rounded(found, kind))
    assert (report.verdict, report.faults) == ("wrong", [])
