"""Signs of life: every process leaves one in the store, with its step; who leaves none hangs or is gone.

The store is torchrun's, in a process of its own. A count that has not moved for most of `--timeout` ends the
process that waits for it, with a line that names the rank and its last step: rank 0 watches all, all watch
rank 0. Clocks of two machines are never compared.
"""

import contextlib
import json
import os
import socket
import sys
import threading
import time
from datetime import timedelta
from typing import Any

from mlp_torch.distributed.meeting import Meeting
from mlp_torch.processes import lives, owner

BEATS, OFTEN, PATIENCE = 8, 2.0, 0.7  # signs in a timeout, or seconds between two; how late one may be
ENDED = 1  # the exit code of a process that gives up
PREFIX = "mlp_torch"


class Signs:
    """The signs of `rank` among `size`, and the watch over the others'."""

    def __init__(self, rank: int, size: int, seconds: float) -> None:
        from torch._C._distributed_c10d import PrefixStore, TCPStore  # torch.distributed's, which has types

        self.rank, self.size, self.seconds, self.step = rank, size, seconds, 0
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        self.agents = agents = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        limit = timedelta(seconds=seconds)
        # a second connection, for the thread: one alone would wait for the other's answers
        self.stores = [
            TCPStore(host, port, is_master=not agents and rank == 0 and i == 0, timeout=limit) for i in (0, 1)
        ]
        self.launch = PrefixStore(PREFIX, self.stores[0])
        self.meeting = Meeting(PrefixStore(f"{PREFIX}/meeting", self.stores[0]), rank, size)
        self.address = _address(host, port)
        self.over = threading.Event()
        self.answered = time.monotonic()
        self.watching = [threading.Thread(target=run, daemon=True) for run in (self._watch, self._guard)]

    def meet(self) -> Any:
        """Find the others; the store of this attempt's process group. Raises RuntimeError, see `absent`."""
        from torch._C._distributed_c10d import PrefixStore

        attempt = f"{PREFIX}/{self.meeting.held(self.seconds)}"
        self.store, self.threads = (PrefixStore(attempt, store) for store in self.stores)
        self.store.set(f"who/{self.rank}", json.dumps(owner() | {"address": self.address}))
        self._beat(self.store, 0)
        return PrefixStore(f"{attempt}/group", self.stores[0])

    def begin(self) -> None:
        """Leave signs, and watch, until `end`."""
        if self.size > 1:
            self.answered = time.monotonic()
            for thread in self.watching:
                thread.start()

    def end(self) -> None:
        self.over.set()
        for thread in self.watching:
            if thread.is_alive():
                thread.join(1)  # one that waits for a store that is gone ends with the process

    def absent(self) -> str:
        """Who has not come at all, in words."""
        return _ranks(self.meeting.absent)

    def missing(self, said: str) -> str:
        """Who is not alive, or cannot be reached by what the library `said`; in words, with the last step."""
        time.sleep(min(0.2, self.seconds / 10))  # one that is being killed may still be seen
        others = [r for r in range(self.size) if r != self.rank]
        try:
            who = {r: json.loads(self.store.get(f"who/{r}")) for r in range(self.size)}
            steps = {r: seen[1] for r, seen in zip(others, self._seen(self.store, others), strict=True)}
        except RuntimeError:
            return "torchrun's store, and who was there" if self.agents else "rank 0"
        ways = (
            [r for r in others if lives(who[r]) is False],
            [
                r
                for r in others
                if who[r]["address"] != who[self.rank]["address"] and who[r]["address"] in said
            ],
            [r for r in others if steps[r] < self.step],
            others,
        )
        found = next(ranks for ranks in ways if ranks)
        hosts = {r: str(who[r]["host"]).split()[0] for r in found}
        return " and ".join(f"rank {r} on {hosts[r]}, last seen at step {steps[r]}" for r in found)

    def _beat(self, store: Any, count: int) -> None:
        store.set(f"beat/{self.rank}", f"{count} {self.step}")

    def _seen(self, store: Any, ranks: list[int]) -> list[tuple[int, int]]:
        """Of each, how many signs it has left, and its step."""
        found = [text.decode().split() for text in store.multi_get([f"beat/{r}" for r in ranks])]
        return [(int(count), int(step)) for count, step in found]

    def _watch(self) -> None:
        """The thread: a sign, and a look at the others', so many times in a timeout."""
        watched = [r for r in range(self.size) if r != self.rank] if self.rank == 0 else [0]
        last: dict[int, tuple[int, float]] = {}
        count = 0
        while not self.over.wait(min(OFTEN, self.seconds / BEATS)):
            count += 1
            try:
                self._beat(self.threads, count)
                for r, (found, step) in zip(watched, self._seen(self.threads, watched), strict=True):
                    now = time.monotonic()
                    if r not in last or found != last[r][0]:
                        last[r] = found, now
                    elif now - last[r][1] > PATIENCE * self.seconds:
                        self.give_up(
                            f"rank {r} has given no sign of life for {now - last[r][1]:.0f} s, "
                            f"its last step was {step}"
                        )
                self.answered = time.monotonic()
            except RuntimeError:  # the store is gone; if it stays so, `_guard` says it
                continue

    def _guard(self) -> None:
        """The other thread, which asks nobody: whether the store answers."""
        while not self.over.wait(min(OFTEN, self.seconds / BEATS)):
            silent = time.monotonic() - self.answered
            if silent > PATIENCE * self.seconds:
                where = "torchrun's store" if self.agents else "rank 0"
                self.give_up(f"{where} has given no sign of life for {silent:.0f} s")

    def give_up(self, why: str) -> None:
        """End this process, which may wait in a call that nothing else ends."""
        print(f"mlp train: rank {self.rank}, at step {self.step}: {why}", file=sys.stderr, flush=True)
        os._exit(ENDED)


def _address(host: str, port: int) -> str:
    """This machine's, as it is seen from there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way, contextlib.suppress(OSError):
        way.connect((host, port))
        return str(way.getsockname()[0])
    return ""


def _ranks(found: list[int]) -> str:
    return f"rank{'s' * (len(found) > 1)} {', '.join(map(str, found))}" if found else ""
