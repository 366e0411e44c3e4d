"""Thousands of damaged files and odd command lines: read right, or refused in one line.

Nothing hangs, and the process stays below 2 GB. MLP_FUZZ says how many inputs are drawn in all (20,000 unless
told).
"""

import contextlib
import io
import os
import random
import shutil
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mlp_torch.__main__ import main, parse
from mlp_torch.data.config import DataFlags
from mlp_torch.data.loading import load
from tests.faults.damage import ACTS, TABLES, mutated, refused_or_read
from tests.faults.processes import Processes

DRAWN = int(os.environ.get("MLP_FUZZ", "20000"))


def of_tables(count: int, folder: Path) -> tuple[int, int]:
    draw, read = random.Random(count), 0
    for i in range(count):
        suffix = draw.choice(list(TABLES))
        content = mutated(TABLES[suffix](draw), draw)
        file = folder / f"t{suffix}"
        file.write_bytes(content)
        flags = DataFlags(data=str(file), target=draw.choice([None, None, "target", "x"]))
        read += refused_or_read(partial(load, flags, seed=i), content)
    return count, read


def of_runs(name: str, count: int, folder: Path, run: Path) -> tuple[int, int]:
    draw, read = random.Random(f"{name} {count}"), 0
    copy = folder / "run"
    shutil.copytree(run, copy)
    whole = (copy / name).read_bytes()
    for _ in range(count):
        content = mutated(whole, draw)
        (copy / name).write_bytes(content)
        read += refused_or_read(lambda: ACTS[name](copy), content)
    return count, read


WORDS = [
    'train', 'compare', 'check', 'explain', 'sweep', 'evaluate', 'predict', 'export', 'runs', 'lecture',
    '--data', '--hidden', '--lr', '--epochs', 'xor', 'iris', 'digits', '3', '-1', '0', '1e309', 'nan',
    'inf', '--engine', 'compiled', 'autograd', '--dropout', '0.5', '--name', 'x', '--runs-dir',
    '--target', '--resume', '--batch-size', '--optimizer', 'sgd', '--momentum', '--keep', 'best',
    '--sweep', 'lr=1e-3:1', 'lr=1,2', '--trials', '--json', '--plot', '--format', 'onnx', '--out',
    '--parameter', 'layers.0.weight[0,0]', '--sample', 'f.npz', 'f.py:g', '--activations', 'relu',
    'tanh', '--loss', 'mse', '--', '---', '-h=', '--no-shuffle', '--lr=0', '--hidden=5', "''", '\x00',
    '\ufffd', '\U0001f4a5', '--epochs=-3', '1_000', '0x10',
]  # fmt: skip


def of_command_lines(count: int) -> tuple[int, int]:
    draw, read = random.Random(count), 0
    for _ in range(count):
        begun = draw.choice([[], [], [], ["train", "--data", "xor"], ["runs"], ["compare", "--hidden", "3"]])
        line = begun + [draw.choice(WORDS) for _ in range(draw.randrange(0 if begun else 1, 9))]

        def act(line=line):
            with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):  # --help
                parse(line).check()

        read += refused_or_read(act, repr(line).encode())
    return count, read


def some_of_each(found: tuple[int, int]) -> None:
    count, read = found
    print(f"{count} inputs, {read} read, {count - read} refused in one line")
    assert 0 < read < count


def test_some_damaged_files_and_odd_command_lines_are_read_right_or_refused_in_one_line(calm, run):
    some_of_each(of_tables(100, calm))
    for name in ACTS:
        of_runs(name, 40, calm / name, run)
    some_of_each(of_command_lines(100))


