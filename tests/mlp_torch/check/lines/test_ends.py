"""An edit that makes a loop endless is tried like any other, and ends."""

import ast

import pytest

from mlp_torch import check_function
from mlp_torch.check.lines.program import key_of
from mlp_torch.check.lines.syntax import compiled
from tests.mlp_torch.check.lines.written import slipped, written

NET = """import itertools

import numpy as np


def loss_and_gradients(p, x, y):
    "A recurrent net whose loops have no bound but a break."
    hs = [np.zeros(p["U"].shape[0])]
    t = 0
    while t < len(x):
        hs.append(np.tanh(x[t] @ p["W"] + hs[t] @ p["U"]))
        t += 1
    loss = 0.5 * np.sum((hs[-1] - y) ** 2)
    g = {k: np.zeros_like(v) for k, v in p.items()}
    dh = hs[-1] - y
    for t in itertools.count(len(x) - 1, -1):
        if t < 0:
            break
        dz = dh * (1 - hs[t + 1] ** 2)
        g["W"] += np.outer(x[t], dz)
        g["U"] += np.outer(hs[t], dz)
        dh = p["U"] @ dz
    t = len(x)
    while t > 0:
        t -= 1
        g["W"] += 0 * x[t][:, None]
    return loss, g


r = np.random.default_rng(0)
parameters = {"W": r.normal(size=(3, 4)), "U": 0.5 * r.normal(size=(4, 4))}
x, y = r.normal(size=(5, 3)), r.normal(size=4)
"""
SLIPS = (
    ("g[\"U\"] += np.outer(hs[t], dz)", "g[\"U\"] += np.outer(hs[t + 1], dz)"),
    ("if t < 0:", "if t < 1:"),
    ("dh = p[\"U\"] @ dz", "dh = p[\"U\"].T @ dz"),
)  # fmt: skip


@pytest.mark.parametrize("loop", ["while True:", "for t in itertools.count():"])
def test_a_loop_that_does_not_end_raises(loop):
    lines = ["import itertools", "", "def f(n):", f"    {loop}", "        n += 1", "    return n"]
    (code,) = compiled(lines, 3, 6, "endless.py").values()
    space: dict = {}
    exec("import itertools\n\ndef f(n): pass", space)
    space["f"].__code__ = code
    with pytest.raises(RuntimeError, match="does not end"):
        space["f"](0)


def test_what_counts_the_turns_moves_no_line():
    last = NET.splitlines().index("    return loss, g") + 1
    codes = compiled(NET.splitlines(), 6, last, "net.py").values()
    code = next(c for c in codes if c.co_name == "loss_and_gradients")
    original = next(c for c in compile(NET, "net.py", "exec").co_consts if hasattr(c, "co_code"))
    assert key_of(code) == key_of(original)
    lines = {n.lineno for n in ast.walk(ast.parse(NET)) if isinstance(n, ast.stmt)}
    assert {line for *_, line in code.co_lines() if line is not None} <= lines | {6}
    assert code.co_freevars == original.co_freevars


@pytest.mark.parametrize(("old", "new"), SLIPS)
def test_a_slip_beside_endless_loops_is_named(old, new, tmp_path):
    source, number = slipped(NET, old, new)
    module = written(tmp_path, source)
    report = check_function(module.loss_and_gradients, module.parameters, module.x, module.y, timeout=300)
    (line,) = report.lines
    assert number in [line.line, *(other.line for other in line.alternatives)], str(report)
    assert line.mended is not None
