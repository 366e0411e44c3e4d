"""Constants have their name, a cut has its limit in all arrays, one number proves neither."""

import numpy as np
import pytest

from mlp_torch import Penalty
from tests.mlp_torch.check.faults.stranger import Stranger, kinds, named


def norm(v):
    return float(np.linalg.norm(v))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("W1", 1 / 4, "divided by 4"),
        ("W2", 7 / 5, "times N/5 (N over the inputs of W2)"),
        ("W2", 5 / 7, "divided by N/5 (N over the inputs of W2)"),
        ("W1", 28, "times N·D = 28"),
        ("W3", 1 / 15, "divided by 15 (the entries of W3)"),
        ("W3", 5 / 3, "times 5/3 (the inputs over the outputs of W3)"),
        ("W3", 21, "times N·K = 21"),
        ("W1", 0.636, "times 0.636"),
    ],
)
def test_a_constant_below_1_is_no_clipping_and_sizes_have_names(name, value, words):
    s = Stranger()
    found = s.back()
    report = s.check(found | {name: found[name] * value})
    assert (kinds(report), report.alternatives) == (["constant_factor"], [])
    assert f"d{name} is the true one {words}, dW" in report.message


def test_arrays_cut_to_one_length_are_clipped():
    s = Stranger()
    found = s.back(s.top * 7)
    report = s.check({n: g * min(1, 1.2345678 / norm(g)) for n, g in found.items()}, reduction="sum")
    assert named(report) == {"clipping"}


@pytest.mark.parametrize(("limit", "kind"), [(2.75, "clipping"), (2.7537191234, "constant_factor")])
def test_one_array_alone_is_cut_where_its_length_is_a_round_number(limit, kind):
    s = Stranger(seed=1)
    found = s.back(s.top * 7)  # W2 alone is longer
    report = s.check(found | {"W2": found["W2"] * limit / norm(found["W2"])}, reduction="sum")
    assert (kinds(report), report.faults[0].arrays) == ([kind], ("W2",))


def test_all_cut_by_one_factor_are_clipped_where_their_length_is_round():
    s = Stranger()
    found = s.back()
    total = np.sqrt(sum(norm(g) ** 2 for g in found.values()))
    report = s.check({n: g * 0.5 / total for n, g in found.items()})
    assert (kinds(report)[0], report.verdict) == ("clipping", "wrong")
    assert named(s.check({n: g * 0.636 for n, g in found.items()})) == {"constant_factor"}


def test_entries_cut_at_one_limit_are_clipped_and_one_wrong_entry_is_not():
    s = Stranger()
    found = s.back()
    report = s.check({n: np.clip(g, -0.0789012345, 0.0789012345) for n, g in found.items()})
    assert kinds(report) == ["clipping"]
    one = found["W2"].copy()
    largest = np.unravel_index(np.abs(one).argmax(), one.shape)
    one[largest] *= np.sort(np.abs(one).ravel())[-2] / np.abs(one[largest]) * 1.0123456789
    assert "clipping" not in named(s.check(found | {"W2": one}))


@pytest.mark.parametrize("value", [2, 0.813])
def test_one_wrong_number_proves_no_constant(value):
    s = Stranger((4, 5, 1), "sigmoid")
    found = s.back()
    report = s.check(found | {"b2": found["b2"] * value})
    assert report.verdict == "wrong"
    assert f"db2 is off by a factor of {value:g}: one number proves no constant" in report.message


def test_a_bias_of_one_entry_follows_the_factor_of_its_weight():
    s = Stranger((4, 5, 1), "sigmoid")
    found = s.back()
    report = s.check(found | {n: found[n] * 0.813 for n in ("W2", "b2")})
    assert (kinds(report), report.faults[0].arrays) == (["constant_factor"], ("W2", "b2"))


@pytest.mark.parametrize("outputs", [1, 2])
def test_one_lambda_on_everything_is_one_fault(outputs):
    s = Stranger((4, 5, outputs), "sigmoid")
    found = {n: g + 0.1 * s.parameters[n] for n, g in s.back().items()}
    report = s.check(found)
    assert kinds(report) == ["wrong_regulariser"]
    assert "every gradient is right for a penalty of 0.05·Σθ²: l2=Penalty(0.1, on_biases=True)" in str(report)
    assert kinds(s.check(found, l2=Penalty(0.1))) == ["wrong_regulariser"]


def test_two_lambdas_are_no_one_penalty():
    s = Stranger()
    found = s.back()
    found = {
        n: g + (0.1 if n == "W1" else 0.3) * s.parameters[n] for n, g in found.items() if n[0] == "W"
    } | {n: g for n, g in found.items() if n[0] == "b"}
    assert "described" not in s.check(found).message


@pytest.mark.parametrize("mean", [1, 7, 21])
def test_a_spare_average_beside_a_missing_upstream_is_no_second_fault(mean):
    s = Stranger(out="identity")
    found = s.back(np.ones_like(s.top))
    for reduction in ("sum", "mean_over_samples", "mean_over_all"):
        report = s.check({n: g / mean for n, g in found.items()}, reduction=reduction)
        assert kinds(report) == ["not_multiplied_by_upstream"]
    s = Stranger((4, 5, 3))
    found = s.back()
    dz1 = 1 - s.a[1] ** 2
    report = s.check(found | {"W1": s.x.T @ dz1 / mean, "b1": dz1.sum(axis=0) / mean})
    assert kinds(report) == ["not_multiplied_by_upstream"]


@pytest.mark.parametrize("mean", [1, 7])
@pytest.mark.parametrize("out", ["softmax", "sigmoid"])
def test_a_bias_summed_over_everything_is_named_also_where_the_sum_is_0(out, mean):
    s = Stranger(out=out)
    found = s.back(s.top * 7)
    found = {n: g / 7 for n, g in found.items()}
    wrong = {f"b{i}": np.sum(s.dz[i]) / 7 for i in (1, 2, 3)}
    for names in (["b3"], ["b1", "b2", "b3"]):
        report = s.check(found | {n: wrong[n] for n in names})
        assert kinds(report) == ["wrong_bias_reduction"]
        assert report.faults[0].arrays == tuple(reversed(names))
