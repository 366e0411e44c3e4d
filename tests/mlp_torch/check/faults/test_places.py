"""Arrays from the wrong place: the parameter, another layer's delta or output, another array's gradient."""

import itertools

import numpy as np
import pytest

from mlp_torch import check_gradients, check_step
from tests.mlp_torch.check.faults.stranger import Stranger, kinds, softmax


@pytest.mark.parametrize("names", [("W1",), ("b3",), ("W2", "b2"), ("W1", "b1", "W2", "b2", "W3", "b3")])
def test_a_parameter_returned_for_its_gradient_is_one_fault(names):
    s = Stranger()
    report = s.check(s.back() | {n: s.parameters[n].copy() for n in names})
    assert kinds(report) == ["parameter_returned"]
    assert set(report.faults[0].arrays) == set(names)


def test_a_parameter_after_its_step_is_no_gradient_either():
    s = Stranger()
    found = s.back()
    wrong = {n: s.parameters[n] - 0.3 * found[n] for n in ("W1", "W2", "b2")}
    for options in ({}, {"lr": 0.3}):
        report = s.check(found | wrong, **options)
        assert (kinds(report), set(report.faults[0].arrays)) == (["parameter_returned"], set(wrong))
        assert "after their step, θ − 0.3·dθ" in report.message


SQUARE = (5, 5, 5, 5)


@pytest.mark.parametrize("pairs", [["W1 W2"], ["b1 b3"], ["W1 W3", "b1 b3"], ["W1 W2", "W2 W3"]])
def test_gradients_in_another_order_are_swapped(pairs):
    s = Stranger(SQUARE)
    found = s.back()
    for pair in pairs:
        a, b = pair.split()
        found[a], found[b] = found[b], found[a]
    report = s.check(found)
    assert kinds(report) == ["swapped_gradients"]
    assert set(report.faults[0].arrays) == set(" ".join(pairs).split())


def test_swapped_gradients_of_other_shapes_and_a_fault_beside_them():
    s = Stranger((4, 5, 6, 3))
    found = s.back()
    report = s.check(found | {"b1": found["b2"], "b2": found["b1"]})
    assert kinds(report) == ["swapped_gradients"]
    report = s.check(found | {"b1": found["b2"], "b2": found["b1"], "W1": 2 * found["W1"]})
    assert kinds(report) == ["swapped_gradients", "constant_factor"]


def test_one_gradient_copied_to_another_is_not_called_swapped():
    s = Stranger(SQUARE)
    found = s.back()
    assert "swapped_gradients" not in kinds(s.check(found | {"W1": found["W2"]}))


@pytest.mark.parametrize(("layer", "other"), list(itertools.permutations((1, 2, 3), 2)))
def test_the_delta_of_another_layer_is_named(layer, other):
    s = Stranger(SQUARE, out="identity")
    found = s.back()
    dz = s.dz[other]
    wrong = {f"W{layer}": s.a[layer - 1].T @ dz, f"b{layer}": dz.sum(axis=0)}
    for names in itertools.chain(([n] for n in wrong), [wrong]):
        report = s.check(found | {n: wrong[n] for n in names})
        assert (kinds(report), set(report.faults[0].arrays)) == (["wrong_layer"], set(names))
        assert f"dz{other}" in report.message


@pytest.mark.parametrize("sizes", [SQUARE, (4, 5, 6, 3)])
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_the_layers_own_output_for_its_input_is_named(sizes, layer):
    s = Stranger(sizes)
    found = s.back()
    report = s.check(found | {f"W{layer}": s.a[layer].T @ s.dz[layer]})
    assert kinds(report) == ["wrong_layer"]
    assert f"made with a{layer}" in report.message


def steps(slip):
    """(network, before, after) of a step; `slip(g, last)` is what the author took for the gradient."""
    s = Stranger()
    found = s.back()
    last = {n: s.random.normal(size=g.shape) for n, g in found.items()}
    return s, last, {n: s.parameters[n] - 0.1 * slip(g, last[n]) for n, g in found.items()}


@pytest.mark.parametrize(
    ("slip", "words"),
    [
        (lambda g, last: g + 0.9 * last, "momentum, μ = 0.9"),
        (lambda g, last: 0.1 * (g + 0.9 * last), "momentum as a running mean, μ = 0.9"),
        (lambda g, last: g + 0.9 * (g + 0.9 * last), "Nesterov's momentum, μ = 0.9"),
    ],
)
def test_a_step_with_momentum_is_told_by_the_gradient_before(slip, words):
    s, last, after = steps(slip)
    report = check_step(s.parameters, after, 0.1, s.x, s.y, previous=last, **s.options())
    assert kinds(report) == ["momentum"]
    assert words in report.message
    report = check_step(s.parameters, after, 0.1, s.x, s.y, **s.options())
    assert (kinds(report), report.verdict) == ([], "wrong")
    assert "previous=" in report.message


def test_what_the_call_before_left_is_stale_and_no_momentum():
    s = Stranger()
    found = s.back()
    last = {n: s.random.normal(size=g.shape) for n, g in found.items()}
    report = check_gradients(
        s.parameters, {n: g + last[n] for n, g in found.items()}, s.x, s.y, previous=last, **s.options()
    )
    assert kinds(report) == ["stale_gradient"]


def test_softmax_over_the_samples_is_said_of_the_forward_pass_unless_its_output_is_known():
    s = Stranger()
    found = s.back((softmax(s.z[3], axis=0) - s.y) / s.N)
    report = s.check(found)
    assert [kinds(report)[0], report.alternatives[0][0].kind] == [
        "forward_mismatch", "wrong_softmax_jacobian",
    ]  # fmt: skip
    report = s.check(found, output=s.a[3])
    assert (kinds(report), report.alternatives) == (["wrong_softmax_jacobian"], [])
    assert np.isfinite(report.arrays["W1"].ratio)


def turned(found, *names):
    return found | {names[0]: found[names[1]], names[1]: found[names[0]]}


@pytest.mark.parametrize("names", [("W2", "W3"), ("b1", "b2"), ("b2", "b3")])
@pytest.mark.parametrize(
    ("top", "slope", "others"),
    [
        (7, None, {"constant_factor"}),
        (-1, None, {"sign"}),
        (1, lambda z: 1.0, {"missing_activation_derivative"}),
    ],
)
def test_exchanged_gradients_are_found_beside_another_mistake(names, top, slope, others):
    s = Stranger((4, 5, 5, 5, 3))
    options = {} if slope is None else {"slope": slope}
    report = s.check(turned(s.back(s.top * top, **options), *names))
    assert report.verdict == "wrong"
    assert set(kinds(report)) == {"swapped_gradients", *others}
    found = next(f for f in report.faults if f.kind == "swapped_gradients")
    assert set(found.arrays) == set(names)
