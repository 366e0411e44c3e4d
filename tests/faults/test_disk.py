"""A disk that is full, a folder that goes or may not be written: one line, exit code 2, and nothing is lost.

Small disks are file systems in memory of their own, in a namespace of their own where that is allowed;
elsewhere the size of a file is limited.
"""

import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mlp_torch import artifact

TRAIN = "train --data moons --epochs 60 --hidden 32 --runs-dir . --name run --engine"
LIMIT = "import resource, signal; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"


@pytest.fixture
def small(tmp_path):
    """Mounts a disk of so many kB; None where that is not allowed."""
    mounted = []

    def mount(size: int, inodes: int = 0) -> Path | None:
        disk = tmp_path / f"disk-{size}-{inodes}"
        disk.mkdir()
        options = f"size={size}k" + (f",nr_inodes={inodes}" if inodes else "")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True)
        if done.returncode:
            return None
        mounted.append(disk)
        return disk

    yield mount
    for disk in mounted:
        subprocess.run(["umount", disk], check=True)


def one_line(ended) -> None:
    assert ended.code == 2, ended.text
    said = [line for line in ended.text.splitlines() if line.startswith("mlp ")]
    assert len(said) == 1, ended.text
    assert "Traceback" not in ended.text


def nothing_half(folder: Path) -> None:
    """No temporary file is left, and every file that is there can be read."""
    if not folder.exists():
        return
    assert not [p for p in folder.rglob("*") if p.name.endswith(".part") or p.name.startswith(".")]
    for run in folder.glob("*/config.toml"):
        if (run.parent / artifact.FILE).exists():
            artifact.read(run.parent)


def kept_somewhere(text: str, folder: Path) -> None:
    """The message names a file of weights, and they are there, finite; the command ran in that folder."""
    where = next(line for line in text.splitlines() if line.startswith("mlp train"))
    if "are kept in " not in where:
        assert "no run can be kept" in where or "cannot be written" in where
        return
    file = folder / where.rpartition("are kept in ")[2]
    _, arrays = artifact.read(file)
    assert all(np.isfinite(value).all() for value in arrays.values())
    if file.parent.parent == Path("/tmp"):
        shutil.rmtree(file.parent)


def filled(processes, disk: Path, arguments: str, set_up: str = "") -> bool:
    """The command with that disk; whether it was too small."""
    ended = processes.run(
        arguments.split(), disk.parent, set_up=f"import os; os.chdir({str(disk)!r}); {set_up}"
    )
    if ended.code != 0:
        one_line(ended)
        if arguments.startswith("train"):
            kept_somewhere(ended.text, disk)
    nothing_half(disk)
    return ended.code != 0


SIZES = (32, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 2048)


@pytest.mark.long
@pytest.mark.parametrize("engine", ["compiled", "manual", "torch", "autograd", "both"])
def test_a_full_disk_at_any_stage_of_training_costs_one_line_and_no_weights(engine, processes, small):
    if small(16) is None:
        pytest.fail("no file system can be mounted here; run as root, or by unshare -rm")
    found = [filled(processes, small(size, 1), f"{TRAIN} {engine}") for size in (32, 64)]
    found = [filled(processes, small(size), f"{TRAIN} {engine}") for size in SIZES]
    assert any(found)
    assert not all(found)


