"""The runs that kernels fail in: each slip is found in its run and said, right kernels pass them all."""

import itertools
import random

import numpy as np
import pytest
import torch
from torch.nn import functional

from mlp_torch import check_autograd_function
from tests.mlp_torch.check.operations.kernels import RIGHT, X, draw, kernel


def contiguous(g):
    """What a kernel finds that takes the address of g and counts entries from there."""
    strides = [int(torch.tensor(g.shape[k + 1 :]).prod()) for k in range(g.ndim)]
    return g.as_strided(g.shape, strides)


LAST: dict = {}


def _sine(read=lambda v: v, after=lambda ctx, g: None):
    def forward(ctx, x):
        ctx.save_for_backward(x.cos())
        return x.sin()

    def backward(ctx, g):
        found = read(g) * ctx.saved_tensors[0]
        after(ctx, g)
        return found

    return kernel(forward, backward)


def _reads_inputs(ctx, x):
    x = contiguous(x)
    ctx.save_for_backward(x.cos())
    return x.clone().sin()


def _cached(ctx, x):
    LAST["cos"] = x.cos()
    return x.sin()


def _held(ctx, x):
    ctx.x = x
    return x.sin()


def _sine_and_cosine(ctx, x):
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x)
    return x.sin(), x.cos()


def _frozen(ctx, g):
    x, w = ctx.saved_tensors
    dx = g @ w
    if not ctx.needs_input_grad[1]:
        dx = 0 * dx
    return dx, g.T @ x


def _saved(ctx, x, w):
    ctx.save_for_backward(x, w)
    return x @ w.T


