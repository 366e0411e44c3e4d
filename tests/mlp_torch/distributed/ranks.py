"""N processes of `mlp`, as torchrun would start them, without the seconds that imports take.

    python -m tests.mlp_torch.distributed.ranks     reads one JSON line a run, answers with one

They are forked by one that has imported all. What only torchrun does, restarts and
signals, is tested with torchrun (`test_launches`).
"""

import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.forked import HANGS, Server, become

IMPORTED = (  # by the server, once
    "mlp_torch.__main__",
    "torch.distributed",
    "torch._dynamo",
    "sklearn.datasets",
    "sklearn.model_selection",
    "mlp_torch.training.command",
    "mlp_torch.distributed.launch",
    "mlp_torch.distributed.build",
    "mlp_torch.distributed.engine",
    "mlp_torch.verify.dyadic",
)
LIMIT = 60.0  # seconds, after which a run hangs


@dataclass(frozen=True)
class Ended:
    """How each rank ended: its exit code, or minus the signal; what each wrote; how long all took."""

    codes: list[int]
    texts: list[str]
    seconds: float


class Ranks(Server):
    """`run(n, arguments)` is `mlp` with them, in n processes."""

    module, limit = "tests.mlp_torch.distributed.ranks", LIMIT

    def run(
        self,
        n: int,
        arguments: str,
        folder: Path,
        *,
        set_up: str = "",
        number: int = 0,
        rank: int = 0,
        once: str = "",
        after: float = 0.0,
        restarts: int = 0,
    ) -> Ended:
        """In that folder; `set_up` is code that runs first in each, or alone where there are no arguments.

        Rank `rank` is sent the signal `number`, `after` so many seconds from when a file `once` is there.
        With `restarts` all are started anew where one ends badly, as torchrun does it.
        """
        return Ended(
            **self.ask(
                n=n, arguments=arguments.split(), folder=str(folder), set_up=set_up, number=int(number),
                rank=rank, once=once, after=after, restarts=restarts,
            )
        )  # fmt: skip


def serve() -> None:
    """Fork n processes a line."""
    os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"
    for name in IMPORTED:
        importlib.import_module(name)

    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        started = time.monotonic()
        logs = [Path(asked["folder"]) / f".log-{started}-{rank}" for rank in range(asked["n"])]
        store = os.fork()  # as torchrun's: it outlives every rank
        if store == 0:
            _keep(port)
        for _ in range(asked["restarts"] + 1):
            pids = []
            for rank, log in enumerate(logs):
                pid = os.fork()
                if pid == 0:
                    given = asked["arguments"], asked["folder"], log, asked["set_up"]
                    become(*given, environment(asked["n"], rank, port))
                pids.append(pid)
            codes = _wait(pids, started, asked)
            asked["number"] = 0
            if not any(codes):
                break
        os.kill(store, signal.SIGKILL)
        os.waitpid(store, 0)
        texts = [log.read_text(errors="replace") for log in logs]
        for log in logs:
            log.unlink()
        answer = {"codes": codes, "texts": texts, "seconds": time.monotonic() - started}
        print(json.dumps(answer), flush=True)


def _keep(port: int) -> None:
    import torch.distributed as dist

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    kept = dist.TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
    while kept:
        signal.pause()


def environment(n: int, rank: int, port: int) -> dict[str, str]:
    """What torchrun tells a rank, and one thread."""
    return {
        "RANK": str(rank), "WORLD_SIZE": str(n), "LOCAL_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True", "OMP_NUM_THREADS": "1",
    }  # fmt: skip


def _wait(pids: list[int], started: float, asked: dict[str, Any]) -> list[int]:
    """The ends of all; after LIMIT seconds they are killed, and hang."""
    codes: dict[int, int] = {}
    told = False
    sent, begun = not asked["number"], None if asked["once"] else started
    while len(codes) < len(pids):
        for pid in set(pids) - set(codes):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                codes[pid] = os.waitstatus_to_exitcode(status)
        if asked["restarts"] and any(codes.values()) and not told:
            told = True
            for pid in set(pids) - set(codes):
                os.kill(pid, signal.SIGTERM)
        now = time.monotonic()
        if begun is None and Path(asked["folder"], asked["once"]).exists():
            begun = now
        victim = pids[asked["rank"]]
        if not sent and begun is not None and now - begun >= asked["after"] and victim not in codes:
            os.kill(victim, asked["number"])
            sent = True
        if now - started > LIMIT or (
            asked["number"] == signal.SIGSTOP and set(pids) - set(codes) == {victim}
        ):
            for pid in set(pids) - set(codes):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                codes[pid] = HANGS
        select.select([], [], [], 0.002)
    return [codes[pid] for pid in pids]


if __name__ == "__main__":
    serve()