@pytest.mark.parametrize(
    "size", [3000, 20_000, *(pytest.param(size, marks=pytest.mark.long) for size in (8000, 40_000))]
)
def test_a_file_that_may_not_grow_costs_one_line_and_no_weights(size, processes, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    assert filled(processes, disk, f"{TRAIN} compiled", LIMIT.format(size))


@pytest.mark.long
def test_a_run_whose_disk_was_full_goes_on_when_there_is_room(processes, small, tmp_path):
    whole = processes.run(f"{TRAIN} compiled".split(), tmp_path)
    assert whole.code == 0
    from tests.faults.test_kill import same

    done = 0
    for size in (96, 128, 160):
        disk = small(size)
        if filled(processes, disk, f"{TRAIN} compiled") and (disk / "run" / "config.toml").exists():
            shutil.copytree(disk / "run", tmp_path / f"moved-{size}")
            ended = processes.run(["train", "--resume", f"moved-{size}"], tmp_path)
            assert ended.code == 0, ended.text
            same(tmp_path / "run", tmp_path / f"moved-{size}")
            done += 1
    assert done


@pytest.mark.parametrize("stage", ["run", "."])
def test_a_folder_that_goes_in_mid_run_costs_one_line_and_the_weights_are_elsewhere(
    stage, processes, tmp_path
):
    runs = tmp_path / "runs"
    gone = runs / stage if stage != "." else runs
    flags = (
        "--data moons --epochs 4000 --hidden 8 --engine compiled --batch-size 350 --runs-dir runs --name run"
    )
    take = (
        "import threading, time, pathlib\n"
        "def take():\n"
        "    while not pathlib.Path('runs/run/checkpoint.safetensors').exists(): time.sleep(0.01)\n"
        f"    pathlib.Path({str(gone)!r}).rename('gone')\n"
        "threading.Thread(target=take, daemon=True).start()"
    )
    ended = processes.run(["train", *flags.split()], tmp_path, set_up=take)
    one_line(ended)
    kept_somewhere(ended.text, tmp_path)


@pytest.mark.long
def test_other_commands_on_a_full_disk_leave_what_was_there_and_one_line(processes, small, tmp_path):
    begun = "train --data iris --epochs 3 --hidden 8 --runs-dir . --name run --engine compiled"
    assert processes.run(begun.split(), tmp_path).code == 0
    run, rows = tmp_path / "run", tmp_path / "rows.csv"
    numbers = random.Random(0)
    names = artifact.read(run)[0].preprocessing.feature_names
    lines = [",".join(f"{numbers.uniform(0, 7):.3f}" for _ in names) for _ in range(3000)]
    rows.write_text("\n".join([",".join(names), *lines]) + "\n")
    commands = [
        f"predict {run} {rows} --out p.csv", f"evaluate {run} --plot c.png", f"export {run} --format torch",
        f"export {run} --format onnx", "compare --data xor --plot c.png",
        "explain --data xor --plot e.png", f"explain --run {run} --plot e.png",
        "sweep --data xor --epochs 3 --sweep lr=1e-3:1e-1 --trials 3 --runs-dir . --study s",
    ]  # fmt: skip
    for command in commands:
        out = command.replace("--format torch", "--format torch --out m.pt2").replace(
            "--format onnx", "--format onnx --out m.onnx"
        )
        for size in (4, 12, 24, 48):
            disk = small(size + commands.index(command) * 100)  # a name of its own
            subprocess.run(["mount", "-o", f"remount,size={size}k", disk], check=True)
            filled(processes, disk, out)


def test_a_folder_that_may_not_be_written_is_refused_in_one_line(processes, tmp_path):
    """Root may write everywhere: to it, the system's answer is put in the place of the permission."""
    (tmp_path / "runs").mkdir(mode=0o500)
    line = ["train", "--data", "xor", "--epochs", "2", "--runs-dir", "runs"]
    denied = """
import os, pathlib
real = pathlib.Path.mkdir
def mkdir(self, *given, **options):
    if os.getuid() == 0 and self.parent.name == "runs":
        raise PermissionError(13, "Permission denied")
    return real(self, *given, **options)
pathlib.Path.mkdir = mkdir
"""
    ended = processes.run(line, tmp_path, set_up=denied)
    one_line(ended)
    assert "no run can be kept in runs/xor" in ended.text
    assert "Permission denied" in ended.text
    assert not list((tmp_path / "runs").iterdir())


def test_a_disk_that_becomes_read_only_in_mid_run_costs_one_line_and_the_weights_are_elsewhere(
    processes, tmp_path
):
    """A disk with open files cannot be made so by hand: the system's answer is put in its place."""
    flags = "--data moons --epochs 400 --hidden 8 --engine compiled --runs-dir runs --name run"
    read_only = """
import pathlib
from mlp_torch import runs
real, run = runs.replace, pathlib.Path("runs/run")
def replace(path, content):
    if (run / "checkpoint.safetensors").exists() and path.parent == run:
        raise OSError(30, "Read-only file system")
    real(path, content)
runs.replace = replace
"""
    ended = processes.run(["train", *flags.split()], tmp_path, set_up=read_only)
    one_line(ended)
    assert "Read-only file system" in ended.text
    kept_somewhere(ended.text, tmp_path)