PAIR = [X, draw(3, 7)]
SLIPS = {
    "expanded upstream": (_sine(contiguous), torch.sin, [X], "read as if it were contiguous"),
    "strided upstream": (_sine(contiguous), torch.sin, [X], "read as if it were contiguous"),
    "transposed upstream": (_sine(contiguous), torch.sin, [X], "read as if it were contiguous"),
    "channels-last upstream": (
        _sine(contiguous), torch.sin, [draw(2, 3, 4, 5)], "read as if it were contiguous",
    ),
    "zero upstream": (_sine(lambda g: g / g.norm() * g.norm()), torch.sin, [X], "where the upstream is 0"),
    "broadcast upstream": (_sine(lambda g: g.view(-1).view(g.shape)), torch.sin, [X], "view size"),
    "transposed inputs": (
        kernel(_reads_inputs, lambda ctx, g: g * ctx.saved_tensors[0]), torch.sin, [X], "",
    ),
    "subsets of requires_grad": (kernel(_saved, _frozen), functional.linear, PAIR, "only input0 needs"),
    "backward twice": (
        _sine(after=lambda ctx, g: ctx.saved_tensors[0].mul_(2)), torch.sin, [X], "second backward",
    ),
    "two forwards, then backward": (
        kernel(_cached, lambda ctx, g: g * LAST["cos"]), torch.sin, [X], "outside of its ctx",
    ),
    "inputs changed in between": (
        kernel(_held, lambda ctx, g: g * ctx.x.cos()), torch.sin, [X], "save_for_backward",
    ),
    "some outputs used": (
        kernel(
            _sine_and_cosine,
            lambda ctx, g, h: g * ctx.saved_tensors[0].cos() if h is None
            else g * ctx.saved_tensors[0].cos() - h * ctx.saved_tensors[0].sin() if g is not None
            else h * ctx.saved_tensors[0].sin(),
        ),
        lambda x: (x.sin(), x.cos()), [X], "output[1] alone is used",
    ),
    "batch of 1": (
        kernel(
            lambda ctx, x: (ctx.save_for_backward(x), (x - x.mean(0)) ** 2)[1],
            lambda ctx, g: (lambda d: d - d.mean(0) if len(g) > 1 else d + 1)(
                2 * g * (ctx.saved_tensors[0] - ctx.saved_tensors[0].mean(0))
            ),
        ),
        lambda x: (x - x.mean(0)) ** 2, [X], "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_right_kernels_are_right_in_all_runs(name):
    function, reference, inputs = RIGHT[name]
    report = check_autograd_function(function, reference, inputs)
    assert report.verdict == "right", str(report)
    # torch.rand_like of a transposed tensor draws in another order, the reference's too
    allowed = {"right", "not judged: the reference fails too"} if name == "dropout" else {"right"}
    assert set(report.runs.values()) <= allowed, report.runs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", [n for n in RIGHT if n != "straight through"])
def test_right_kernels_are_right_in_short_dtypes(name, dtype):
    function, reference, inputs = RIGHT[name]
    given = [
        v.detach().to(dtype).requires_grad_(v.requires_grad) if v.is_floating_point() else v for v in inputs
    ]
    report = check_autograd_function(function, reference, given)
    assert report.verdict == "right", str(report)


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_that_one_run_shows_is_found_and_said(name):
    function, reference, inputs, words = SLIPS[name]
    report = check_autograd_function(function, reference, inputs)
    failed = {run.removesuffix(" float64 cpu") for run, said in report.runs.items() if said == "wrong"}
    assert report.verdict == "wrong", str(report)
    assert name in failed, str(report)
    assert words in report.message, str(report)


def test_every_subset_is_run_up_to_three_inputs_and_each_alone_and_all_but_one_beyond():
    seen = []

    class Sum(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *x):
            return sum(x)

        @staticmethod
        def backward(ctx, g):
            seen.append(ctx.needs_input_grad)
            return tuple(g if need else None for need in ctx.needs_input_grad)

    for count, subsets in ((3, 7), (5, 11)):
        seen.clear()
        check_autograd_function(Sum, lambda *x: sum(x), [draw(4, 3, number=k) for k in range(count)])
        assert len({s for s in seen if any(s)}) == subsets


def test_what_a_function_refuses_of_inputs_is_listed_and_no_fault():
    def forward(ctx, x):
        assert x.is_contiguous(), "contiguous inputs only"
        ctx.save_for_backward(x.cos())
        return x.sin()

    report = check_autograd_function(kernel(forward, lambda ctx, g: g * ctx.saved_tensors[0]), torch.sin, [X])
    assert report.verdict == "right", str(report)
    assert "contiguous inputs only" in report.runs["strided inputs float64 cpu"]


def test_nobody_is_held_to_a_run_that_the_reference_fails_in():
    def reads_memory(x):
        return x.as_strided((3, 2), (2, 1))

    assert check_autograd_function(reads_memory, reads_memory, [X]).verdict == "right"


def test_gradients_that_move_from_run_to_run_by_more_than_rounding_are_wrong():
    runs = itertools.count(1)

    def backward(ctx, g):
        return g * ctx.saved_tensors[0] * (1 + 1e-9 * next(runs))

    def forward(ctx, x):
        ctx.save_for_backward(x.cos())
        return x.sin()

    assert check_autograd_function(kernel(forward, backward), torch.sin, [X]).verdict == "wrong"


DRAWS = {
    "torch": lambda v: torch.rand(v.shape) > 0.5,
    "like": lambda v: torch.rand_like(v) > 0.5,
    "bernoulli": lambda v: torch.bernoulli(torch.full(v.shape, 0.5)) > 0,
    "numpy": lambda v: torch.from_numpy(np.random.rand(*v.shape)) > 0.5,
    "random": lambda v: torch.tensor([random.random() > 0.5 for _ in range(v.numel())]).view(v.shape),
}


@pytest.mark.parametrize("draw", DRAWS)
def test_a_mask_drawn_again_in_backward_is_wrong_and_said(draw):
    def dropped(v):
        return v * DRAWS[draw](v) * 2

    function = kernel(lambda ctx, x: dropped(x), lambda ctx, g: dropped(g))
    report = check_autograd_function(function, dropped, [X])
    assert [f.kind for f in report.faults] == ["wrong_dropout_backward"], str(report)
    assert "backward draws random numbers: the mask of forward must be saved" in report.message


def test_a_mask_drawn_again_from_a_generator_that_is_given_is_wrong():
    def dropped(v, generator):
        return v * (torch.rand(v.shape, generator=generator) > 0.5)

    def forward(ctx, x, generator):
        ctx.generator = generator
        return dropped(x, generator)

    function = kernel(forward, lambda ctx, g: (dropped(g, ctx.generator), None))
    report = check_autograd_function(function, dropped, [X, torch.Generator()])
    assert "backward draws random numbers" in report.message, str(report)


@pytest.mark.parametrize("size", [1e-3, 1])
def test_noise_in_backward_is_not_repeatable(size):
    def forward(ctx, x):
        ctx.save_for_backward(x.cos())
        return x.sin()

    function = kernel(forward, lambda ctx, g: g * ctx.saved_tensors[0] + size * torch.randn_like(g))
    report = check_autograd_function(function, torch.sin, [X])
    assert [f.kind for f in report.faults] == ["not_repeatable"], str(report)
    assert "backward draws random numbers" in report.message


def test_a_mask_that_hits_no_entry_in_the_first_draw_is_seen_in_another():
    def forward(ctx, x):
        return x * 2

    function = kernel(forward, lambda ctx, g: g * 2 * (torch.rand(g.shape) > 0.02))
    report = check_autograd_function(function, lambda x: x * 2, [X])
    assert "not_repeatable" in {f.kind for f in report.faults}, str(report)
