"""kill -9 at any moment of training, saving included: `--resume` ends in the very bits of the run not cut."""

import json
import os
import random
import shutil
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.faults.processes import Ended
from tests.mlp_torch.running import metrics, weights

# One row an engine and what must be carried over a cut: moments, masks, running statistics, counters.
RUNS = {
    "compiled, adam, dropout": "--engine compiled --data moons --dropout 0.2 --epochs 60 --early-stopping 9",
    "compiled, momentum, a ragged batch":
        "--engine compiled --data wine --optimizer sgd --momentum 0.9 --lr 0.01 --batch-size 7 --epochs 45",
    "manual, rmsprop, batch_norm":
        "--engine manual --data moons --optimizer rmsprop --momentum 0.5 --normalization batch_norm "
        "--dropout 0.1 --epochs 60 --keep last",
    "manual, accumulation, checkpoints within epochs":
        "--engine manual --data wine --accumulate 3 --batch-size 5 --optimizer adamw --checkpoint-every 4 "
        "--epochs 45",
    "torch, adagrad, layer_norm":
        "--engine torch --data moons --optimizer adagrad --normalization layer_norm --dropout 0.3 "
        "--clip-norm 1 --epochs 60",
    "torch, nesterov, bf16":
        "--engine torch --data moons --optimizer sgd --momentum 0.8 --nesterov --lr 0.02 "
        "--fp32-precision bf16 --batch-size 50 --epochs 45",
    "torch, accumulation, checkpoints within epochs":
        "--engine torch --data iris --accumulate 2 --batch-size 5 --dropout 0.2 --checkpoint-every 3 "
        "--epochs 45",
    "autograd, adamw, batch_norm, one_cycle":
        "--engine autograd --data wine --optimizer adamw --dropout 0.2 --normalization batch_norm "
        "--schedule one_cycle --warmup 2 --epochs 45",
    "both, adam, dropout, watched":
        "--engine both --data iris --dropout 0.2 --verify-every 7 --checkpoint-every 5 --epochs 18",
}  # fmt: skip
KILLS = int(os.environ.get("MLP_KILLS", "200"))  # in all
MORE = 20  # where none of them met a run at work
FIRST = "cut/checkpoint.safetensors"
# Every checkpoint is written, and takes so long that one kill in three comes while it is.
SLOW = """
import time
from mlp_torch.training import checkpoint
real, checkpoint.SHARE = checkpoint.to_disk, 0
checkpoint.to_disk = lambda path: (time.sleep(0.01), real(path))
"""


def same(whole: Path, cut: Path) -> None:
    """The weights bit for bit, and the curves."""
    ours, theirs = weights(cut), weights(whole)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert np.array_equal(ours[name], value), name
    rows = [[{**row, "seconds": 0} for row in metrics(run)] for run in (whole, cut)]
    assert rows[0] == rows[1]


def killed(processes, folder: Path, flags: str, moments: random.Random, whole: Ended) -> str:
    """Kill it at a moment, in one case of two its continuation too; what was found after the first kill."""
    cut, slow = folder / "cut", moments.choice(["", SLOW])
    shutil.rmtree(cut, ignore_errors=True)

    def one(arguments: list[str]) -> Ended:
        once, within = moments.choice([("cut/config.toml", whole.seconds - whole.begun), (FIRST, 0.7)])
        moment = moments.uniform(0, 1) * within * (2 if slow else 1)
        return processes.run(arguments, folder, once=once, after=moment, set_up=slow)

    begun = one(["train", *flags.split(), "--runs-dir", ".", "--name", "cut"])
    if begun.code == 0:
        same(folder / "whole", cut)
        return "after its end"
    assert begun.code == -signal.SIGKILL, begun.text
    found = "in training" if (cut / "checkpoint.safetensors").exists() else "before its first checkpoint"
    if (cut / ".checkpoint.safetensors.part").exists():
        found = "in saving"
    if moments.random() < 0.5:
        again = one(["train", "--resume", "cut"])  # at once or later, its checks included
        assert again.code in (0, -signal.SIGKILL), again.text
    ended = processes.run(["train", "--resume", "cut"], folder)
    assert ended.code == 0, ended.text
    same(folder / "whole", cut)
    again = processes.run(["train", "--resume", "cut"], folder)
    assert again.code == 0
    assert "has finished" in again.text
    return found


def of_all(name: str, processes, folder: Path, kills: int, seed: int) -> Counter[str]:
    """That many kills at random moments; how many were found where."""
    flags, moments, found = RUNS[name], random.Random(f"{name} {seed}"), Counter[str]()
    line = ["train", *flags.split(), "--runs-dir", ".", "--name", "whole"]
    whole = processes.run(line, folder, once="whole/config.toml")
    assert whole.code == 0, whole.text
    while found.total() < kills or (met(found) == 0 and found.total() < kills + MORE):
        found[killed(processes, folder, flags, moments, whole)] += 1
    return found


def met(found: Counter[str]) -> int:
    """The kills that met it at work."""
    return found["in training"] + found["in saving"]


@pytest.mark.parametrize("name", [n for n in RUNS if "both" in n])
def test_a_killed_run_goes_on_to_the_same_bits(name, processes, tmp_path):
    of_all(name, processes, tmp_path, 1, 0)


@pytest.mark.long
@pytest.mark.parametrize("name", RUNS)
def test_kills_at_random_moments_end_in_the_same_bits(name, processes, tmp_path, record_property):
    found = of_all(name, processes, tmp_path, -(-KILLS // len(RUNS)), 1)
    record_property("found", json.dumps(found))
    print(found)
    assert met(found) > 0
