"""The line of a Python backward that is to blame, proven and mended; a kernel's output that is."""

import json
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional

from mlp_torch import check_autograd_function
from mlp_torch.check.functions.copies import written as by_author
from tests.mlp_torch.check.lines.written import slipped, written
from tests.mlp_torch.check.operations.kernels import RIGHT, draw, kernel

HEAD = """import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable


"""
LINEAR = """class Kernel(Function):
    @staticmethod
    def forward(ctx, x, w, b=None):
        ctx.save_for_backward(x, w)
        ctx.biased = b is not None
        out = x @ w.T
        if b is not None:
            out += b
        return out

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        gx = gw = gb = None
        if ctx.needs_input_grad[0]:
            gx = g @ w
        if ctx.needs_input_grad[1]:
            gw = g.T @ x
        if ctx.biased:
            gb = g.sum(0)
        print("a print of the author's")
        return gx, gw, gb
"""
NORM = """class Kernel(Function):
    @staticmethod
    def forward(ctx, x, gamma, beta):
        away = x - x.mean(-1, keepdim=True)
        s = torch.rsqrt((away**2).mean(-1, keepdim=True) + 1e-5)
        ctx.save_for_backward(away * s, s, gamma)
        return away * s * gamma + beta

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        hat, s, gamma = ctx.saved_tensors
        d = g * gamma
        first = d.mean(-1, keepdim=True)
        second = (d * hat).mean(-1, keepdim=True)
        return s * (d - first - hat * second), (g * hat).sum(0), g.sum(0)
"""
SOFTMAX = """class Kernel(Function):
    @staticmethod
    def forward(x, heat):
        y = x.clone()
        y.sub_(y.amax(-1, keepdim=True)).div_(heat).exp_()
        y.div_(y.sum(-1, keepdim=True))
        return y

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.heat = inputs[1]
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        gx = g.clone()
        gx.mul_(y)
        gx.sub_(y * gx.sum(-1, keepdim=True))
        gx.div_(ctx.heat)
        return gx, None
"""
EMBEDDING = """class Kernel(Function):
    @staticmethod
    def forward(ctx, table, index):
        ctx.save_for_backward(index)
        ctx.rows = table.shape
        return table[index], table.sum(1)

    @staticmethod
    def backward(ctx, g, total):
        (index,) = ctx.saved_tensors
        grad = torch.zeros(ctx.rows, dtype=g.dtype)
        grad.index_add_(0, index, g)
        grad += total[:, None]
        return grad, None
"""
RECURRENT = """class Kernel(Function):
    @staticmethod
    def forward(ctx, x, w):
        h = torch.zeros_like(x[0])
        hs = [h]
        for t in range(len(x)):
            h = torch.tanh(x[t] + h @ w)
            hs.append(h)
        ctx.save_for_backward(w, *hs)
        return torch.stack(hs[1:])

    @staticmethod
    def backward(ctx, g):
        w, *hs = ctx.saved_tensors
        gx, gw = torch.zeros_like(g), torch.zeros_like(w)
        carry = torch.zeros_like(g[0])
        for t in reversed(range(len(g))):
            gz = (g[t] + carry) * (1 - hs[t + 1] ** 2)
            gx[t] = gz
            gw += hs[t].T @ gz
            carry = gz @ w.T
        return gx, gw
"""
FLOAT = """class Kernel(Function):
    @staticmethod
    def forward(ctx, x):
        wide = x.float()
        s = torch.sigmoid(wide)
        ctx.save_for_backward(wide, s)
        return (wide * s).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        wide, s = ctx.saved_tensors
        return (g.float() * (s + wide * s * (1 - s))).to(g.dtype)
"""


def recurrent(x, w):
    h, found = torch.zeros_like(x[0]), []
    for t in range(len(x)):
        h = torch.tanh(x[t] + h @ w)
        found.append(h)
    return torch.stack(found)


