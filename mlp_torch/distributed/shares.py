"""Which samples of a batch are whose, and how what they gave is summed.

A batch of n samples is cut at n·i // parts: one share a process, or, where the bits are not to depend on
their number, `LEAVES` leaves. A leaf's gradient is one call on its rows, the same whoever makes it; the
leaves are summed as a tree, ((0 + 1) + (2 + 3)) + …, of which each process holds a whole branch. Branches
meet by pairs: in round k rank r and rank r ⊕ 2^k give each other their sums, and a + b is b + a.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

LEAVES = 8


def cuts(n: int, parts: int) -> list[int]:
    """Where each of the parts of n samples begins, and the end."""
    return [n * i // parts for i in range(parts + 1)]


def leaves_of(rank: int, size: int) -> range:
    """The leaves of a rank, where `size` divides their number."""
    return range(rank * LEAVES // size, (rank + 1) * LEAVES // size)


def branch(parts: Sequence[Tensor]) -> Tensor:
    """The sum of the parts, by pairs of neighbours; in the first one's place."""
    level = list(parts)
    while len(level) > 1:
        last = level[len(level) // 2 * 2 :]  # one that has no neighbour waits
        level = [a.add_(b) for a, b in zip(level[::2], level[1::2], strict=False)] + last
    return level[0]


def tree_sum(part: Tensor, rank: int, size: int) -> Tensor:
    """The sum of every rank's branch, in its place, the same bits on all of them."""
    other, distance = torch.empty_like(part) if size > 1 else part, 1
    while distance < size:
        pair = rank ^ distance
        sent = [dist.P2POp(dist.isend, part, pair), dist.P2POp(dist.irecv, other, pair)]
        for work in dist.batch_isend_irecv(sent):
            work.wait()
        part.add_(other)
        distance *= 2
    return part
