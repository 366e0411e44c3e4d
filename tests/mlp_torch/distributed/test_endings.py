"""However a process ends, the run says which one, is kept, and goes on to the same bits with any number."""

import signal
import time

import pytest

from tests.mlp_torch.distributed.comparing import KILLED, SLOW, STOPPED, equal, stopped, trained

FLAGS = "--data wine --batch-size 13 --dropout 0.2 --hidden 6 --epochs 40 --checkpoint-every 2 --reproducible"


@pytest.fixture(scope="module")
def whole(ranks, tmp_path_factory):
    return trained(ranks, 1, FLAGS, tmp_path_factory.mktemp("whole"), "whole")


def go_on(ranks, n, folder):
    ended = ranks.run(n, "train --resume cut", folder)
    assert ended.codes == [0] * n, ended.texts


@pytest.mark.parametrize(("rank", "then"), [(1, 1), pytest.param(0, 2, marks=pytest.mark.long)])
def test_a_killed_process_is_named_and_the_run_goes_on_with_as_many_or_fewer(
    rank, then, ranks, tmp_path, whole
):
    ended = stopped(ranks, FLAGS, tmp_path, KILLED, rank)
    assert ended.codes[rank] == -signal.SIGKILL
    assert ended.codes[1 - rank] == 2, ended.texts
    assert f"in vain for rank {rank} on " in ended.texts[1 - rank], ended.texts
    go_on(ranks, then, tmp_path)
    assert equal(whole, tmp_path / "cut")


def test_a_process_that_is_killed_in_a_plain_sum_is_named(ranks, tmp_path):
    ended = stopped(ranks, FLAGS.replace(" --reproducible", " --epochs 4000"), tmp_path, KILLED, 1)
    assert ended.codes == [2, -signal.SIGKILL], ended.texts
    assert "in vain for rank 1 on " in ended.texts[0], ended.texts


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.long), 1])
def test_a_process_that_hangs_is_named_with_its_step_within_the_timeout(rank, ranks, tmp_path):
    begun = time.monotonic()
    ended = stopped(ranks, f"{FLAGS} --timeout 2", tmp_path, STOPPED, rank)
    said = ended.texts[1 - rank]
    assert ended.codes[rank] == 999
    assert ended.codes[1 - rank] in (1, 2)
    assert f"rank {rank} has given no sign of life" in said or f"in vain for rank {rank}" in said, said
    assert "step" in said
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.long)]
)
def test_a_signal_ends_rank_0_between_two_steps_and_all_with_it(number, code, ranks, tmp_path, whole):
    ended = stopped(ranks, FLAGS, tmp_path, number, 0)
    assert ended.codes == [code, 0], ended.texts
    assert "goes on by mlp train --resume" in ended.texts[0]
    go_on(ranks, 2, tmp_path)
    assert equal(whole, tmp_path / "cut")


def test_what_one_process_cannot_read_is_said_once_with_its_rank(ranks, tmp_path):
    gone = """
import os
from mlp_torch.distributed import data
from mlp_torch.errors import UserError
real = data._load
def load(config):
    if os.environ["RANK"] == "1":
        raise UserError("--data there.csv: there is no such file")
    return real(config)
data._load = load
"""
    ended = ranks.run(2, "train --data xor --runs-dir .", tmp_path, set_up=gone)
    assert ended.codes == [2, 2]
    assert ended.texts == ["mlp train: rank 1: --data there.csv: there is no such file\n", ""]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--engine manual", "--engine manual: it is of one process, and there are 2; use --engine ddp"),
        ("--normalization batch_norm", "batch_norm is over the whole batch, of which a process sees a share"),
    ],
)
def test_what_several_processes_cannot_do_is_said_once(flags, said, ranks, tmp_path):
    ended = ranks.run(2, f"train --data xor --runs-dir . {flags}", tmp_path)
    assert ended.codes == [2, 0]
    assert said in ended.texts[0]
    assert ended.texts[0].count("\n") == 1
    assert not ended.texts[1]


def test_three_processes_have_no_fixed_order_of_sums(ranks, tmp_path):
    ended = ranks.run(3, "train --data xor --runs-dir . --reproducible", tmp_path)
    assert ended.codes == [2, 0, 0]
    assert "--reproducible has an order of sums for 1, 2, 4 or 8 processes, and there are 3" in ended.texts[0]
    assert not any(ended.texts[1:])


@pytest.mark.long
def test_every_checkpoint_of_two_processes_is_one_of_one(ranks, tmp_path, whole):
    two = trained(ranks, 2, FLAGS, tmp_path, "two", SLOW)
    assert equal(whole, two)
    assert sorted(p.name for p in two.iterdir() if "events" not in p.name) == sorted(
        p.name for p in whole.iterdir() if "events" not in p.name
    )
