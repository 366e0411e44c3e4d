"""Sums of the processes of one machine, through memory that they share; none of it has a name in a folder.

    round 1   rank r writes its numbers into row r; all meet
    round 2   rank r sums column block r over the rows, as the tree of `shares`, into row 0; all meet
    then      all copy row 0

so that each moves a few times the bytes of its numbers, however many there are. Two need no second round:
each adds the other's row to its own, and a + b is b + a. The next sum is in the other half, which nobody
reads still.

To meet is to send every other process a byte and to wait for its: one that ends, however it does, closes its
sockets, and who waits for it knows at once. The memory has no file, the sockets have none (Linux's anonymous
files and abstract addresses): nothing is left behind by a process that is killed.
"""

import mmap
import os
import socket
import struct
import uuid
import weakref
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import GradBucket  # as torch's own hooks have it

from mlp_torch.distributed.group import Group
from mlp_torch.distributed.shares import branch, cuts

BYTE, NUMBER = b"\0", struct.Struct("i")


class SharedMemory:
    """The memory of `group`, for sums of at most so many numbers; `met` makes it."""

    def __init__(
        self, group: Group, others: dict[int, socket.socket], file: int, numbers: int, dtype: torch.dtype
    ) -> None:
        self.rank, self.size, self.calls = group.rank, group.size, 0
        self.others = list(others.values())
        self.seconds = group.signs.seconds if group.signs else None
        for other in self.others:
            other.settimeout(self.seconds)
            weakref.finalize(self, other.close)
        memory = mmap.mmap(file, _bytes(group, numbers, dtype))
        os.close(file)
        self.halves = torch.frombuffer(memory, dtype=dtype).view(2, group.size, numbers)

    def sum_(self, given: Tensor) -> Tensor:
        """The sum of everybody's numbers, in the place of this process's; the same bits on all.

        Raises RuntimeError where a process is gone, or does not come in time.
        """
        half, n = self.halves[self.calls % 2, :, : len(given)], len(given)
        self.calls += 1
        half[self.rank].copy_(given)
        self._meet()
        if self.size == 2:
            return given.add_(half[1 - self.rank])
        low, high = cuts(n, self.size)[self.rank :][:2]
        branch(list(half[:, low:high]))
        self._meet()
        return given.copy_(half[0])

    def _meet(self) -> None:
        try:
            for other in self.others:
                other.send(BYTE)
            for other in self.others:
                if not other.recv(1):
                    raise RuntimeError("connection closed by peer")
        except TimeoutError:
            raise RuntimeError(f"timed out after {self.seconds} s") from None
        except OSError as error:
            raise RuntimeError(f"connection closed by peer ({error})") from None


def all_reduced(memory: SharedMemory | None, bucket: GradBucket) -> torch.futures.Future[Tensor]:
    """DistributedDataParallel's hook: the sum, not the mean; a share knows the whole batch's size."""
    given = bucket.buffer()
    if memory is None:
        work = dist.all_reduce(given, async_op=True)
        found: torch.futures.Future[Tensor] = work.get_future().then(lambda future: future.value()[0])
        return found
    done: torch.futures.Future[Tensor] = torch.futures.Future()
    done.set_result(memory.sum_(given))
    return done


def met(group: Group, numbers: int, dtype: torch.dtype) -> SharedMemory | None:
    """All ranks: the memory they share; None, for all, where they are not on one machine that has such."""
    listener, name = _listener()
    others: dict[int, socket.socket] = {}
    names = group.gathered(name)
    reached = all(names)
    if reached:
        try:
            for rank in range(group.rank):
                others[rank] = socket.socket(socket.AF_UNIX)
                others[rank].connect(names[rank])
                others[rank].send(NUMBER.pack(group.rank))
        except OSError:  # another machine, or another room of this one
            reached = False
    if not all(group.gathered(reached)):
        for one in (listener, *others.values()):
            if one is not None:
                one.close()
        return None
    assert listener is not None
    while len(others) < group.size - 1:  # all have come
        other, _ = listener.accept()
        if _same_user(other):
            others[NUMBER.unpack(other.recv(NUMBER.size))[0]] = other
        else:
            other.close()
    listener.close()
    if group.rank == 0:
        file = os.memfd_create("mlp_torch")
        os.ftruncate(file, _bytes(group, numbers, dtype))
        for other in others.values():
            socket.send_fds(other, [BYTE], [file])
    else:
        _, (file,), _, _ = socket.recv_fds(others[0], 1, 1)
    return SharedMemory(group, others, file, numbers, dtype)


def _bytes(group: Group, numbers: int, dtype: torch.dtype) -> int:
    return 2 * group.size * numbers * dtype.itemsize


def _listener() -> tuple[Any, str]:
    """A socket that waits for the others, and its address; none where the system has no such things."""
    if not hasattr(os, "memfd_create"):
        return None, ""
    listener, name = socket.socket(socket.AF_UNIX), f"\0mlp_torch-{uuid.uuid4().hex}"
    listener.bind(name)
    listener.listen(128)
    return listener, name


def _same_user(other: socket.socket) -> bool:
    """Whoever knows the address can call it."""
    found = other.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", found)[1] == os.getuid())
