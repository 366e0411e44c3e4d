"""The inputs of a split, of which each process holds its own rows.

Rank r of N holds rows n·r // N … n·(r + 1) // N; before the steps of a part of an epoch the processes give
each other the rows of their shares. What is small is held whole by all, and no row travels. Targets, labels
and weights, a few bytes a sample, are held whole.
"""

from collections.abc import Iterator

import numpy as np

from manual.numbers import Array
from mlp_torch.data.on_disk import IN_MEMORY, pieces
from mlp_torch.distributed.group import Group
from mlp_torch.distributed.shares import cuts
from mlp_torch.interrupts import held

HELD = 2**26  # bytes of inputs, or of a table while it is read, up to which every process holds all

AT_ONCE = 2**13  # rows of a file


class OwnRows:
    """Keeps this rank's rows of a table's inputs (`mlp_torch.data.loading.Holder`)."""

    shared, at_once = True, AT_ONCE

    def __init__(self, group: Group) -> None:
        self.group, self.in_memory = group, HELD // group.size

    def rows(self, n: int, size: int) -> slice:
        if size <= HELD:
            return slice(0, n)
        return slice(*cuts(n, self.group.size)[self.group.rank :][:2])

    def inputs(self, own: Array, first: int, n: int, size: int) -> "Part":
        kind = Part if size <= IN_MEMORY else InPieces
        return kind(own, first, n, self.group)


class Part:
    """The inputs (N, in) of the split of that name; `own` are its rows from `first` on.

    It may stand for some of the `split` rows alone: N of them, from `start` on.
    """

    ndim = 2

    def __init__(self, own: Array, first: int, n: int, group: Group) -> None:
        self.own, self.first, self.group, self.name, self.start = own, first, group, "", 0
        self.shape, self.dtype, self.split = (n, own.shape[1]), own.dtype, n

    def __len__(self) -> int:
        return self.shape[0]

    def view(self, start: int, n: int) -> "Part":
        """These rows alone, by their numbers in the split."""
        found = Part(self.own, self.first, self.split, self.group)
        found.name, found.start, found.shape = self.name, start, (n, self.shape[1])
        return found

    def __getitem__(self, index: Array) -> Array:
        """Rank 0: these rows, in this order, few of them."""
        index = np.asarray(index) + self.start
        if len(self._mine(index)) == len(index):
            return self.own[index - self.first]
        with held():
            self.group.tell("rows", self.name, index)
            return self.assembled(index)

    def assembled(self, index: Array) -> Array:
        """All ranks: what rank 0 has asked for, by numbers in the split; of use there."""
        there = self._mine(index)
        found = np.empty((len(index), self.shape[1]), self.dtype)
        for where, rows in self.group.collected((there, self.own[index[there] - self.first])):
            found[where] = rows
        return found

    def share(self, needs: list[Array]) -> Array:
        """All ranks: the rows that this one needs, where rank r needs those of needs[r]."""
        needs = [need + self.start for need in needs]
        mine = needs[self.group.rank]
        if len(self.own) == self.split:
            return self.own[mine]
        import torch
        import torch.distributed as dist

        given = [need[self._mine(need)] - self.first for need in needs]
        sent = torch.from_numpy(self.own[np.concatenate(given)])
        bounds = np.array(cuts(self.split, self.group.size))
        owner = np.searchsorted(bounds, mine, side="right") - 1
        counts = np.bincount(owner, minlength=self.group.size)
        received = torch.empty((len(mine), self.shape[1]), dtype=sent.dtype)
        with self.group.watched():
            dist.all_to_all_single(received, sent, counts.tolist(), [len(rows) for rows in given])
        found = np.empty((len(mine), self.shape[1]), self.dtype)
        found[np.argsort(owner, kind="stable")] = received.numpy()
        return found

    def _mine(self, index: Array) -> Array:
        """The places in `index` of the rows that are held here."""
        return np.flatnonzero((index >= self.first) & (index < self.first + len(self.own)))


class InPieces(Part):
    """So many inputs that one process would have them on disk: visited piece by piece, as there."""

    def rows(self, start: int, stop: int) -> Part:
        """The rows start … stop − 1."""
        return self.view(start, min(stop, len(self)) - start)

    def slices(self, batch_size: int = 1) -> Iterator[slice]:
        """As `OnDisk.slices`."""
        return pieces(len(self), self.shape[1], self.dtype, batch_size)
