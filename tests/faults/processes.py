"""Real processes of `mlp`, without the seconds that imports take: forked by one that has imported all.

    python -m tests.faults.processes        reads one JSON line a process, answers with one

It runs nothing itself, so that no library's threads are forked half.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
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


class Processes:
    """`run(arguments)` is `mlp` with them, in a process of its own."""

    def __enter__(self) -> Self:
        self.server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.processes"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        return self

    def __exit__(self, *error: object) -> None:
        self.server.communicate(timeout=LIMIT)  # closes its input, which ends it

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
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        asked = {"arguments": list(arguments), "folder": str(folder), "after": after}
        asked |= {"once": once, "number": int(number)}
        self.server.stdin.write(json.dumps(asked | {"set_up": set_up}) + "\n")
        self.server.stdin.flush()
        return Ended(**json.loads(self.server.stdout.readline()))


def serve() -> None:
    """Fork a process a line."""
    from mlp_torch.__main__ import main

    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        log = Path(asked["folder"]) / f".log-{time.monotonic_ns()}"
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            _be(main, asked, log)
        code, begun = _wait(pid, started, asked)
        text = log.read_text(errors="replace") if log.exists() else ""
        log.unlink(missing_ok=True)
        answer = {"code": code, "text": text, "seconds": time.monotonic() - started, "begun": begun}
        print(json.dumps(answer), flush=True)


def _be(main: Any, asked: dict[str, Any], log: Path) -> None:
    """The process: its output in a file, its exit code as the command's would be."""
    out = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(asked["folder"])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where nohup ignores them
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    code = 1
    try:
        exec(asked["set_up"], {})
        code = main(asked["arguments"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]  # there is an exception here
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(pid: int, started: float, asked: dict[str, Any]) -> tuple[int, float]:
    """The end of a process; after LIMIT seconds it is killed, and 'hangs' (exit code 999)."""
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
            return 999, 0.0
        time.sleep(0.0005)


if __name__ == "__main__":
    serve()
