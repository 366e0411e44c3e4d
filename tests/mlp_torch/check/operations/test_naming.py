"""A fault is named where its hypothesis reproduces the author's arrays, and not otherwise."""

import pytest
import torch
from torch.nn import functional

from mlp_torch import check_autograd_function
from tests.mlp_torch.check.operations.kernels import X, draw, kernel

EPS = 1e-5


def product(change):
    """x * y with its two gradients handed to `change`."""

    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return change(g * y, g * x)

    return kernel(forward, backward)


PAIR = [X, draw(5, 7, number=2)]


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (lambda a, b: (b, a), "swapped_gradients", "come in swapped order"),
        (lambda a, b: (b, b), "swapped_gradients", "is the gradient of input1"),
        (lambda a, b: (-a, b), "sign", "has the opposite sign"),
        (lambda a, b: (2 * a, b), "constant_factor", "is twice the true one"),
        (lambda a, b: (a / 2, b), "constant_factor", "is half the true one"),
        (lambda a, b: (a / 5, b), "constant_factor", "divided by 5, the length of axis 0 of input0"),
        (lambda a, b: (a * 7, b), "constant_factor", "times 7, the length of axis 1 of input0"),
        (lambda a, b: (a * 0.3, b), "constant_factor", "is the true one times 0.3"),
        (lambda a, b: (a * (1 + 1e-8), b), "constant_factor", "is the true one times 1 + 1e-08"),
        (lambda a, b: (0 * a, b), "zero_gradient", "is all zero"),
        (lambda a, b: (a + float("nan") * (X > 2), b), "not_finite", "is NaN at [0, 0] (35 of 35 entries)"),
        (lambda a, b: (a / 0, b), "not_finite", "is infinite"),
        (lambda a, b: (a.sum().expand(5, 7), b), "wrong_bias_reduction", "is the sum over all axes"),
    ],
)
def test_what_two_arrays_show(change, kind, words):
    report = check_autograd_function(product(change), torch.mul, PAIR)
    assert [f.kind for f in report.faults] == [kind], str(report)
    assert words in report.message, str(report)
    assert "wrong" not in report.message


def test_both_gradients_times_one_constant_are_scaled_and_said_once():
    report = check_autograd_function(product(lambda a, b: (5 * a, 5 * b)), torch.mul, PAIR)
    assert report.verdict == "scaled"
    assert report.message.count("times 5") == 1
    assert report.message.startswith("input0 and input1: are the true one")


def test_square_matrices_transposed_are_named():
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w.T, g.T @ x

    report = check_autograd_function(
        kernel(forward, backward), torch.matmul, [draw(3, 3), draw(3, 3, number=2)]
    )
    assert [(f.kind, f.arrays) for f in report.faults] == [("transpose", ("input1",))], str(report)


def test_one_number_proves_a_constant_only_if_it_holds_elsewhere():
    def forward(ctx, x, b):
        ctx.save_for_backward(x, b)
        return x * b * b

    def backward(wrong):
        def run(ctx, g):
            x, b = ctx.saved_tensors
            return g * b * b, (g * x).sum() * wrong(b)

        return run

    given = [X, torch.tensor(1.5, dtype=torch.float64)]
    reference = lambda x, b: x * b * b  # noqa: E731
    factor = check_autograd_function(kernel(forward, backward(lambda b: 6 * b)), reference, given)
    assert "times 3" in factor.message, str(factor)
    other = check_autograd_function(kernel(forward, backward(lambda b: b)), reference, given)
    assert "half" in other.message, str(other)
    square = check_autograd_function(kernel(forward, backward(lambda b: 3 * b**2)), reference, given)
    assert square.message.startswith("unexplained: input1"), str(square)


def normalised(function):
    def forward(ctx, x, gamma):
        away = x - x.mean(-1, keepdim=True)
        s = torch.rsqrt((away**2).mean(-1, keepdim=True) + EPS)
        ctx.save_for_backward(away * s, s, gamma)
        return away * s * gamma

    def backward(ctx, g):
        hat, s, gamma = ctx.saved_tensors
        return function(g, hat, s, gamma), (g * hat).sum(0)

    return kernel(forward, backward)


