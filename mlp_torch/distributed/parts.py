"""The inputs of a split, of which each process holds its own rows.

Rank r of N holds rows n·r // N … n·(r + 1) // N; before the steps of a part of an epoch the processes give
each other the rows of their shares. What is small is held whole by all, and no row travels. Targets, labels
and weights, a few bytes a sample, are held whole.
"""

import numpy as np

from manual.numbers import Array
from mlp_torch.distributed.group import Group
from mlp_torch.distributed.shares import cuts
from mlp_torch.interrupts import held

HELD = 2**26  # bytes of inputs up to which every process holds all of them


class Part:
    """The inputs (N, in) of the split of that name; `own` are its rows from `first` on."""

    ndim = 2

    def __init__(self, name: str, own: Array, first: int, n: int, group: Group) -> None:
        self.name, self.own, self.first, self.group = name, own, first, group
        self.shape, self.dtype = (n, own.shape[1]), own.dtype
        self.whole = len(own) == n

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Array) -> Array:
        """Rank 0: these rows, in this order, few of them."""
        index = np.asarray(index)
        if self.whole:
            return self.own[index]
        with held():
            self.group.tell("rows", self.name, index)
            return self.assembled(index)

    def assembled(self, index: Array) -> Array:
        """All ranks: what rank 0 has asked for; of use there."""
        there = self._mine(index)
        found = np.empty((len(index), self.shape[1]), self.dtype)
        for where, rows in self.group.collected((there, self.own[index[there] - self.first])):
            found[where] = rows
        return found

    def share(self, needs: list[Array]) -> Array:
        """All ranks: the rows that this one needs, where rank r needs those of needs[r]."""
        mine = needs[self.group.rank]
        if self.whole:
            return self.own[mine]
        import torch
        import torch.distributed as dist

        given = [need[self._mine(need)] - self.first for need in needs]
        sent = torch.from_numpy(self.own[np.concatenate(given)])
        bounds = np.array(cuts(len(self), self.group.size))
        owner = np.searchsorted(bounds, mine, side="right") - 1
        counts = np.bincount(owner, minlength=self.group.size)
        received = torch.empty((len(mine), self.shape[1]), dtype=sent.dtype)
        with self.group.watched():
            dist.all_to_all_single(received, sent, counts.tolist(), [len(rows) for rows in given])
        found = np.empty((len(mine), self.shape[1]), self.dtype)
        found[np.argsort(owner, kind="stable")] = received.numpy()
        return found

    def _mine(self, index: Array) -> Array:
        """The places in `index` of the rows that are held here; rank 0 alone answers for what all hold."""
        last = self.first + len(self.own)
        return np.flatnonzero((index >= self.first) & (index < last))
