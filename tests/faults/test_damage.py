"""Files that are cut, flipped, swapped or another's: read right, or refused in one line; fuzzed by thousands.

Nothing in them is executed, nothing hangs, and the process stays below 2 GB. MLP_FUZZ says how many inputs
are drawn in all (20,000 unless told).
"""

import contextlib
import gzip
import io
import os
import pickle
import random
import resource
import shutil
import signal
import zipfile
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from manual.numbers import fingerprint
from mlp_torch import artifact, checkpoint
from mlp_torch.__main__ import parse
from mlp_torch.data.config import DataFlags
from mlp_torch.data.loading import load
from mlp_torch.errors import UserError
from mlp_torch.inference.listing import read as read_run
from mlp_torch.resume import begun
from tests.faults.processes import Processes
from tests.mlp_torch.running import train, weights

DRAWN = int(os.environ.get("MLP_FUZZ", "20000"))
SECONDS = 20


class Bomb:
    """What a pickle of it would do to whoever reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Another file: cut, flipped, doubled, with parts taken out, moved or of another kind."""
    data = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 5, 20])):
        a, b = sorted(draw.randrange(len(data) + 1) for _ in range(2))
        match draw.randrange(9):
            case 0:
                data = data[:a]
            case 1 if data:
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            case 2:
                del data[a : min(b, a + 40)]
            case 3:
                data[a:a] = data[a : min(b, a + 200)]
            case 4:
                data[a:a] = draw.randbytes(draw.randrange(1, 30))
            case 5:
                odd = [
                    b"\x00",
                    b"\xff\xfe",
                    b'"',
                    b",",
                    b"\n",
                    b"\r",
                    b"nan",
                    b"1e999",
                    b"-",
                    b"{",
                    b"=",
                    b"\xc3",
                ]
                data[a:a] = draw.choice(odd) * draw.choice([1, 1, 3, 1000])
            case 6:
                data[a:b] = bytes(reversed(data[a:b]))
            case 7:
                data[a : a + 8] = draw.randbytes(8)
            case _:
                data[a : a + 1] = str(draw.randrange(-(10**9), 10**9)).encode()
    return bytes(data)


def _csv(draw: random.Random) -> bytes:
    rows = [f"{draw.gauss(0, 1):.4g},{draw.randrange(9)},{draw.choice('abc')},{draw.choice(['y', 'n'])}"
            for _ in range(60)]  # fmt: skip
    return ("\n".join(["x,k,c,target", *rows]) + "\n").encode()


def _frame(draw: random.Random) -> pl.DataFrame:
    return pl.read_csv(io.BytesIO(_csv(draw)))


def _parquet(draw: random.Random) -> bytes:
    box = io.BytesIO()
    _frame(draw).write_parquet(box)
    return box.getvalue()


def _npz(draw: random.Random) -> bytes:
    box = io.BytesIO()
    columns = {"x": np.random.default_rng(draw.randrange(99)).normal(size=(40, 3)), "y": np.arange(40) % 2}
    np.savez(box, **columns)
    return box.getvalue()


TABLES = {
    ".csv": _csv,
    ".csv.gz": lambda draw: gzip.compress(_csv(draw)),
    ".tsv": lambda draw: _csv(draw).replace(b",", b"\t"),
    ".parquet": _parquet,
    ".npz": _npz,
}


@pytest.fixture
def calm(tmp_path, monkeypatch):
    """A folder of its own; whatever takes longer than SECONDS fails, and so does a bomb that went off."""
    monkeypatch.chdir(tmp_path)

    def late(number, frame):
        raise AssertionError("hangs")

    before = signal.signal(signal.SIGALRM, late)
    yield tmp_path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    assert not (tmp_path / "executed").exists()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 * 2**20  # kB


def refused_or_read(act, content: bytes) -> bool:
    """Whether it was read; the message of a refusal is one line."""
    signal.alarm(SECONDS)
    try:
        act()
        said = ""
    except UserError as error:
        said = str(error)
    finally:
        signal.alarm(0)
    assert "\n" not in said, (said, content)
    return not said


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


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that was cut, as all its kinds of file."""
    runs = tmp_path_factory.mktemp("runs")
    assert train(runs, "--data xor --epochs 3 --hidden 4") == 0
    folder = runs / "run"
    config = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(config.replace("interrupted = false", "interrupted = true"))
    return folder


ACTS = {
    "model.safetensors": artifact.read,
    "checkpoint.safetensors": checkpoint.last,
    "config.toml": lambda run: resumed(run),
    "metrics.jsonl": read_run,
}


def resumed(run: Path) -> None:
    begun(parse(["train", "--resume", str(run)])).lock.release()


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


@pytest.mark.parametrize("name", ["model.safetensors", "checkpoint.safetensors"])
def test_a_flipped_bit_is_never_read_as_something_else(name, calm, run):
    """A model's metadata may hold text that nobody reads; a checkpoint has a checksum over everything."""
    draw = random.Random(name)
    copy = calm / "run"
    shutil.copytree(run, copy)
    whole, expected = (copy / name).read_bytes(), weights(run)
    for _ in range(60):
        content = bytearray(whole)
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        (copy / name).write_bytes(content)
        try:
            found = ACTS[name](copy)
        except UserError:
            continue
        assert name == "model.safetensors", "a damaged checkpoint was taken for a good one"
        assert all(np.isfinite(value).all() for value in found[1].values())
        assert fingerprint(found[1]) == fingerprint(expected)


def test_pickles_in_any_file_are_refused_and_not_executed(calm, run):
    bomb = pickle.dumps(Bomb(calm / "executed"))
    objects = io.BytesIO()
    np.savez(objects, x=np.array([Bomb(calm / "executed")] * 3, dtype=object), y=np.arange(3))
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w") as archive:
        archive.writestr("x.npy", bomb)
        archive.writestr("data.pkl", bomb)
    for content in (bomb, objects.getvalue(), inside.getvalue()):
        for suffix in TABLES:
            file = calm / f"t{suffix}"
            file.write_bytes(content)
            assert not refused_or_read(lambda file=file: load(DataFlags(data=str(file))), content)
    copy = calm / "run"
    shutil.copytree(run, copy)
    for name in ("model.safetensors", "checkpoint.safetensors", "config.toml"):
        whole = (copy / name).read_bytes()
        (copy / name).write_bytes(bomb)
        assert not refused_or_read(lambda name=name: ACTS[name](copy), bomb)
        (copy / name).write_bytes(whole)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("suffix", [*TABLES, ".safetensors", ".folder"])
def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(suffix, calm):
    pipe = calm / f"pipe{suffix}"
    if suffix == ".folder":
        pipe.mkdir()
        os.mkfifo(pipe / "model.safetensors")
    else:
        os.mkfifo(pipe)
    table = partial(load, DataFlags(data=str(pipe)))
    assert not refused_or_read(table if suffix in TABLES else partial(artifact.read, pipe), b"")


def test_a_damaged_event_file_costs_no_epoch_that_is_trained_after_it(calm, run):
    """The run goes on with the bytes that its checkpoint names; what is behind them is cut away."""
    from mlp_torch.__main__ import main

    copy = calm / "run"
    shutil.copytree(run, copy)
    (events,) = copy.glob("events.out.tfevents.*")
    with events.open("ab") as file:
        file.write(b"half a record")
    assert main(["train", "--resume", str(copy), "--epochs", "5"]) == 0
    steps = [e.step for e in EventFileLoader(str(events)).Load() if e.HasField("summary")]
    assert max(steps) == 5
