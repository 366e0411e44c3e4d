"""A search leaves no trace: arrays, globals, generators, streams and files are as they were found."""

import random
import sys

import numpy as np
import pytest

from mlp_torch import check_function
from mlp_torch.check.functions.calling.adapters import adapt
from mlp_torch.check.functions.copies import Copies
from mlp_torch.check.lines.guilty import guilty_lines
from mlp_torch.check.lines.program import Program, Sources, UnavailableError
from mlp_torch.check.lines.state import digest
from tests.mlp_torch.check.lines.two_layers import BEYOND, SLIPS, lines_of, net
from tests.mlp_torch.check.lines.written import slipped, written

STATE = {
    "a counter": ("COUNT = 0\ndef g():\n    global COUNT\n    COUNT += 1\n    return 0.1 * COUNT", "COUNT"),
    "a cache": ("C = {}\ndef g():\n    C[len(C)] = 1\n    return 0.1 * len(C)", "C"),
    "a list": ("C = []\ndef g():\n    C.append(0.1)\n    return sum(C)", "C"),
    "a default": ("def g(c=[]):\n    c.append(0.1)\n    return sum(c)\nC = g.__defaults__", "C"),
    "a class": ("class K:\n    c = 0\ndef g():\n    K.c += 1\n    return 0.1 * K.c\nC = K", "C"),
    "a generator": ("R = np.random.default_rng(3)\ndef g():\n    return 0.1 * R.normal()", "R"),
    "an old generator": ("R = np.random.RandomState(3)\ndef g():\n    return 0.1 * R.normal()", "R"),
    "the global generator": ("def g():\n    return 0.1 * np.random.normal()\nC = 0", "C"),
}


KEY = pytest.StashKey[int]()


class Held:
    factor = 2.0


def said(value):
    if isinstance(value, type):
        return {k: v for k, v in vars(value).items() if not k.startswith("__")}
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    return repr(value.get_state() if isinstance(value, np.random.RandomState) else value)


@pytest.mark.parametrize("what", list(STATE))
def test_what_the_module_holds_is_left_as_found_and_every_run_starts_from_it(what, tmp_path):
    before, name = STATE[what]
    source, number = slipped(net(before, "np.tanh(z1) * (1 + g())"), "da1 * (1 - a1**2)", "da1")
    module = written(tmp_path, source)
    author = adapt(module.f, module.P, module.D, {})  # which calls it
    found, state = said(getattr(module, name)), said(np.random.mtrand._rand)
    program = Program(author.fresh, author.loss, Sources())
    runs = [program.run(author.parameters, author.data)[0] for _ in range(3)]
    assert len(set(runs)) == 1
    lines, _ = guilty_lines(author.fresh, author.loss, author.parameters, author.data, {}, 20.0)
    assert said(getattr(module, name)) == found
    assert said(np.random.mtrand._rand) == state
    assert [line.line for line in lines] == [number]


def test_generators_given_as_data_are_left_as_found_and_draw_the_same_in_every_run(tmp_path):
    mask = "m = rng.random(z1.shape) < 0.7\n    a1 = np.tanh(z1) * m"
    source = net(derivative="m - a1**2").replace("a1 = np.tanh(z1)", mask).replace("x, y):", "x, y, rng):")
    source = source.replace("D = (", "D = (*(").rstrip()[:-1] + "), np.random.default_rng(5))\n"
    source, number = slipped(source, "da1 * (m - a1**2)", "da1 * (1 - a1**2)")
    module = written(tmp_path, source)
    state = said(module.D[2])
    report = check_function(module.f, module.P, *module.D, timeout=20)
    assert said(module.D[2]) == state
    assert [line.line for line in report.lines] == [number], str(report)


def test_the_callers_arrays_are_left_as_found(tmp_path):
    source, number = slipped(net().replace("e = z2 - y", "z2 -= y\n    e = z2"), *SLIPS[1])
    module = written(tmp_path, source.replace("    z1 =", "    x = x.copy()\n    x *= 1.0\n    z1 =", 1))
    arrays = [*module.P.values(), *module.D]
    before = [a.copy() for a in arrays]
    lines, _ = lines_of(module)
    assert [line.line for line in lines] == [number + 2]
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True))


EXITS = "if not (np.abs(z1) < 50).all() or a1.shape != (7, 5):\n        sys.exit('diverged')\n    z2 ="


def test_an_exit_inside_is_survived(tmp_path):
    for activation in ("np.tanh(z1)", BEYOND["bytes"][1]):
        source, number = slipped(net(activation=activation).replace("z2 =", EXITS, 1), *SLIPS[0])
        lines, _ = lines_of(written(tmp_path, source))
        assert [line.line for line in lines] == [number]


def test_a_program_that_always_exits_has_no_line_and_ends_nothing(tmp_path):
    module = written(tmp_path, net().replace("return loss", "sys.exit(3)\n    return loss"))
    program = Program(module.f, module.f, Sources())
    with pytest.raises(UnavailableError, match=r"sys\.exit"):
        program.run(module.P, module.D)
    lines, why = guilty_lines(module.f, module.f, module.P, module.D, {}, 5.0)
    assert (lines, "sys.exit(3)" in why) == ([], True)


def kept(folder):
    """What is in the files there, but for the interpreter's own."""
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc"}


def test_prints_are_captured_and_nothing_is_written_or_run_again(tmp_path, capfd):
    top = "import pathlib\nLOG = pathlib.Path(__file__).with_suffix('.log')"
    top += "\nwith LOG.open('a') as out:\n    out.write('run')"
    noise = "print('inside'); print('inside', file=sys.stderr)\n    z2 ="
    source, number = slipped(net(top).replace("z2 =", noise, 1), *SLIPS[0])
    module = written(tmp_path, source)
    files = kept(tmp_path)
    capfd.readouterr()
    lines, _ = lines_of(module)
    assert [line.line for line in lines] == [number]
    assert "inside" not in "".join(capfd.readouterr())
    assert kept(tmp_path) == files
    assert module.LOG.read_text() == "run"


def test_the_random_module_and_the_streams_are_left_as_found(tmp_path):
    source, _ = slipped(net("import random", "np.tanh(z1) * (1 + random.random())"), *SLIPS[0])
    module = written(tmp_path, source)
    author = adapt(module.f, module.P, module.D, {})
    random.seed(11)
    state, streams = random.getstate(), (sys.stdout, sys.stderr)
    guilty_lines(author.fresh, author.loss, author.parameters, author.data, {}, 5.0)
    assert random.getstate() == state
    assert (sys.stdout, sys.stderr) == streams


def test_an_object_that_no_copy_is_made_of_is_not_looked_into(pytestconfig):
    held = Held()

    def function(p, x):
        return (held.factor * p["w"] * x).sum(), {"w": x, "what": pytestconfig}

    copies = Copies()
    copies.of(function)
    before = digest(copies)
    pytestconfig.stash[KEY] = 1
    assert digest(copies) == before
    copies.of(held).factor = 3.0
    assert digest(copies) != before