def mean(v, axis=-1):
    return v.mean(axis, keepdim=True)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda g, h, s, w: s * (g * w - h * mean(g * w * h)), "lacks the path through the mean"),
        (lambda g, h, s, w: s * (g * w - mean(g * w)), "lacks the path through the variance"),
        (lambda g, h, s, w: s * g * w, "lacks the paths through the mean and the variance"),
        (
            lambda g, h, s, w: s * (g * w - mean(g * w, 0) - h * mean(g * w * h)),
            "takes the mean of the upstream over axis 0",
        ),
        (
            lambda g, h, s, w: s * (g * w - mean(g * w, 0) - h * mean(g * w * h, 0)),
            "takes both means over axis 0",
        ),
        (lambda g, h, s, w: s * (g - mean(g) - h * mean(g * h)), "leaves out input1"),
        (
            lambda g, h, s, w: s * (g * w - mean(g) - h * mean(g * w * h)),
            "leaves out input1 on the path through the mean",
        ),
        (
            lambda g, h, s, w: s * (g * w - mean(g * w) - h * mean(g * w * h) * 7 / 6),
            "divides by N − 1 where N belongs",
        ),
    ],
)
def test_a_slip_of_layer_norm_is_named(function, words):
    reference = lambda x, w: functional.layer_norm(x, (7,), w, eps=EPS)  # noqa: E731
    report = check_autograd_function(normalised(function), reference, [X, draw(7)])
    assert [f.kind for f in report.faults] == ["wrong_normalization_backward"], str(report)
    assert words in report.message, str(report)


def test_a_mean_path_that_is_another_number_has_no_name():
    function = normalised(lambda g, h, s, w: s * (g * w - 0.7 * mean(g * w) - h * mean(g * w * h)))
    reference = lambda x, w: functional.layer_norm(x, (7,), w, eps=EPS)  # noqa: E731
    report = check_autograd_function(function, reference, [X, draw(7)])
    assert report.message.startswith("unexplained: input0"), str(report)
    assert not report.faults


def test_where_entries_are_wrong_is_said_where_nothing_is_named():
    def change(a, b):
        a = a.clone()
        a[2] += 0.1
        return a, b

    report = check_autograd_function(product(change), torch.mul, PAIR)
    assert (
        report.message
        == "unexplained: input0 is wrong in 7 of 35 entries, the first at [2, 0], all with axis 0 at 2"
    )


@pytest.mark.parametrize("seed", range(5))
def test_random_gradients_have_no_name(seed):
    noise = draw(5, 7, number=100 + seed)
    norm = lambda x, w: functional.layer_norm(x, (7,), w, eps=EPS)  # noqa: E731
    softmax = kernel(lambda ctx, x: torch.softmax(x, -1), lambda ctx, g: noise * g)
    for function, reference, given in (
        (product(lambda a, b: (noise * a, b)), torch.mul, PAIR),
        (normalised(lambda g, h, s, w: noise * g), norm, [X, draw(7)]),
        (softmax, lambda x: torch.softmax(x, -1), [X]),
    ):
        report = check_autograd_function(function, reference, given, timeout=0)
        assert report.verdict == "wrong"
        assert not report.faults, str(report)


def test_to_dict_holds_the_runs_and_the_resolution():
    report = check_autograd_function(product(lambda a, b: (a, b)), torch.mul, PAIR)
    found = report.to_dict()
    assert found["runs"]["expanded upstream float64 cpu"] == "right"
    assert 0 < found["resolution"] < 1e-12


def test_the_ignored_upstream_of_a_scalar_is_named():
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.pow(2).sum()

    function = kernel(forward, lambda ctx, g: 2 * ctx.saved_tensors[0])
    report = check_autograd_function(function, lambda x: x.pow(2).sum(), [X])
    assert {f.kind for f in report.faults} == {"not_multiplied_by_upstream"}, str(report)


def test_labels_that_nobody_differentiates_get_a_hint():
    def forward(ctx, s, y):
        ctx.save_for_backward(s, y)
        return functional.relu(1 - y * s).mean()

    def backward(ctx, g):
        s, y = ctx.saved_tensors
        return -g * y * (y * s < 1) / s.numel(), None

    given = [draw(6), torch.tensor([1.0, -1, 1, 1, -1, 1])]
    report = check_autograd_function(
        kernel(forward, backward), lambda s, y: functional.relu(1 - y * s).mean(), given
    )
    assert "set requires_grad on the inputs that are" in report.message, str(report)


def test_a_module_is_cast_and_the_callers_stays_as_it_is():
    module = torch.nn.BatchNorm1d(4)
    report = check_autograd_function(module, module, [draw(6, 4, dtype=torch.float32)])
    assert report.verdict == "right", str(report)
    assert module.weight.dtype == torch.float32
    assert not module.running_mean.any()
