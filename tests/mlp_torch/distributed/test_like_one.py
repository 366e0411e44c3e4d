"""N processes end as one does: bit for bit by the fixed tree, and wherever no sum can round."""

import numpy as np
import pytest

from tests.mlp_torch.distributed.comparing import equal, gap, trained
from tests.mlp_torch.running import metrics

# One row a problem: ragged batches, masks, weights, penalties, accumulation, early stopping.
PROBLEMS = {
    "dropout, accumulation": "--data wine --batch-size 13 --accumulate 3 --dropout 0.2 --l2 0.01 "
    "--clip-norm 1",
    "weighted, early stopping": "--data iris --batch-size 9 --class-weight balanced --early-stopping 2 "
    "--lr 0.05",
    "layer_norm, momentum": "--data moons --batch-size 50 --normalization layer_norm --optimizer sgd "
    "--momentum 0.9 --lr 0.05",
    "a batch smaller than the leaves": "--data xor --batch-size 3 --optimizer rmsprop --dropout 0.1",
    "one output, float64": "--data diabetes --dtype float64 --activation prelu --l1 0.001 --optimizer adamw",
}  # fmt: skip
SPREAD = "from mlp_torch.distributed import parts; parts.HELD = 0"  # every process holds its own rows alone
# As processes of two machines are, which share no memory.
APART = "from mlp_torch.distributed import share; share.met = lambda *given: None"
# The limits of memory so low that one process keeps the rows on disk, and reads them in pieces.
ON_DISK = """
from mlp_torch.data import loading, on_disk
from mlp_torch.distributed import parts
on_disk.PIECE, parts.HELD = 1000, 0
loading.IN_MEMORY = parts.IN_MEMORY = 2000
"""
# Planted: what each process does wrong.
FAULTS = {
    "forgets its share": """
from mlp_torch.distributed import memory
real = memory.SharedMemory.sum_
memory.SharedMemory.sum_ = lambda self, given: real(self, given.mul_(self.rank == 0))
""",
    "weighs a ragged share as any other": """
from mlp_torch.distributed.share import Share
real = Share._loss
def equal(self, forward, share, total, first, masks):
    return real(self, forward, share, len(share[0]) * self.group.size, first, masks)
Share._loss = equal
""",
    "draws its masks by its rank": """
import os
from mlp_torch.distributed import masks, share
share.mask = lambda seed, *rest: masks.mask(seed + int(os.environ["RANK"]), *rest)
""",
}


@pytest.mark.parametrize("name", list(PROBLEMS)[:2])
def test_two_processes_end_in_the_bits_of_one(name, ranks, tmp_path):
    flags = f"{PROBLEMS[name]} --hidden 6 5 --epochs 4 --reproducible"
    one = trained(ranks, 1, flags, tmp_path, "one")
    assert equal(one, trained(ranks, 2, flags, tmp_path, "two", SPREAD))


def test_without_shared_memory_two_processes_end_in_the_same_bits(ranks, tmp_path):
    flags = f"{PROBLEMS['dropout, accumulation']} --hidden 6 5 --epochs 2 --reproducible"
    one = trained(ranks, 1, flags, tmp_path, "one")
    assert equal(one, trained(ranks, 2, flags, tmp_path, "two", APART))


def test_what_one_process_would_have_on_disk_is_visited_in_the_same_order(ranks, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 4))
    np.savez(tmp_path / "rows.npz", x=x, y=(x @ [1.0, -1.0, 2.0, 0.5] > 0).astype(int))
    flags = "--data rows.npz --hidden 5 --epochs 3 --batch-size 7 --dropout 0.1 --reproducible"
    one = trained(ranks, 1, flags, tmp_path, "one", ON_DISK)
    assert equal(one, trained(ranks, 2, flags, tmp_path, "two", ON_DISK))
    assert not equal(one, trained(ranks, 1, flags, tmp_path, "in-memory"))


@pytest.mark.long
@pytest.mark.parametrize("name", PROBLEMS)
def test_four_and_eight_processes_end_in_the_bits_of_one(name, ranks, tmp_path):
    flags = f"{PROBLEMS[name]} --hidden 12 7 --epochs 6 --reproducible"
    one = trained(ranks, 1, flags, tmp_path, "one")
    for n in (2, 4, 8):
        assert equal(one, trained(ranks, n, flags, tmp_path, f"whole {n}".replace(" ", "-")))
        assert equal(one, trained(ranks, n, flags, tmp_path, f"spread-{n}", SPREAD))


FLAGS = (
    "--data wine --batch-size 13 --dropout 0.2 --dtype float64 --hidden 6 --optimizer sgd --lr 0.05 --l2 0.01"
)


@pytest.mark.parametrize("way", ["", pytest.param(APART, marks=pytest.mark.long)])
def test_after_100_steps_plain_sums_are_within_rounding_of_one_process_and_each_was_in_its_bound(
    way, ranks, tmp_path
):
    flags = f"{FLAGS} --engine ddp --epochs 10 --verify-every 1"
    one = trained(ranks, 1, flags, tmp_path, "one")
    two = trained(ranks, 2, flags, tmp_path, "two", way)
    assert metrics(two)[-1]["step"] == 100
    assert all(row["error_over_bound"] <= 1 for row in metrics(two))
    assert 0 < gap(two, one) < 100 * 2.0**-53 * 10


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("sums", ["--reproducible", pytest.param("", marks=pytest.mark.long)])
def test_a_process_that_is_planted_is_seen(fault, sums, ranks, tmp_path):
    flags = f"{FLAGS} --engine ddp --epochs 1 {sums}"
    one = trained(ranks, 1, flags, tmp_path, "one")
    two = trained(ranks, 2, flags, tmp_path, "two", FAULTS[fault])
    assert gap(two, one) > 1e-6


def test_the_judge_of_a_running_job_sees_a_share_that_is_forgotten(ranks, tmp_path):
    line = f"train --runs-dir . --name two {FLAGS} --epochs 1 --verify-every 2"
    ended = ranks.run(2, line, tmp_path, set_up=FAULTS["forgets its share"])
    assert ended.codes == [1, 0], ended.texts
    assert "a gradient is wrong" in ended.texts[0]
    assert not ended.texts[1]