SHORT = torch.float32
# name: (source, reference, inputs, slips)
PROGRAMS = {
    "linear": (
        LINEAR, functional.linear, [draw(5, 7), draw(3, 7, number=2), draw(3, number=3)],
        [("g @ w", "-g @ w"), ("g.T @ x", "x.T @ g"), ("g.sum(0)", "g.mean(0)"), ("g.sum(0)", "x.sum(0)")],
    ),
    "layer norm": (
        NORM, lambda x, a, b: functional.layer_norm(x, (6,), a, b),
        [draw(5, 6), draw(6, number=2), draw(6, number=3)],
        [
            ("d.mean(-1", "d.mean(0"), ("(d * hat).mean", "(d * hat).sum"), ("g * gamma", "g"),
            ("- hat * second", "+ hat * second"),
        ],
    ),
    "softmax in place": (
        SOFTMAX, lambda x, heat: torch.softmax(x / heat, -1), [draw(4, 5), 1.5],
        [("gx.sub_", "gx.add_"), ("gx.mul_(y)", "gx.mul_(g)")],
    ),
    "embedding": (
        EMBEDDING, lambda t, i: (t[i], t.sum(1)), [draw(6, 3), torch.tensor([1, 3, 1, 5])],
        [("index_add_", "index_copy_"), ("total[:, None]", "2 * total[:, None]")],
    ),
    "recurrent": (
        RECURRENT, recurrent, [draw(4, 2, 3), draw(3, 3, number=2)],
        [
            ("hs[t + 1] ** 2", "hs[t] ** 2"), ("gw += hs", "gw = hs"), ("carry = gz @ w.T", "carry = gz @ w"),
        ],
    ),
    "float32 inside": (
        FLOAT, functional.silu, [draw(4, 5, dtype=SHORT)], [("(1 - s)", "(1 + s)"), ("wide * s *", "wide *")],
    ),
}  # fmt: skip
ALL = [(name, old, new) for name, (_, _, _, slips) in PROGRAMS.items() for old, new in slips]


def checked(folder, source, reference, inputs, **options):
    module = written(folder, HEAD + source, "kernel")
    return module, check_autograd_function(module.Kernel, reference, inputs, timeout=60, **options)


@pytest.mark.parametrize(("name", "old", "new"), ALL)
def test_a_slip_is_named_by_its_line_proven_and_mended(name, old, new, tmp_path):
    right, reference, inputs, _ = PROGRAMS[name]
    source, number = slipped(HEAD + right, old, new)
    module, report = checked(tmp_path, source.removeprefix(HEAD), reference, inputs)
    (line,) = report.lines
    assert (line.file, line.line) == (module.__file__, number), str(report)
    assert (line.code, line.proof) == (source.splitlines()[number - 1], True)
    wrong = {row.name.split()[0] for row in report.arrays.values() if row.verdict != "right"}
    assert set(line.arrays) >= wrong, str(report)
    mended = source.splitlines()
    mended[number - 1] = line.mended
    _, again = checked(tmp_path, "\n".join(mended).removeprefix(HEAD), reference, inputs)
    assert (again.verdict, again.lines) == ("right", ()), str(again)


@pytest.mark.parametrize("name", [*PROGRAMS, *RIGHT])
def test_a_right_function_has_no_guilty_line(name, tmp_path):
    if name in PROGRAMS:
        source, reference, inputs, _ = PROGRAMS[name]
        _, report = checked(tmp_path, source, reference, inputs)
    else:
        report = check_autograd_function(*RIGHT[name])
    assert (report.verdict, report.lines) == ("right", ()), str(report)


def test_a_helper_in_another_file_is_named_there(tmp_path):
    helper = written(tmp_path, "def slope(s, x):\n    return s + x * s * (1 + s)\n", "helper")
    source = f"""from {helper.__name__} import slope


class Kernel(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * slope(torch.sigmoid(x), x)
"""
    _, report = checked(tmp_path, source, functional.silu, [draw(4, 5)])
    (line,) = report.lines
    assert (line.file, line.line, line.mended) == (helper.__file__, 2, "    return s + x * s * (1 - s)")


def test_a_tensor_that_forward_saves_for_another_is_named_in_forward(tmp_path):
    source = """class Kernel(Function):
    @staticmethod
    def forward(ctx, x, w):
        z = x @ w
        a = torch.tanh(z)
        ctx.save_for_backward(x, w, z)
        return a

    @staticmethod
    def backward(ctx, g):
        x, w, a = ctx.saved_tensors
        gz = g * (1 - a**2)
        return gz @ w.T, x.T @ gz
"""
    _, report = checked(tmp_path, source, lambda x, w: torch.tanh(x @ w), [draw(4, 3), draw(3, 2, number=2)])
    (line,) = report.lines
    assert (line.function, line.mended.strip()) == ("forward", "ctx.save_for_backward(x, w, a)"), str(report)


