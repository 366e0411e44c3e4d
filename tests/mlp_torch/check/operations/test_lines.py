"""The line of a Python backward that is to blame, proven and mended."""

import json
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional

from mlp_torch import check_autograd_function
from mlp_torch.check.functions.copies import written as by_author
from tests.mlp_torch.check.lines.written import slipped, written
from tests.mlp_torch.check.operations.backwards import ALL, HEAD, PROGRAMS, checked
from tests.mlp_torch.check.operations.kernels import RIGHT, draw, kernel


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
