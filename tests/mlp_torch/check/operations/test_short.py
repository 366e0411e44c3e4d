"""In dtypes of 16 bits single entries and rows are judged, not only the norm of all."""

import pytest
import torch

from mlp_torch import check_autograd_function
from tests.mlp_torch.check.operations.kernels import draw, kernel


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
