"""The output of a compiled kernel that is to blame, and a Python line beside one."""

import pytest
import torch
from torch.nn import functional

from tests.mlp_torch.check.operations.backwards import checked
from tests.mlp_torch.check.operations.kernels import draw

# a compiled kernel: an operator of a library's, whose body is not the author's to read


def _fill(g, x, out):
    out.copy_(-(g.T @ x))


LIBRARY = torch.library.Library("mlp_torch_test_lines", "DEF")
LIBRARY.define("linear_backward(Tensor g, Tensor x, Tensor w) -> (Tensor, Tensor)")
LIBRARY.define("fill(Tensor g, Tensor x, Tensor(a!) out) -> ()")
LIBRARY.define("linear(Tensor x, Tensor w) -> Tensor")
LIBRARY.impl("linear_backward", lambda g, x, w: (g @ w, 2 * (g.T @ x)), "CPU")
LIBRARY.impl("linear", lambda x, w: x @ w.T, "CPU")
LIBRARY.impl("fill", _fill, "CPU")
COMPILED = """ext = torch.ops.mlp_torch_test_lines


class Kernel(Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return ext.linear(x, w)

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
{}"""
BODIES = {
    "unpacked": (
        "        grad_x, grad_weight = ext.linear_backward(g, x, w)\n        return grad_x, grad_weight\n",
        "grad_weight, output 1 of ext.linear_backward at {}.py:18, is wrong: is 2 times what it should be",
    ),
    "returned": (
        "        return ext.linear_backward(g, x, w)\n",
        "grad_w, output 1 of ext.linear_backward at {}.py:18, is wrong: is 2 times what it should be",
    ),
    "filled in": (
        "        grad_weight = torch.empty_like(w)\n        ext.fill(g, x, grad_weight)\n"
        "        return g @ w, grad_weight\n",
        "grad_weight, filled in by a call of ext.fill at {}.py:19, is wrong: has the opposite sign",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_the_output_of_a_compiled_kernel_that_is_wrong_is_named(name, tmp_path):
    body, words = BODIES[name]
    module, report = checked(
        tmp_path, COMPILED.format(body), functional.linear, [draw(5, 7), draw(3, 7, number=2)]
    )
    (line,) = report.lines
    assert line.explanation == words.format(module.__name__), str(report)
    assert (line.arrays, line.proof, line.mended) == (("input1",), True, None)
    assert line.kernel
    assert line.explanation in str(report)


def test_a_python_line_beside_a_compiled_forward_is_mended_by_edits(tmp_path):
    body = "        gx = g @ w * 3\n        return gx, g.T @ x\n"
    _, report = checked(
        tmp_path, COMPILED.format(body), functional.linear, [draw(5, 7), draw(3, 7, number=2)]
    )
    (line,) = report.lines
    assert (line.line, line.kernel) == (18, ""), str(report)
    assert line.mended is not None
