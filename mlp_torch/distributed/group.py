"""The processes of one run: who they are, how rank 0 tells the others what comes, and who is lost.

`current()` is this process's group, of one process where nobody has joined any. The gradients and the rows
travel by the default process group (gloo on CPUs, nccl on GPUs), which waits at most `--timeout`; words by
a gloo group that waits longer, since rank 0 may have much to do between two epochs.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from mlp_torch.distributed.signs import Signs
from mlp_torch.errors import UserError
from mlp_torch.interrupts import held

RUN = "run"  # the key in torchrun's store under which a launch's folder is kept
PATIENCE = timedelta(days=7)  # of a process that waits for a word; whether rank 0 lives, `signs` knows


class LostError(UserError):
    """Another process of the run is gone, or cannot be reached."""


@dataclass
class Group:
    """This process among `size`: its rank, from 0; `local` is its number on its machine."""

    rank: int = 0
    size: int = 1
    local: int = 0
    words: Any = None  # the gloo group of words
    signs: Signs | None = None
    step: int = 0  # how many batches this process has come to
    lost: bool = field(default=False, init=False)

    def tell(self, *words: Any) -> None:
        """Rank 0: what all are to do next."""
        if self.size > 1:
            with self.watched():
                self._broadcast([words])

    def hear(self) -> tuple[Any, ...]:
        """The other ranks: what rank 0 tells."""
        box: list[Any] = [None]
        with self.watched():
            self._broadcast(box)
        found: tuple[Any, ...] = box[0]
        return found

    def gathered(self, value: Any) -> list[Any]:
        """Everybody's value, by rank, on every rank; what can be pickled."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        found: list[Any] = [None] * self.size
        with self.watched():
            dist.all_gather_object(found, value, group=self.words)
        return found

    def collected(self, value: Any) -> list[Any]:
        """Everybody's value, by rank, on rank 0; nothing on the others."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        found: list[Any] | None = [None] * self.size if self.rank == 0 else None
        with self.watched():
            dist.gather_object(value, found, dst=0, group=self.words)
        return found or []

    def stepped(self) -> None:
        """One batch more; the others may see it."""
        self.step += 1
        if self.signs is not None:
            self.signs.step = self.step

    def began(self, folder: Path) -> None:
        """Tell later attempts of this launch where the run is."""
        if self.signs is not None:
            self.signs.launch.set(RUN, str(folder))

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """What waits for others; raises LostError, that names who does not come, where one is lost."""
        if self.size == 1:
            yield
            return
        try:
            with held():  # who leaves in the middle leaves the others waiting
                yield
        except (RuntimeError, ValueError) as error:
            if not _of_network(error):
                raise
            self.lost = True
            who = self.signs.missing(_shortly(error)) if self.signs else "another process"
            raise LostError(
                f"rank {self.rank} waits at step {self.step} in vain for {who} ({_shortly(error)}); "
                "torchrun --max-restarts N goes on by itself from the last checkpoint, as --resume does"
            ) from None

    def _broadcast(self, box: list[Any]) -> None:
        import torch.distributed as dist

        dist.broadcast_object_list(box, src=0, group=self.words)


def _of_network(error: Exception) -> bool:
    """Whether the library that connects the processes says so; it has no class of error of its own."""
    said = str(error).lower()
    words = ("gloo", "connection", "timed out", "timeout", "nccl", "socket", "peer", "store", "broken pipe")
    return any(word in said for word in words)


# What of a library's long story is worth saying: what happened, and the other end's address.
HAPPENED = re.compile(
    r"connection (?:closed|reset|refused)[a-z ]*|timed out[a-z 0-9]*|broken pipe|no route to host|"
    r"network is unreachable|address already in use",
    re.IGNORECASE,
)
ADDRESS = re.compile(r"\[[0-9a-f.:]+\]:\d+")


def _shortly(error: Exception) -> str:
    said = str(error)
    found, address = HAPPENED.search(said), ADDRESS.search(said)
    if found is None:
        return (said.strip().splitlines() or [type(error).__name__])[0][:200]
    return found[0].strip().lower() + (f", {address[0]}" if address else "")


_current = Group()


def current() -> Group:
    """This process's group."""
    return _current


def launched() -> bool:
    """Whether torchrun, or whoever sets the same variables, has started this process."""
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= set(os.environ)


def join(seconds: float, device: str) -> Group:
    """Meet the other processes. Raises UserError that names who did not come within so many seconds."""
    global _current
    import torch
    import torch.distributed as dist

    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    local = int(os.environ.get("LOCAL_RANK", rank))
    limit = timedelta(seconds=seconds)
    on_gpu = device in ("auto", "cuda") and torch.cuda.is_available()
    if on_gpu:
        if local >= torch.cuda.device_count():
            raise UserError(
                f"--nproc-per-node: process {local} of this machine has no GPU of its own, there are "
                f"{torch.cuda.device_count()}; start as many, or use --device cpu"
            )
        torch.cuda.set_device(local)
    signs = None
    try:
        signs = Signs(rank, size, seconds)
        store = signs.meet()
        if size > 1:
            backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
            dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=limit)
            words = dist.new_group(backend="gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        who = signs.absent() if signs else ""
        raise UserError(
            f"--timeout {seconds:g}: {who or 'the others'} did not come ({_shortly(error)}); is the "
            "number of processes right, and does every machine reach the first?"
        ) from None
    _current = Group(rank, size, local, words if size > 1 else None, signs)
    signs.begin()
    return _current


def leave() -> None:
    """End the group; again it does nothing."""
    global _current
    group, _current = _current, Group()
    if group.signs is not None:
        group.signs.end()
    if group.size > 1 and not group.lost:
        import torch.distributed as dist

        with contextlib.suppress(RuntimeError):  # another has left in haste
            dist.destroy_process_group()
