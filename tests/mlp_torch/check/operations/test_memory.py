"""Memory that nobody has written: who reads it is told so, once, with what follows from it."""

import numpy as np
import pytest
import torch

from mlp_torch import check_autograd_function
from tests.mlp_torch.check.operations.kernels import X, draw, kernel


def cosine(ctx, x):
    ctx.save_for_backward(x.cos())
    return x.sin()


def test_rows_of_torch_empty_that_are_never_written_are_wrong_and_named():
    def backward(ctx, g):
        out = torch.empty_like(g)
        out[:-1] = g[:-1] * ctx.saved_tensors[0][:-1]
        return out

    report = check_autograd_function(kernel(cosine, backward), torch.sin, [draw(50, 70)])
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


EMPTY = {
    "np.empty": lambda g: torch.from_numpy(np.empty(g.shape)),
    "np.empty_like": lambda g: torch.from_numpy(np.empty_like(g.numpy())),
    "torch.empty": lambda g: torch.empty(g.shape, dtype=g.dtype),
    "new_empty": lambda g: g.new_empty(g.shape),
    "Tensor": lambda g: torch.DoubleTensor(*g.shape),
}


@pytest.mark.parametrize("name", EMPTY)
def test_what_is_read_of_fresh_memory_is_wrong_whoever_gives_it(name):
    def backward(ctx, g):
        (c,) = ctx.saved_tensors
        out = EMPTY[name](g)
        spoiled = out.isnan().any()
        out.copy_(g * c)
        return out * out.new_tensor(float("nan")) if spoiled else out

    given = np.empty, np.empty_like
    report = check_autograd_function(kernel(cosine, backward), torch.sin, [X])
    assert [f.kind for f in report.faults] == ["uninitialized_memory"], str(report)
    assert (np.empty, np.empty_like) == given


@pytest.mark.parametrize("garbage", [float("nan"), 3.0, 1e300])
@pytest.mark.parametrize("later", [0, 1, 2, 12])
def test_what_follows_from_unwritten_memory_is_no_further_fault(garbage, later):
    """The garbage comes after `later` calls: until then the memory happens to hold what belongs there."""
    calls = []

    def backward(ctx, g):
        (c,) = ctx.saved_tensors
        out = torch.empty_like(g)
        calls.append(1)
        if not out.isnan().any() and not (out == 0.5).all():
            out[-1:] = (g * c)[-1:] if len(calls) <= later else garbage
        out[:-1] = (g * c)[:-1]
        return out

    report = check_autograd_function(kernel(cosine, backward), torch.sin, [X])
    assert [f.kind for f in report.faults] == ["uninitialized_memory"], str(report)
    assert ("(and so in the runs: " in report.message) == (later > 1), str(report)


def test_another_fault_beside_unwritten_memory_is_said_too():
    def backward(ctx, g):
        (c,) = ctx.saved_tensors
        out = torch.empty_like(g)
        out[1:] = 2 * (g * c)[1:]
        return out

    report = check_autograd_function(kernel(cosine, backward), torch.sin, [X])
    assert report.faults[0].kind == "uninitialized_memory", str(report)
    assert "unexplained: input0 is " in report.message, str(report)
