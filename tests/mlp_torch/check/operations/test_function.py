"""check_autograd_function: what one operation shows of its fault, and what it does to its arguments."""

import warnings

import pytest
import torch

from mlp_torch import check_autograd_function

N, EPS = 9, 1e-5


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def swish(x):
    return x * torch.sigmoid(x)


def function(gradient):
    class Swish(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return swish(x)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            s = torch.sigmoid(x)
            return gradient(g, s + x * s * (1 - s))

    return Swish


@pytest.mark.parametrize(
    ("gradient", "kinds"),
    [
        (lambda g, slope: g * slope, []),
        (lambda g, slope: g.mul_(2) / 2 * slope, ["mutated_input"]),
        (lambda g, slope: g.mul_(slope), ["mutated_input"]),
        (lambda g, slope: g.mul_(2) * slope, ["constant_factor", "mutated_input"]),
        (lambda g, slope: None, ["zero_gradient"]),
        (lambda g, slope: 0 * g, ["zero_gradient"]),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_backward_does_to_its_upstream_is_named(gradient, kinds, dtype):
    report = check_autograd_function(function(gradient), swish, [draw(5, 7).to(dtype)])
    assert [f.kind for f in report.faults] == kinds, str(report)
    assert (report.verdict == "right") == (not kinds)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_where_the_reference_has_no_gradient_nothing_is_compared(value):
    right = function(lambda g, slope: g * slope)
    report = check_autograd_function(right, swish, [torch.tensor([1.0, value])])
    assert (report.verdict, report.faults) == ("not_comparable", [])


def test_a_forward_pass_with_nan_is_not_the_references():
    report = check_autograd_function(lambda x: x.sqrt() ** 2, lambda x: x * 1, [draw(5, 7)])
    assert [f.kind for f in report.faults] == ["forward_mismatch"]


@pytest.mark.parametrize("inputs", [torch.ones(3), "x", None, 1.0])
def test_inputs_that_are_no_list_are_told_in_one_line(inputs):
    with pytest.raises(ValueError, match=r"^inputs: give a list or tuple"):
        check_autograd_function(function(lambda g, slope: g * slope), swish, inputs)


def test_no_warning_of_torchs_reaches_the_person():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_autograd_function(function(lambda g, slope: g * slope), swish, [draw(5, 7)])


def batch_norm(x, gamma, beta):
    mean = x.mean(0)
    return gamma * (x - mean) / torch.sqrt(((x - mean) ** 2).mean(0) + EPS) + beta


def written(mean, variance):
    class BatchNorm(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, gamma, beta):
            away = x - x.mean(0)
            s = 1 / torch.sqrt((away**2).mean(0) + EPS)
            ctx.save_for_backward(away * s, s, gamma)
            return gamma * away * s + beta

        @staticmethod
        def backward(ctx, g):
            hat, s, gamma = ctx.saved_tensors
            d = g * gamma
            along = mean * d.mean(0) + variance * hat * (d * hat).mean(0)
            return s * (d - along), (g * hat).sum(0), g.sum(0)

    return BatchNorm


@pytest.mark.parametrize(
    ("mean", "variance", "words"),
    [
        (0, 1, "lacks the path through the mean"),
        (1, 0, "lacks the path through the variance"),
        (1, N / (N - 1), "divides by N − 1 where N belongs"),
        (1, (N - 1) / N, "divides by N where N − 1 belongs"),
    ],
)
def test_a_path_of_batch_norm_is_named(mean, variance, words):
    report = check_autograd_function(written(mean, variance), batch_norm, [draw(N, 4), draw(4), draw(4)])
    assert [(f.kind, f.arrays) for f in report.faults] == [("wrong_normalization_backward", ("input0",))]
    assert words in report.faults[0].detail


def test_saved_intermediates_are_a_note_and_no_fault():
    report = check_autograd_function(written(1, 1), batch_norm, [draw(N, 4), draw(4), draw(4)])
    assert report.verdict == "right", str(report)
    assert any("once_differentiable" in note for note in report.notes)


def test_a_wrong_second_derivative_is_a_note_and_wrong_where_it_is_asked_for():
    def gradient(g, slope):
        return g * slope + 0 * g.detach() + (slope.detach() - slope) * g * 0.5

    assert check_autograd_function(function(gradient), swish, [draw(5, 7)]).verdict == "right"
    assert check_autograd_function(function(gradient), swish, [draw(5, 7)], double_backward=True).verdict == "wrong"
