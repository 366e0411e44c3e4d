"""What the servers of forked processes share: a line of JSON asks for a run, a line answers.

A server has imported all and runs nothing itself, so that no library's threads are forked half.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self

ROOT = Path(__file__).parents[1]
HANGS = 999  # the exit code of what had to be killed


class Server:
    """The parent's end: a process of `module`, which serves until its input is closed."""

    module: ClassVar[str]
    limit: ClassVar[float]  # seconds

    def __enter__(self) -> Self:
        self.server = subprocess.Popen(
            [sys.executable, "-m", self.module],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        return self

    def __exit__(self, *error: object) -> None:
        self.server.communicate(timeout=self.limit)  # closes its input, which ends it

    def ask(self, **asked: Any) -> dict[str, Any]:
        """The answer to one line."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(asked) + "\n")
        self.server.stdin.flush()
        answer: dict[str, Any] = json.loads(self.server.stdout.readline())
        return answer


def become(
    arguments: Sequence[str], folder: str, log: Path, set_up: str, more: Mapping[str, str] | None = None
) -> NoReturn:
    """In a child: `mlp` with these arguments, after the code of `set_up`; that alone where there are none.

    `more` joins the environment. Its output goes to the end of a file; its exit code is the command's.
    """
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(folder)
    os.environ |= more or {}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where nohup ignores them
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    code = 1
    try:
        from mlp_torch.__main__ import main

        exec(set_up, {})
        code = main(list(arguments)) if arguments else 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]  # there is an exception here
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
