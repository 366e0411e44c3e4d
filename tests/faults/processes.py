"""Real processes of `mlp`, without the seconds that imports take: forked by one that has imported all.

python -m tests.faults.processes        reads one JSON line a process, answers with one
"""

import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.forked import HANGS, Server, become

LIMIT = 120.0  # seconds, after which a process hangs


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, or minus the signal; what it wrote; how long it took.

    `begun` is when the file of `once` was first there.
    """

    code: int
    text: str
    seconds: float
    begun: float


class Processes(Server):
    """`run(arguments)` is `mlp` with them, in a process of its own."""

    module, limit = "tests.faults.processes", LIMIT

    def run(
        self,
        arguments: Sequence[str],
        folder: Path,
        *,
        after: float | None = None,
        once: str = "",
        number: int = signal.SIGKILL,
        set_up: str = "",
    ) -> Ended:
        """In that folder; `after` so many seconds, `once` a file is there, it is sent a signal.

        `set_up` is code that runs first.
        """
        return Ended(
            **self.ask(
                arguments=list(arguments), folder=str(folder), after=after, once=once, number=int(number),
                set_up=set_up,
            )
        )  # fmt: skip


def serve() -> None:
    """Fork a process a line."""
    importlib.import_module("mlp_torch.__main__")

    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        log = Path(asked["folder"]) / f".log-{time.monotonic_ns()}"
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            become(asked["arguments"], asked["folder"], log, asked["set_up"])
        code, begun = _wait(pid, started, asked)
        text = log.read_text(errors="replace") if log.exists() else ""
        log.unlink(missing_ok=True)
        answer = {"code": code, "text": text, "seconds": time.monotonic() - started, "begun": begun}
        print(json.dumps(answer), flush=True)


def _wait(pid: int, started: float, asked: dict[str, Any]) -> tuple[int, float]:
    """The end of a process; after LIMIT seconds it is killed, and hangs."""
    begun = None if asked["once"] else started  # when the time until the signal starts
    sent = asked["after"] is None
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), (begun or started) - started
        now = time.monotonic()
        if begun is None and Path(asked["folder"], asked["once"]).exists():
            begun = now
        if not sent and begun is not None and now - begun >= asked["after"]:
            os.kill(pid, asked["number"])
            sent = True
        if now - started > LIMIT:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return HANGS, 0.0
        time.sleep(0.0005)


if __name__ == "__main__":
    serve()
