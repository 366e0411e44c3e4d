"""The floor: what rounding is measured to do, bounded, in every dtype; what is no rounding is said so."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from mlp_torch import check_autograd_function
from tests.mlp_torch.check.operations.kernels import RIGHT, X, draw, kernel


def sine(change):
    def forward(ctx, x):
        ctx.save_for_backward(x.cos())
        return x.sin()

    return kernel(forward, lambda ctx, g: change(g * ctx.saved_tensors[0]))


@pytest.mark.parametrize("slip", [1e-6, 1e-9, 1e-12])
def test_a_slip_of_1e_12_shows_in_float64(slip):
    report = check_autograd_function(sine(lambda g: g * (1 + slip)), torch.sin, [X])
    assert report.verdict == "scaled", str(report)
    assert check_autograd_function(sine(lambda g: g), torch.sin, [X]).resolution < 1e-12


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_path_that_is_a_fifth_off_shows_in_every_dtype(dtype):
    """The path through the mean, a fifth too short, of a kernel that takes no other dtype."""

    def forward(ctx, x):
        assert x.dtype == dtype
        away = x.float() - x.float().mean(-1, keepdim=True)
        s = torch.rsqrt((away**2).mean(-1, keepdim=True) + 1e-5)
        ctx.save_for_backward(away * s, s)
        return (away * s).to(dtype)

    def backward(share):
        def run(ctx, g):
            hat, s = ctx.saved_tensors
            d = g.float()
            dx = s * (d - share * d.mean(-1, keepdim=True) - hat * (d * hat).mean(-1, keepdim=True))
            return dx.to(dtype)

        return run

    x = draw(6, 8).to(dtype)
    reference = lambda v: functional.layer_norm(v, (8,))  # noqa: E731
    right = check_autograd_function(kernel(forward, backward(1)), reference, [x])
    assert right.verdict == "right", str(right)
    assert any("float64 is not judged" in note for note in right.notes)
    assert check_autograd_function(kernel(forward, backward(0.8)), reference, [x]).verdict == "wrong"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_factor_of_a_tenth_shows_in_short_dtypes(dtype):
    report = check_autograd_function(sine(lambda g: g * 1.1), torch.sin, [X.to(dtype)], dtypes=[dtype])
    assert report.verdict in ("wrong", "scaled"), str(report)


def test_float32_inside_is_judged_to_the_precision_of_float32_and_said():
    function, reference, inputs = RIGHT["rms norm"]
    report = check_autograd_function(function, reference, inputs)
    assert report.verdict == "right", str(report)
    assert 1e-8 < report.resolution < 1e-4
    assert any("float32" in note for note in report.notes)


def test_parameters_that_are_cast_to_float32_on_the_way_are_judged_to_its_precision():
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w.float().double()

    def backward(change):
        return lambda ctx, g: (
            g @ ctx.saved_tensors[1].float().double().T,
            change * ctx.saved_tensors[0].T @ g,
        )

    given = [X, draw(7, 3)]
    assert check_autograd_function(kernel(forward, backward(1)), torch.matmul, given).verdict == "right"
    assert check_autograd_function(kernel(forward, backward(1.001)), torch.matmul, given).verdict != "right"


def test_dtypes_chooses():
    report = check_autograd_function(*RIGHT["gelu"], dtypes=[torch.float32, torch.bfloat16])
    assert list(report.arrays) == ["input0 float32 cpu", "input0 bfloat16 cpu"]
    assert report.verdict == "right", str(report)


def test_a_function_that_takes_float64_only_where_it_is_given_needs_no_other():
    report = check_autograd_function(*RIGHT["gelu"])
    assert list(report.arrays) == ["input0 float64 cpu"]


@pytest.mark.parametrize("at", [1.0, 20.0, 40.0])
def test_what_is_more_accurate_than_the_reference_is_right(at):
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.tanh()

    x = torch.full((4, 3), at, dtype=torch.float64)
    report = check_autograd_function(
        kernel(forward, lambda ctx, g: g / torch.cosh(ctx.saved_tensors[0]) ** 2), lambda v: v.tanh(), [x]
    )
    assert report.verdict == "right", str(report)


def test_a_bias_before_batch_norm_is_zero_up_to_what_cancels():
    def reference(x, b):
        z = (x + b) * 1e3
        return (z - z.mean(0)) / (z.var(0, unbiased=False) + 1e-5).sqrt()

    def forward(ctx, x, b):
        with torch.enable_grad():
            ctx.leaf = x.detach().requires_grad_()
            ctx.out = reference(ctx.leaf, b)
        return ctx.out.detach()

    def backward(bias):
        def run(ctx, g):
            (dx,) = torch.autograd.grad(ctx.out, ctx.leaf, g, retain_graph=True)
            return dx, bias(dx, g)

        return run

    given = [draw(9, 4), draw(4)]
    for zero in (lambda dx, g: dx.sum(0), lambda dx, g: 0 * g.sum(0)):
        report = check_autograd_function(kernel(forward, backward(zero)), reference, given)
        assert report.verdict == "right", str(report)
    assert (
        check_autograd_function(
            kernel(forward, backward(lambda dx, g: 1e-6 * g.sum(0))), reference, given
        ).verdict
        == "wrong"
    )


def test_a_gradient_of_1e_305_with_the_wrong_sign_is_wrong():
    report = check_autograd_function(sine(lambda g: -g), lambda x: torch.sin(x), [X], dtypes=[torch.float64])
    assert report.verdict == "wrong"

    def tiny(sign):
        return kernel(lambda ctx, x: 1e-305 * x, lambda ctx, g: sign * 1e-305 * g)

    assert check_autograd_function(tiny(1), lambda x: 1e-305 * x, [X]).verdict == "right"
    assert check_autograd_function(tiny(-1), lambda x: 1e-305 * x, [X]).verdict == "wrong"


def test_a_random_reference_under_one_seed_is_compared():
    assert check_autograd_function(*RIGHT["dropout"]).verdict == "right"


def test_a_reference_that_no_seed_fixes_is_not_comparable_with_the_remedy():
    def reference(x):
        generator = torch.Generator()
        generator.seed()
        return x * torch.rand(x.shape, generator=generator, dtype=x.dtype)

    report = check_autograd_function(reference, reference, [X])
    assert report.verdict == "not_comparable"
    assert "give the mask or the noise as an input" in report.message


def test_masks_drawn_otherwise_are_not_comparable_with_the_remedy():
    def forward(ctx, x):
        ctx.save_for_backward((torch.rand(x.numel() + 1, dtype=x.dtype)[1:].reshape(x.shape) < 0.5) * 2.0)
        return x * ctx.to_save[0]

    report = check_autograd_function(
        kernel(forward, lambda ctx, g: g * ctx.saved_tensors[0]), RIGHT["dropout"][1], [X]
    )
    assert report.verdict == "not_comparable"
    assert "draws random numbers" in report.message


def test_a_generator_among_the_inputs_is_wound_back():
    def noisy(x, generator):
        return x * torch.rand(x.shape, generator=generator, dtype=x.dtype)

    assert check_autograd_function(noisy, noisy, [X, torch.Generator().manual_seed(5)]).verdict == "right"


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(3), np.random.seed(3)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(3), np.random.seed(3)
    check_autograd_function(*RIGHT["dropout"])
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])


def test_ill_conditioned_inputs_are_not_comparable():
    def by_singular_values(v):
        u, s, w = torch.linalg.svd(v)
        return w.T @ torch.diag(1 / s) @ u.T

    good, bad = draw(4, 4), torch.ones(4, 4, dtype=torch.float64) + 1e-14 * draw(4, 4)
    assert check_autograd_function(by_singular_values, torch.linalg.inv, [good]).verdict == "right"
    report = check_autograd_function(by_singular_values, torch.linalg.inv, [bad])
    assert report.verdict == "not_comparable", str(report)


def one_pass(change):
    """E[x²] − E[x]², as apex and many CUDA kernels do."""

    def forward(ctx, x):
        m = x.mean(-1, keepdim=True)
        s = torch.rsqrt((x * x).mean(-1, keepdim=True) - m * m + 1e-5)
        ctx.save_for_backward(x, m, s)
        return (x - m) * s

    def backward(ctx, g):
        x, m, s = ctx.saved_tensors
        hat = (x - m) * s
        return change(s * (g - g.mean(-1, keepdim=True) - hat * (g * hat).mean(-1, keepdim=True)))

    return kernel(forward, backward)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize(
    ("change", "right"),
    [
        (lambda g: g, True),
        (lambda g: g * (1 + 2e-3 * (g.dtype == torch.float32)), False),
        (lambda g: g * (1 + 1e-8), False),
        (lambda g: g.bfloat16().to(g.dtype) if g.dtype == torch.float32 else g, False),
    ],
)
def test_digits_that_a_right_formula_loses_in_float32_are_rounding(number, change, right):
    given = [draw(6, 8, dtype=torch.float32, number=number) + 10 + 20 * (number > 1)]
    report = check_autograd_function(one_pass(change), lambda x: functional.layer_norm(x, (8,)), given)
    assert (report.verdict == "right") == right, str(report)
