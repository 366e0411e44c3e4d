"""The right gradient of another loss: which, with which number, and that its value belongs to it."""

import numpy as np
import pytest

from tests.mlp_torch.check.faults.stranger import Stranger, kinds


def huber(s, delta, over=1.0):
    """(the gradient at the output, the loss)."""
    d = s.a[-1] - s.y
    terms = np.where(abs(d) <= delta, d * d / 2, delta * (abs(d) - delta / 2))
    return np.clip(d, -delta, delta) / over / s.N, terms.sum() / over / s.N


@pytest.mark.parametrize("loss", ["huber", "half_squared_error", "absolute_error"])
@pytest.mark.parametrize("delta", [0.3, 0.5, 1.7])
def test_huber_with_another_delta_is_told_with_its_delta(loss, delta):
    s = Stranger((4, 5, 5, 3), out="identity")
    top, value = huber(s, delta)
    for given in ({}, {"loss_value": value}):
        report = s.check(s.back(top), loss=loss, **given)
        assert (report.verdict, kinds(report)) == ("other_loss", ["loss_mismatch"])
        assert f"huber with delta = {delta:g}" in report.message
        assert ("loss='huber' has delta = 1" in report.message) == (loss == "huber")
    assert "wrong_loss_value" in kinds(s.check(s.back(top), loss=loss, loss_value=2 * value))


@pytest.mark.parametrize("loss", ["huber", "half_squared_error", "absolute_error"])
def test_smooth_l1_is_told_from_huber(loss):
    s = Stranger((4, 5, 5, 3), out="identity")
    report = s.check(s.back(huber(s, 0.5, over=0.5)[0]), loss=loss)
    assert (report.verdict, kinds(report)) == ("other_loss", ["loss_mismatch"])
    assert "smooth L1 with beta = 0.5" in report.message


def test_a_slip_beside_another_delta_is_named_too():
    s = Stranger((4, 5, 5, 3), out="identity")
    found = s.back(huber(s, 0.5)[0])
    report = s.check(found | {"W1": 2 * found["W1"]}, loss="huber")
    assert (report.verdict, kinds(report)) == ("wrong", ["loss_mismatch", "constant_factor"])


def test_a_delta_that_no_layer_below_agrees_with_is_not_told():
    s = Stranger((4, 5, 5, 3), out="identity")
    found, other = s.back(huber(s, 0.5)[0]), s.back(huber(s, 0.6)[0])
    report = s.check(found | {"W1": other["W1"], "b1": other["b1"]}, loss="huber")
    assert report.verdict == "wrong"
    assert kinds(report) != ["loss_mismatch"]
