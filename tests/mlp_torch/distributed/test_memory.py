"""Sums through shared memory: the tree's bits on every rank, who ends is seen at once, nothing is left."""

import mmap
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mlp_torch.distributed import memory
from mlp_torch.distributed.shares import branch

NUMBERS = 50


class Thread(threading.Thread):
    """One rank; `group` is what it knows of the others, whose words meet at a barrier."""

    def __init__(self, rank, words, meeting, work):
        super().__init__()
        self.rank, self.size, self.words, self.meeting, self.work = rank, len(words), words, meeting, work
        self.signs, self.found = SimpleNamespace(seconds=0.5), None

    def gathered(self, value):
        self.words[self.rank] = value
        self.meeting.wait()
        found = list(self.words)
        self.meeting.wait()
        return found

    def run(self):
        try:
            self.found = self.work(self.rank, memory.met(self, NUMBERS, torch.float32))
        except RuntimeError as error:
            self.found = str(error)


def each(size, work):
    """What `work(rank, its memory)` returns on every rank, or the error's words."""
    words, meeting = [None] * size, threading.Barrier(size)
    threads = [Thread(rank, words, meeting, work) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return [thread.found for thread in threads]


@pytest.mark.parametrize("size", [2, 3, 4, 8])
def test_every_rank_has_the_bits_of_the_tree_sum_after_sum(size):
    given = torch.randn(6, size, NUMBERS, generator=torch.Generator().manual_seed(size))
    lengths = [NUMBERS, NUMBERS, 1, 7, NUMBERS, 3]

    def work(rank, shared):
        return [shared.sum_(v[rank, :n].clone()) for v, n in zip(given, lengths, strict=True)]

    for found in each(size, work):
        for v, n, total in zip(given, lengths, found, strict=True):
            assert torch.equal(total, branch(list(v[:, :n].clone())))


def test_a_sum_that_waits_for_nobody_has_other_bits(monkeypatch):
    monkeypatch.setattr(memory.SharedMemory, "_meet", lambda self: None)
    order = threading.Barrier(2)

    def work(rank, shared):
        if rank == 1:
            order.wait()  # rank 0 is through
        found = shared.sum_(torch.ones(NUMBERS))
        if rank == 0:
            order.wait()
        return found.sum().item()

    assert each(2, work) == [NUMBERS, 2 * NUMBERS]


@pytest.mark.parametrize("size", [2, 3])
def test_who_ends_is_seen_at_once_by_all(size):
    def work(rank, shared):
        if rank == 1:
            for other in shared.others:
                other.close()
            return "ended"
        return shared.sum_(torch.ones(NUMBERS))

    found = each(size, work)
    assert found.pop(1) == "ended"
    assert all("connection closed by peer" in words for words in found)


def test_who_does_not_come_is_waited_for_no_longer_than_the_timeout():
    late = threading.Event()

    def work(rank, shared):
        if rank == 1:
            late.wait(10)
            return len(shared.others)
        try:
            return shared.sum_(torch.ones(NUMBERS))
        finally:
            late.set()

    assert each(2, work) == ["timed out after 0.5 s", 1]


def test_where_one_has_no_such_memory_none_has(monkeypatch):
    real = memory._listener
    elsewhere = threading.Lock()

    def listener():
        return (None, "") if elsewhere.acquire(blocking=False) else real()

    monkeypatch.setattr(memory, "_listener", listener)
    assert each(3, lambda rank, shared: shared is None) == [True] * 3


def test_where_one_cannot_be_called_none_shares(monkeypatch):
    real = memory._listener
    monkeypatch.setattr(memory, "_listener", lambda: (real()[0], "\0mlp_torch-nobody"))
    assert each(2, lambda rank, shared: shared is None) == [True] * 2


def named() -> set[str]:
    """The files that have a name and lie in this process's memory, writable."""
    mapped = (line.split(maxsplit=5) for line in Path("/proc/self/maps").read_text().splitlines())
    return {row[5] for row in mapped if len(row) == 6 and "w" in row[1] and "s" in row[1]}


def test_the_memory_has_no_file_even_while_it_is_used():
    before = named()

    def work(rank, shared):
        shared.sum_(torch.ones(NUMBERS))
        return named() - before

    for found in each(2, work):
        assert found == {"/memfd:mlp_torch (deleted)"}


def test_memory_that_has_a_file_would_be_seen(tmp_path):
    file = tmp_path / "shared"
    file.write_bytes(bytes(4096))
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 4096):
        assert str(file) in named()
