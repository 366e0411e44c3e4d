"""The runs that kernels fail in: each slip is found in its run and said, right kernels pass them all."""

import pytest
import torch

from mlp_torch import check_autograd_function
from tests.mlp_torch.check.operations.kernels import RIGHT, SLIPS, X, draw, kernel


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


def test_rows_of_torch_empty_that_are_never_written_are_wrong_and_named():
    def backward(ctx, g):
        out = torch.empty_like(g)
        out[:-1] = g[:-1] * ctx.saved_tensors[0][:-1]
        return out

    def forward(ctx, x):
        ctx.save_for_backward(x.cos())
        return x.sin()

    report = check_autograd_function(kernel(forward, backward), torch.sin, [draw(50, 70)])
    assert report.verdict == "wrong", str(report)
    assert "uninitialized_memory" in {f.kind for f in report.faults}, str(report)


def test_memory_is_poisoned_even_where_it_happens_to_hold_what_belongs_there():
    def backward(ctx, g):
        out = torch.empty_like(g)
        if not out.isnan().any():
            out.zero_()  # the allocator gave zeros
        out[:-1] = g[:-1]
        return out

    def forward(ctx, x):
        return torch.cat([x[:-1], 0 * x[-1:]])

    report = check_autograd_function(
        kernel(forward, backward), lambda x: torch.cat([x[:-1], 0 * x[-1:].detach()]), [X]
    )
    assert [f.kind for f in report.faults] == ["uninitialized_memory"], str(report)
    assert not torch.are_deterministic_algorithms_enabled()


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
    def backward(ctx, g):
        torch.seed()
        return g * ctx.saved_tensors[0] * (1 + 1e-9 * torch.rand(()).item())

    def forward(ctx, x):
        ctx.save_for_backward(x.cos())
        return x.sin()

    assert check_autograd_function(kernel(forward, backward), torch.sin, [X]).verdict == "wrong"