@pytest.mark.long
def test_fuzzed_tables_are_read_right_or_refused_in_one_line(calm):
    some_of_each(of_tables(DRAWN // 2, calm))


@pytest.mark.long
@pytest.mark.parametrize("name", ACTS)
def test_fuzzed_files_of_a_run_are_read_right_or_refused_in_one_line(name, calm, run):
    of_runs(name, DRAWN // 10, calm / name, run)


@pytest.mark.long
def test_fuzzed_command_lines_are_refused_in_one_line(calm):
    some_of_each(of_command_lines(DRAWN // 10))


GIVEN = ["--activations", "identity", "--loss", "squared_error"]


def of_gradients(count: int, folder: Path) -> tuple[int, int]:
    """`mlp check FILE.npz`: exit 0 or 1 with a verdict, or 2 with one line."""
    draw, read, file = random.Random(count), 0, folder / "g.npz"
    rng = np.random.default_rng(0)
    x, w, y = rng.normal(size=(6, 4)), rng.normal(size=(4, 2)), rng.normal(size=(6, 2))
    box = io.BytesIO()
    np.savez(box, x=x, y=y, W=w, dW=2 * x.T @ (x @ w - y) / 6)
    for _ in range(count):
        file.write_bytes(content := mutated(box.getvalue(), draw))
        said = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            code = main(["check", str(file), *GIVEN])
        assert code in (0, 1) or (code == 2 and said.getvalue().count("\n") == 1), (said.getvalue(), content)
        read += code != 2
    return count, read


@pytest.mark.long
def test_fuzzed_gradients_are_judged_or_refused_in_one_line(calm):
    some_of_each(of_gradients(DRAWN // 10, calm))


NET = b"""import numpy as np

rng = np.random.default_rng(0)
parameters = {"W1": rng.normal(size=(3, 5)), "b1": rng.normal(size=5), "W2": rng.normal(size=(5, 2))}
x, y = rng.normal(size=(7, 3)), rng.normal(size=(7, 2))


def f(parameters, x, y):
    z = x @ parameters["W1"] + parameters["b1"]
    h = np.tanh(z)
    gap = h @ parameters["W2"] - y
    loss = np.mean(gap**2)
    d = 2 * gap / gap.size
    dz = d @ parameters["W2"].T * (1 - h**2)
    return loss, {"W1": x.T @ dz, "b1": dz.sum(axis=0), "W2": h.T @ d}
"""


SLIPS = [
    (b"2 * gap", b"gap"), (b"axis=0", b"axis=1"), (b"tanh", b"sin"), (b"h**2", b"h"), (b".T", b""),
    (b"dz", b"d"), (b"- y", b"+ y"), (b"mean", b"sum"), (b"x @", b"y @"), (b"(7, 3)", b"(0, 3)"),
    (b"float", b"int"), (b"normal", b"uniform"), (b"return loss", b"return float(loss)"),
    (b'"b1"', b'"b2"'), (b"7", b"1"),
]  # fmt: skip


def slipped(content: bytes, draw: random.Random) -> bytes:
    """With a slip or two in it, a line taken out or doubled: still a program."""
    for _ in range(draw.choice([0, 1, 1, 2])):
        old, new = draw.choice(SLIPS)
        content = content.replace(old, new, draw.choice([1, 1, 9]))
    lines = content.splitlines(keepends=True)
    if draw.random() < 0.3:
        i = draw.randrange(len(lines))
        lines[i : i + 1] = draw.choice([[], [lines[i]] * 2])
    return b"".join(lines)


def of_check_files(count: int, folder: Path) -> Counter[int]:
    draw, codes = random.Random(count), Counter[int]()
    flags = ["--timeout", "1", "--max-seconds", "10", "--max-memory", "1"]
    with Processes() as processes:
        for _ in range(count):
            (folder / "net.py").write_bytes(draw.choice([mutated, slipped, slipped])(NET, draw))
            ended = processes.run(["check", "net.py:f", *flags], folder)
            assert ended.code in (0, 1, 2), ended.text
            assert "Traceback" not in ended.text
            assert ended.text.startswith("right") == (ended.code == 0)
            codes[ended.code] += 1
    return codes


@pytest.mark.long
def test_fuzzed_check_files_are_judged_or_refused(calm):
    codes = of_check_files(DRAWN // 100, calm)
    print(codes)
    assert all(codes[code] for code in (0, 1, 2))
