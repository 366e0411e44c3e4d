"""Values of the upstream, and what comes between forward and backward: each slip in its run."""

import pytest
import torch
from torch.nn import functional

from mlp_torch import check_autograd_function
from mlp_torch.check.operations.standard import upstreams
from tests.mlp_torch.check.operations.kernels import X, draw, kernel

INDEX = torch.tensor([0, 2, 2, 4])
LAST: dict = {}


def sine(read):
    def forward(ctx, x):
        ctx.save_for_backward(x.cos())
        return x.sin()

    return kernel(forward, lambda ctx, g: read(ctx, g) * ctx.saved_tensors[0])


def held(ctx, name, value):
    setattr(ctx, name, value)
    return value


def put(name, value):
    LAST[name] = value


def product(ctx, a, b):
    put("needs", ctx.needs_input_grad)
    ctx.save_for_backward(a, b)
    return a * b


def product_backward(ctx, g):
    a, b = ctx.saved_tensors
    return (g * b if LAST["needs"][0] else None), (g * a if LAST["needs"][1] else None)


def cached(ctx, g):
    if not hasattr(ctx, "kept"):
        ctx.kept = g
    return ctx.kept


SLIPS = {
    "first column": (
        sine(lambda ctx, g: g * (g[:, :1] != 0)), torch.sin, [X], "sparse upstreams", "first column is 0",
    ),
    "last column": (
        sine(lambda ctx, g: g * (g[:, -1:] != 0)), torch.sin, [X], "sparse upstreams", "last column is 0",
    ),
    "every other": (
        sine(lambda ctx, g: g if (g != 0).sum() > 20 else 0 * g), torch.sin, [X], "sparse upstreams",
        "every other entry 0",
    ),
    "one entry": (
        sine(lambda ctx, g: g if (g != 0).sum() > 1 else 0 * g), torch.sin, [X], "sparse upstreams",
        "one entry that is not 0",
    ),
    "clipped": (sine(lambda ctx, g: g.clamp(-10, 10)), torch.sin, [X], "large upstream", "2²⁰"),
    "flushed": (
        sine(lambda ctx, g: torch.where(g.abs() < 1e-6, 0 * g, g)), torch.sin, [X], "tiny upstream", "2⁻³⁰",
    ),
    "cached": (sine(cached), torch.sin, [X], "backward twice", "first one's result is returned again"),
    "batch size": (
        kernel(
            lambda ctx, x: (put("n", len(x)), setattr(ctx, "shape", x.shape), x.mean(0))[-1],
            lambda ctx, g: (g / LAST["n"]).expand(ctx.shape),
        ),
        lambda x: x.mean(0), [X], "two forwards, then backward", "another batch size",
    ),
    "scalar": (
        kernel(lambda ctx, x, k: (put("k", k), x * k)[-1], lambda ctx, g: (g * LAST["k"], None)),
        lambda x, k: x * k, [X, 3.0], "two forwards, then backward", "other numbers",
    ),
    "power": (
        kernel(
            lambda ctx, x, k: (put("k", k), ctx.save_for_backward(x), x**k)[-1],
            lambda ctx, g: (g * LAST["k"] * ctx.saved_tensors[0] ** (LAST["k"] - 1), None),
        ),
        lambda x, k: x**k, [X, 3], "two forwards, then backward", "other numbers",
    ),
    "needs": (
        kernel(product, product_backward), torch.mul, [X, draw(5, 7, number=2)],
        "two forwards, then backward", "that needs no gradient",
    ),
    "output": (
        kernel(lambda ctx, x: held(ctx, "y", x.tanh()), lambda ctx, g: g * (1 - ctx.y**2)), torch.tanh, [X],
        "outputs changed in between", "where outputs are changed in place",
    ),
    "index": (
        kernel(
            lambda ctx, x, i: (held(ctx, "i", i), held(ctx, "s", x.shape), x[i])[-1],
            lambda ctx, g: (torch.zeros(ctx.s, dtype=g.dtype).index_add_(0, ctx.i, g), None),
        ),
        lambda x, i: x[i], [X, INDEX], "inputs changed in between", "where inputs are changed in place",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_is_found_in_its_run_and_said(name):
    function, reference, inputs, run, words = SLIPS[name]
    report = check_autograd_function(function, reference, inputs)
    assert report.verdict == "wrong", str(report)
    assert report.runs[f"{run} float64 cpu"] == "wrong", str(report)
    assert words in report.message, str(report)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("function", [torch.sin, torch.tanh, lambda x: functional.softmax(x, -1)])
def test_torchs_own_are_right_for_every_upstream(function, dtype):
    report = check_autograd_function(function, function, [(4 * X).to(dtype)])
    assert report.verdict == "right", str(report)


def test_a_view_that_autograd_lets_nobody_write_into_is_no_fault():
    class Pool(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.shape = x.shape
            return torch.nn.functional.avg_pool1d(x, 2)  # of three axes: a view of what it makes

        @staticmethod
        def backward(ctx, g):
            return g.repeat_interleave(2, -1) / 2

    x = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    report = check_autograd_function(Pool, lambda x: torch.nn.functional.avg_pool1d(x, 2), [x])
    assert report.verdict == "right", str(report)


def three(ctx, x):
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x)
    return x.sin(), x.cos(), x * x


def three_backward(choose):
    """The gradient, but for the outputs of `choose`, which lose the last one's part."""

    def backward(ctx, *up):
        (x,) = ctx.saved_tensors
        parts = [x.cos(), -x.sin(), 2 * x]
        given = [k for k, g in enumerate(up) if g is not None]
        return sum(up[k] * parts[k] for k in (given[:-1] if given == choose else given))

    return backward


@pytest.mark.parametrize("choose", [[], [0], [1], [2], [0, 1], [0, 2], [1, 2]])
def test_every_choice_of_three_outputs_is_run(choose):
    function = kernel(three, three_backward(choose) if len(choose) != 1 else lambda ctx, *up: (
        0 * ctx.saved_tensors[0] if [g is not None for g in up] == [k in choose for k in range(3)]
        else three_backward([])(ctx, *up)
    ))  # fmt: skip
    report = check_autograd_function(function, lambda x: (x.sin(), x.cos(), x * x), [X])
    assert report.verdict == ("wrong" if choose else "right"), str(report)
    if choose:
        names = " and ".join(f"output[{k}]" for k in choose)
        assert f"wrong only where {names} alone" in report.message, str(report)


FEELS = {  # what a gradient may not look at
    "sum": lambda g, h: (g + h).sum() < 0,
    "the larger": lambda g, h: h.norm() < 0.1 * g.norm(),
    "the smaller": lambda g, h: g.norm() < 0.1 * h.norm(),
    "sign of one entry": lambda g, h: (g * h).flatten()[1] * (X[0, 1] * g).flatten()[0] < 0,
}


@pytest.mark.parametrize("name", FEELS)
def test_the_gradient_is_linear_in_the_upstream_of_all_outputs(name):
    def backward(change):
        def run(ctx, g, h):
            (x,) = ctx.saved_tensors
            return (g * x.cos() - h * x.sin()) * (1 + change(g, h))

        return run

    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin(), x.cos()

    def reference(x):
        return x.sin(), x.cos()

    right = check_autograd_function(kernel(forward, backward(lambda g, h: 0)), reference, [X])
    assert right.verdict == "right", str(right)
    assert right.runs["other upstreams float64 cpu"] == "right"
    slip = backward(lambda g, h: 0.5 * bool(g.numel() and FEELS[name](g, h) != FEELS[name](*base)))
    base = [u.clone() for u in upstreams([X, X])]
    assert check_autograd_function(kernel(forward, slip), reference, [X]).verdict == "wrong"


CASTS = {
    "float32": (lambda g: g.float().to(g.dtype), True),
    "bfloat16": (lambda g: g.bfloat16().to(g.dtype), False),
    "float16": (lambda g: g.half().to(g.dtype), False),
    "sixteenths": (lambda g: (16 * g).round() / 16, False),
    "1e-9": (lambda g: (1e9 * g).round() / 1e9, False),
}


@pytest.mark.parametrize("name", CASTS)
def test_an_upstream_that_loses_digits_is_seen_and_float32_is_said(name):
    change, right = CASTS[name]
    report = check_autograd_function(sine(lambda ctx, g: change(g)), torch.sin, [X])
    assert (report.verdict == "right") == right, str(report)
    if right:
        said = report.runs["other upstreams float64 cpu"]
        assert said == "right: the upstream is cast to float32"
        assert any(said in note for note in report.notes)
