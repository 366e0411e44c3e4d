"""Random numbers drawn in backward: never those of forward, whoever draws them."""

import random

import numpy as np
import pytest
import torch

from mlp_torch import check_autograd_function
from tests.mlp_torch.check.operations.kernels import X, kernel

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
