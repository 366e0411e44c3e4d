"""What only torchrun does: it starts all anew when one is killed, and passes signals on."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.forked import ROOT
from tests.mlp_torch.distributed.comparing import equal, trained

FLAGS = "--data wine --batch-size 13 --dropout 0.2 --hidden 6 --epochs 60 --checkpoint-every 2 --reproducible"
KILLS = int(os.environ.get("MLP_KILLS", "50"))
CHECKPOINT = Path("cut/checkpoint.safetensors")


@pytest.fixture(scope="module")
def whole(ranks, tmp_path_factory):
    return trained(ranks, 1, FLAGS, tmp_path_factory.mktemp("whole"), "whole")


class Launch:
    """torchrun with two processes of `mlp train`, in that folder."""

    def __init__(self, folder: Path, *options: str, name: str = "--name cut") -> None:
        self.folder = folder
        line = f"-m mlp_torch train {FLAGS} --runs-dir . {name}"
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", *options]
        path = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
        self.process = subprocess.Popen(
            [*command, "--standalone", *line.split()], cwd=folder, env=os.environ | path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def wait(self, file: Path = CHECKPOINT) -> None:
        """Until it is there."""
        while not (self.folder / file).exists() and self.process.poll() is None:
            time.sleep(0.005)

    def ranks(self) -> dict[int, int]:
        """The ids of the processes that are at work, by rank."""
        found = {}
        for line in Path("/proc").glob("[0-9]*/environ"):
            try:
                parent = (line.parent / "stat").read_text().rpartition(")")[2].split()[1]
                given = dict(v.split("=", 1) for v in line.read_text().split("\0") if "=" in v)
            except (OSError, IndexError):
                continue
            if int(parent) == self.process.pid and "RANK" in given:
                found[int(given["RANK"])] = int(line.parent.name)
        return found

    def kill(self, rank: int) -> bool:
        """Whether there was one to kill."""
        pid = self.ranks().get(rank)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        return pid is not None

    def end(self) -> tuple[int, str]:
        """How it ended, and all that was said."""
        said, _ = self.process.communicate(timeout=170)
        return self.process.returncode, said


@pytest.mark.long
@pytest.mark.parametrize("name", ["--name cut", ""])
def test_a_killed_process_is_replaced_and_the_run_goes_on_by_itself(name, tmp_path, whole):
    launch = Launch(tmp_path, "--max-restarts=2", name=name)
    file = CHECKPOINT if name else Path("wine-ddp")
    if name:
        launch.wait(file)
    else:
        while not list(tmp_path.glob("wine-ddp-*/checkpoint.safetensors")):
            time.sleep(0.005)
    assert launch.kill(1)
    code, said = launch.end()
    assert code == 0, said
    (run,) = [p for p in tmp_path.iterdir() if p.is_dir()]
    assert equal(whole, run)
    assert "in vain for rank 1 on" in said


@pytest.mark.long
def test_kills_of_a_random_rank_at_random_moments_all_end_in_the_same_bits(ranks, tmp_path, whole):
    moments, met = random.Random(18), 0
    line = f"train {FLAGS} --runs-dir . --name cut"
    for number in range(KILLS):
        folder = tmp_path / str(number)
        folder.mkdir()
        once, within = moments.choice([("", 1.0), (str(CHECKPOINT), 2.0), (str(CHECKPOINT), 2.0)])
        ended = ranks.run(
            2, line, folder, number=signal.SIGKILL, rank=moments.randrange(2), once=once,
            after=moments.uniform(0, within), restarts=3,
        )  # fmt: skip
        assert ended.codes == [0, 0], ended.texts
        met += any("in vain for" in text for text in ended.texts)
        assert equal(whole, folder / "cut"), number
    print(met, "met a run at work")
    assert met > KILLS / 4


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_torchrun_ends_all_and_the_checkpoint_is_kept(number, ranks, tmp_path, whole):
    launch = Launch(tmp_path)
    launch.wait()
    workers = launch.ranks()
    launch.process.send_signal(number)
    _, said = launch.end()
    assert "it goes on by mlp train --resume cut" in said
    assert len(workers) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers.values())
    ended = ranks.run(1, "train --resume cut", tmp_path)
    assert ended.codes == [0]
    assert equal(whole, tmp_path / "cut")
