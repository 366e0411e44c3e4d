"""Runs of N processes side by side."""

import signal
from pathlib import Path

import numpy as np

from tests.mlp_torch.distributed.ranks import Ended, Ranks
from tests.mlp_torch.running import metrics, weights


def trained(ranks: Ranks, n: int, flags: str, folder: Path, name: str, set_up: str = "") -> Path:
    """The folder of a run of n processes, which rank 0 alone spoke of."""
    ended = ranks.run(n, f"train --runs-dir . --name {name} {flags}", folder, set_up=set_up)
    assert ended.codes == [0] * n, ended.texts
    assert not any(ended.texts[1:]), ended.texts[1:]
    return folder / name


def stopped(ranks: Ranks, flags: str, folder: Path, number: int, rank: int, after: float = 0.05) -> Ended:
    """Two processes, of which one is sent that signal once there is a checkpoint."""
    line = f"train --runs-dir . --name cut {flags}"
    once = "cut/checkpoint.safetensors"
    return ranks.run(2, line, folder, number=number, rank=rank, once=once, after=after)


def equal(one: Path, other: Path) -> bool:
    """Whether they end in the same bits and the same curves."""
    ours, theirs = weights(one), weights(other)
    same = all(np.array_equal(ours[name], theirs[name]) for name in ours.keys() | theirs.keys())
    rows = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in metrics(run)] for run in (one, other)
    ]
    return same and rows[0] == rows[1]


def gap(one: Path, other: Path) -> float:
    """The largest ‖θ − θ′‖ / ‖θ′‖ over the parameters."""
    ours, theirs = weights(one), weights(other)
    return max(float(np.linalg.norm(ours[n] - v) / np.linalg.norm(v)) for n, v in theirs.items())


SLOW = "from mlp_torch.training import checkpoint; checkpoint.SHARE = 0"  # every checkpoint is written
KILLED, STOPPED = int(signal.SIGKILL), int(signal.SIGSTOP)