def test_two_faults_are_two_lines(tmp_path):
    right, reference, inputs, _ = PROGRAMS["linear"]
    source, first = slipped(HEAD + right, "g @ w", "2 * g @ w")
    source, second = slipped(source, "g.sum(0)", "g.mean(0)")
    _, report = checked(tmp_path, source.removeprefix(HEAD), reference, inputs)
    assert sorted(line.line for line in report.lines) == [first, second], str(report)


def test_functions_that_a_callable_composes_are_looked_into(tmp_path):
    right, reference, inputs, _ = PROGRAMS["linear"]
    source, number = slipped(HEAD + right, "g.T @ x", "-g.T @ x")
    module = written(
        tmp_path, source + "\n\ndef both(x, w, b):\n    return Kernel.apply(torch.tanh(x), w, b)\n"
    )
    report = check_autograd_function(
        module.both, lambda x, w, b: reference(torch.tanh(x), w, b), inputs, timeout=60
    )
    assert [line.line for line in report.lines] == [number], str(report)


def test_text_json_and_the_notebook_show_the_line(tmp_path):
    right, reference, inputs, _ = PROGRAMS["linear"]
    source, number = slipped(HEAD + right, "g.sum(0)", "g.mean(0)")
    module, report = checked(tmp_path, source.removeprefix(HEAD), reference, inputs)
    shown = [f"{module.__name__}.py:{number} in backward", "mends it:  gb = g.sum(0)", "grad_input2 is right"]
    for words in shown:
        assert words in str(report)
        assert words in report._repr_html_()
    (line,) = json.loads(report.to_json())["lines"]
    assert (line["line"], line["arrays"], line["mended"].strip()) == (number, ["input2"], "gb = g.sum(0)")


def test_nothing_is_printed_written_or_left_changed(tmp_path, capsys):
    right, reference, inputs, _ = PROGRAMS["linear"]
    source, _ = slipped(HEAD + right, "g.sum(0)", "g.mean(0)")
    module = written(tmp_path, source + '\nprint("at the top")\n', "kernel")
    assert capsys.readouterr().out == "at the top\n"
    kept = [v.clone() for v in inputs]
    numpy_s, torch_s = np.random.get_state()[1].copy(), torch.get_rng_state()
    settings = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(), sys.gettrace()
    files, names = sorted(tmp_path.iterdir()), set(vars(module))
    backward = module.Kernel.backward
    assert check_autograd_function(module.Kernel, reference, inputs, timeout=60).lines
    assert capsys.readouterr().out == ""
    assert all(torch.equal(a, b) for a, b in zip(kept, inputs, strict=True))
    assert np.array_equal(numpy_s, np.random.get_state()[1])
    assert torch.equal(torch_s, torch.get_rng_state())
    now = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(), sys.gettrace()
    assert now == settings
    assert (sorted(tmp_path.iterdir()), set(vars(module))) == (files, names)
    assert module.Kernel.backward is backward
    assert by_author(backward.__code__.co_filename)


def test_the_time_limit_says_what_is_left_undone(tmp_path):
    right, reference, inputs, _ = PROGRAMS["layer norm"]
    source, _ = slipped(HEAD + right, "g * gamma", "g")
    module = written(tmp_path, source, "kernel")
    report = check_autograd_function(module.Kernel, reference, inputs, timeout=1e-6)
    assert report.verdict == "wrong"
    assert any("the search for lines ended after 1e-06 s" in note for note in report.notes)
    assert check_autograd_function(module.Kernel, reference, inputs, timeout=0).lines == ()


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


def test_what_mends_one_draw_alone_is_no_line():

    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x * w

    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return torch.cos(x * 31 + w), torch.sin(w * 17)

    report = check_autograd_function(
        kernel(forward, backward), torch.mul, [draw(3, 4), draw(3, 4, number=2)], timeout=5
    )
    assert report.verdict == "wrong"
    assert all(line.mended is None for line in report.lines), str(report)
