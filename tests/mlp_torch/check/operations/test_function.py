"""check_autograd_function: what one operation shows of its fault, and what it does to its arguments."""

import warnings

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from mlp_torch import check_autograd_function
from mlp_torch.check.operations.tensors import coarse
from tests.mlp_torch.check.operations.kernels import RIGHT

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
    assert (
        check_autograd_function(function(gradient), swish, [draw(5, 7)], double_backward=True).verdict
        == "wrong"
    )


class Right(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        s = torch.sigmoid(z)
        ctx.save_for_backward(s)
        return s

    @staticmethod
    def backward(ctx, g):
        (s,) = ctx.saved_tensors
        return g * s * (1 - s)


def variant(slope, g_too=True):
    class Variant(Right):
        @staticmethod
        def backward(ctx, g):
            (s,) = ctx.saved_tensors
            return g * slope(s) if g_too else slope(s)

    return Variant


@pytest.mark.parametrize(
    ("function", "kinds"),
    [
        (Right, []),
        (variant(lambda s: 1 + 0 * s), ["missing_activation_derivative"]),
        (variant(lambda s: s), ["wrong_activation_derivative"]),
        (
            variant(lambda s: torch.sigmoid(s) * (1 - torch.sigmoid(s))),
            ["activation_derivative_at_wrong_array"],
        ),
        (variant(lambda s: s * (1 - s), g_too=False), ["not_multiplied_by_upstream"]),
        (variant(lambda s: -s * (1 - s)), ["sign"]),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_autograd_functions(function, kinds, dtype):
    inputs = (torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).to(dtype),)
    report = check_autograd_function(function, torch.sigmoid, inputs)
    assert sorted({f.kind for f in report.faults}) == kinds, str(report)
    assert (report.verdict == "right") == (not kinds)


def jittery(size):
    generator = torch.Generator().manual_seed(3)

    class Jittery(Right):
        @staticmethod
        def backward(ctx, g):
            noise = torch.rand(g.shape, generator=generator, dtype=torch.float64).to(g.dtype)
            return Right.backward(ctx, g) * (1 + size * torch.finfo(g.dtype).eps * noise)

    return Jittery


@pytest.mark.parametrize(("size", "verdict"), [(8, "right"), (1e5, "wrong")])
def test_two_runs_that_differ_by_rounding_are_a_note_and_no_more(size, verdict):
    report = check_autograd_function(jittery(size), torch.sigmoid, (torch.randn(5, 3),))
    assert report.verdict == verdict, str(report)
    assert any("a second run differs" in note for note in report.notes)


def test_tf32_is_said_where_it_is_on():
    assert not coarse(torch.float32, "cuda:0")
    torch.set_float32_matmul_precision("high")
    try:
        assert "TF32" in coarse(torch.float32, "cuda:0")[0]
        assert not coarse(torch.float64, "cuda:0")
        assert not coarse(torch.float32, "cpu")
    finally:
        torch.set_float32_matmul_precision("highest")


def test_a_layer_norm_without_the_mean_path():
    class Norm(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            d = x - x.mean(-1, keepdim=True)
            s = (d * d).mean(-1, keepdim=True).add(1e-5).sqrt()
            ctx.save_for_backward(d / s, s)
            return d / s

        @staticmethod
        def backward(ctx, g):
            hat, s = ctx.saved_tensors
            return (g - hat * (g * hat).mean(-1, keepdim=True)) / s

    report = check_autograd_function(
        Norm,
        lambda v: torch.nn.functional.layer_norm(v, v.shape[-1:]),
        (torch.randn(6, 7, dtype=torch.float64),),
    )
    assert [f.kind for f in report.faults] == ["wrong_normalization_backward"], str(report)


@pytest.mark.parametrize("name", ["rms norm", "cross entropy"])
def test_a_second_derivative_that_is_asked_for_and_not_offered_is_not_right(name):
    assert check_autograd_function(*RIGHT[name]).verdict == "right"
    assert check_autograd_function(*RIGHT[name], double_backward=True).verdict != "right"


def test_a_second_derivative_that_is_asked_for_and_right_is_right():
    report = check_autograd_function(*RIGHT["gelu"], double_backward=True)
    assert report.verdict == "right", str(report)


def tanh_of_product(x, w):
    return torch.tanh(x @ w)


def checkpointed(x, w):
    return checkpoint(tanh_of_product, x, w, use_reentrant=True)


class Nested(torch.autograd.Function):
    """A reentrant checkpoint in the forward, differentiated in the backward."""

    @staticmethod
    def forward(ctx, x, w):
        with torch.enable_grad():
            ctx.leaves = [v.detach().requires_grad_() for v in (x, w)]
            ctx.out = checkpoint(tanh_of_product, *ctx.leaves, use_reentrant=True)
        return ctx.out.detach()

    @staticmethod
    def backward(ctx, g):
        torch.autograd.backward(ctx.out, g, retain_graph=True)
        found = [v.grad for v in ctx.leaves]
        for v in ctx.leaves:
            v.grad = None
        return tuple(found)


@pytest.mark.parametrize("function", [tanh_of_product, checkpointed, Nested.apply])
@pytest.mark.parametrize("reference", [tanh_of_product, checkpointed])
def test_a_reentrant_checkpoint_is_judged_by_backward(function, reference):
    given = [draw(5, 4), draw(4, 3)]
    report = check_autograd_function(function, reference, given)
    assert report.verdict == "right", str(report)
    said = any("reentrant checkpoint" in note for note in report.notes)
    assert said == (function is not tanh_of_product or reference is not tanh_of_product)
    wrong = check_autograd_function(lambda x, w: function(x, 1.001 * w) / 1.001, reference, given)
    assert not wrong.passed, str(wrong)


def test_what_a_reentrant_checkpoint_captures_gets_nothing_where_its_arguments_need_nothing():
    def captured(x, w):
        return checkpoint(lambda v: torch.tanh(v @ w), x, use_reentrant=True)

    report = check_autograd_function(captured, tanh_of_product, [draw(5, 4), draw(4, 3)])
    assert [f.kind for f in report.faults] == ["requires_grad_subset"], str(report)
    assert "where only input1 needs a gradient: a reentrant checkpoint gives nothing" in report.message
