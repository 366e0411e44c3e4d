"""Single entries: rounding changes sides as inputs and upstream change, a slip does not; in every dtype."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from mlp_torch import check_autograd_function
from tests.mlp_torch.check.operations.kernels import draw, kernel


def keep(ctx, y, *kept):
    ctx.save_for_backward(*(kept or (y,)))
    return y


def softmax(ctx, x):
    e = (x - x.amax(-1, keepdim=True)).exp()
    return keep(ctx, e / e.sum(-1, keepdim=True))


def softmax_backward(ctx, g):
    (y,) = ctx.saved_tensors
    return y * (g - (g * y).sum(-1, keepdim=True))


def silu_backward(ctx, g):
    (x,) = ctx.saved_tensors
    s = 1 / (1 + (-x).exp())
    return g * (s + x * s * (1 - s))


def gelu(ctx, x):
    return keep(ctx, 0.5 * x * (1 + torch.erf(x / 2**0.5)), x)


def gelu_backward(ctx, g):
    (x,) = ctx.saved_tensors
    density = torch.exp(-0.5 * x * x) / (2 * torch.pi) ** 0.5
    return g * (0.5 * (1 + torch.erf(x / 2**0.5)) + x * density)


PROGRAMS = {  # every intermediate value in the dtype that comes in
    "tanh": (
        lambda ctx, x: keep(ctx, x.tanh()), lambda ctx, g: g * (1 - ctx.saved_tensors[0] ** 2), torch.tanh,
    ),
    "sigmoid": (
        lambda ctx, x: keep(ctx, 1 / (1 + (-x).exp())),
        lambda ctx, g: g * ctx.saved_tensors[0] * (1 - ctx.saved_tensors[0]), torch.sigmoid,
    ),
    "silu": (lambda ctx, x: keep(ctx, x / (1 + (-x).exp()), x), silu_backward, functional.silu),
    "gelu": (gelu, gelu_backward, functional.gelu),
    "softmax": (softmax, softmax_backward, lambda x: torch.softmax(x, -1)),
}  # fmt: skip


def only(dtype, name, change=lambda g: g):
    """The program for one dtype alone."""
    forward, backward, reference = PROGRAMS[name]

    def forward_in_it(ctx, x):
        if x.dtype != dtype:
            raise TypeError(f"{dtype} only")
        return forward(ctx, x)

    return kernel(forward_in_it, lambda ctx, g: change(backward(ctx, g))), reference


def entry(place, factor):
    def change(g):
        flat = g.reshape(-1).clone()
        flat[place : place + 1] *= factor
        return flat.view(g.shape)

    return change


def typical(reference, x):
    """The place of an entry that is as large as most."""
    v = x.double().requires_grad_()
    (g,) = torch.autograd.grad(reference(v).square().sum(), v)
    return int((g.abs() - g.square().mean().sqrt()).abs().argmin())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("factor", [3, 1.2, 0.5, -1])
@pytest.mark.parametrize("name", PROGRAMS)
def test_an_entry_of_16_bits_that_is_a_fifth_off_is_wrong_and_named(name, factor, dtype):
    x = (2 * draw(16, 24)).to(dtype)
    place = typical(PROGRAMS[name][2], x)
    report = check_autograd_function(*only(dtype, name, entry(place, factor)), [x])
    assert report.verdict == "wrong", str(report)
    assert f"in 1 of 384 entries, the first at [{place // 24}, {place % 24}]" in report.message, str(report)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("slip", [1e-3, 1e-4])
def test_an_entry_of_float32_that_is_1e_4_off_is_wrong(name, slip):
    x = (2 * draw(100, 70)).float()
    change = entry(typical(PROGRAMS[name][2], x), 1 + slip)
    report = check_autograd_function(*only(torch.float32, name, change), [x])
    assert report.verdict == "wrong", str(report)


def test_an_entry_of_float64_that_is_1e_12_off_is_wrong_among_20000():
    change = entry(555, 1 + 1e-12)
    x = draw(200, 100)
    report = check_autograd_function(*only(torch.float64, "tanh", change), [x])
    assert report.verdict == "wrong", str(report)
    assert "in 1 of 20000 entries, the first at [5, 55]" in report.message


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(PROGRAMS)),
    dtype=st.sampled_from([torch.bfloat16, torch.float16, torch.float32]),
    scale=st.sampled_from([0.5, 1, 3, 8, 20]),
    shape=st.sampled_from([(5,), (6, 8), (16, 24), (3, 4, 5), (40, 1)]),
    number=st.integers(0, 9),
)
def test_right_programs_of_one_dtype_are_right_wherever_they_saturate(name, dtype, scale, shape, number):
    x = (scale * draw(*shape, number=number)).to(dtype)
    report = check_autograd_function(*only(dtype, name), [x])
    excused = report.verdict == "not_comparable" and "give" in report.message
    assert report.verdict == "right" or excused, f"{name} {scale} {shape} {number} {report}"


NEAR_MISSES = [
    ("silu", torch.float16, 20, 5, 2), ("silu", torch.float16, 20, 3, 10),
    ("softmax", torch.bfloat16, 8, 5, 2), ("softmax", torch.bfloat16, 8, 7, 2),
    ("softmax", torch.float16, 8, 5, 7),
    ("softmax", torch.float32, 3, 5, 2), ("softmax", torch.float32, 8, 5, 10),
]  # fmt: skip


@pytest.mark.parametrize(("name", "dtype", "scale", "size", "number"), NEAR_MISSES)
def test_what_is_off_by_a_little_in_one_run_is_looked_at_elsewhere(name, dtype, scale, size, number):
    x = (scale * draw(size, number=number)).to(dtype)
    report = check_autograd_function(*only(dtype, name), [x])
    assert report.verdict == "right", str(report)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_fifth_off_in_one_of_five_entries_is_no_near_miss(name):
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        for number in range(3):
            x = (2 * draw(5, number=number)).to(dtype)
            change = entry(typical(PROGRAMS[name][2], x), 1.2)
            report = check_autograd_function(*only(dtype, name, change), [x])
            assert report.verdict == "wrong", f"{dtype} {number} {report}"


@pytest.mark.parametrize("slip", [3e-6, 1e-2])
@pytest.mark.parametrize("size", [3, 7])
def test_a_slip_that_shows_in_one_run_alone_is_no_near_miss(size, slip):
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        off = 1 + slip if g.stride() == (0,) else 1
        return off * g * (1 - y * y)

    function = kernel(only_float32, backward)
    report = check_autograd_function(function, torch.tanh, [draw(size).float()])
    assert report.verdict == "wrong", str(report)
    assert "wrong only for an expanded upstream" in report.message


def only_float32(ctx, x):
    if x.dtype != torch.float32:
        raise TypeError("float32 only")
    return keep(ctx, x.tanh())


def test_the_report_says_how_small_a_slip_of_one_entry_is_seen():
    report = check_autograd_function(*only(torch.bfloat16, "silu"), [draw(16, 24, dtype=torch.bfloat16)])
    assert report.verdict == "right"
    assert "a typical entry to 0." in report.message


def reference(x, w):
    wide = x if x.dtype == torch.float64 else x.float()
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5) * w.to(wide.dtype)).to(x.dtype)


def root_mean_square(change):
    def forward(ctx, x, w):
        if x.dtype == torch.float64:
            raise TypeError("float64 is not supported")
        s = torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-5)
        ctx.save_for_backward(x, w, s)
        return (x.float() * s * w.float()).to(x.dtype)

    def backward(ctx, g):
        x, w, s = ctx.saved_tensors
        hat, d = x.float() * s, g.float() * w.float()
        dx = change(s * (d - hat * (d * hat).mean(-1, keepdim=True)))
        return dx.to(x.dtype), (g.float() * hat).sum(0).to(w.dtype)

    return kernel(forward, backward)


def times(factor, rows, columns=slice(None)):
    def change(v):
        v[rows, columns] *= factor
        return v

    return change


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize(
    ("change", "right"),
    [
        (times(1, 5), True), (times(-1, 5, 7), False), (times(3, 5, 7), False), (times(1.2, 5), False),
        (times(0.8, 5), False),
    ],
)  # fmt: skip
def test_one_entry_and_one_row_are_seen(change, right, number, dtype):
    given = [draw(64, 32, dtype=dtype, number=number), draw(32, dtype=dtype, number=number + 9)]
    report = check_autograd_function(root_mean_square(change), reference, given)
    assert (report.verdict == "right") == right, str(report)
    if not right:
        assert "entries, the first at [5, " in report.message, str(report)
