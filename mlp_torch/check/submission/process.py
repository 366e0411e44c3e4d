"""The author's process as the parent sees it: asked in frames, under a clock, ended with its children."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from mlp_torch.check.submission.frames import FrameError, pack, receive
from mlp_torch.errors import InternalError, UserError

RUN = (
    "import sys, json; sys.path[:] = json.loads(sys.argv.pop()); "
    "from mlp_torch.check.submission.child import main; main()"
)
TAIL = 8192  # bytes that are kept of what the process writes to its standard error


class Process:
    """The process that runs the author's file, with at most `seconds` for all it does there."""

    def __init__(self, file: str, seconds: float, request: Mapping[str, Any]) -> None:
        self.file, self.seconds = Path(file).name, seconds
        self._until: float | None = None  # the clock starts when the author's file is run
        self._tail = b""
        self._answers: queue.Queue[Any] = queue.Queue()
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-c", RUN, json.dumps(sys.path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            bufsize=0, start_new_session=True,
        )  # fmt: skip
        self._in_background(self._listen)
        self._in_background(self._drain)
        self._send(request)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the process and whatever it started, forks and threads too."""
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self._child.pid, signal.SIGKILL)
            else:
                self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            if pipe is not None:
                pipe.close()

    def start(self) -> None:
        """Wait until the file is about to be run."""
        said = self._next()
        if said != {"ready": True}:
            raise self._strange("begins in another way")
        self._until = time.monotonic() + self.seconds

    def ask(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        self._send(question)
        return self.answer()

    def answer(self) -> Mapping[str, Any]:
        """The next thing that is said. Raises UserError where there is none, or where it is an error."""
        said = self._next()
        if not isinstance(said, dict):
            raise self._strange("says what is no answer")
        if "internal" in said:
            raise InternalError(str(said.get("error")), str(said["internal"]))
        if "interrupted" in said:
            raise KeyboardInterrupt
        if "error" in said:
            raise UserError(str(said["error"]))
        return said

    def _next(self) -> Any:
        ended = 0.0
        while True:
            try:
                said = self._answers.get(timeout=0.1)
            except queue.Empty:
                now = time.monotonic()
                if self._until is not None and now > self._until:
                    text = f"was not done after {self.seconds:g} s and was stopped; --max-seconds allows more"
                    raise UserError(f"{self.file}: {text}") from None
                if self._child.poll() is None:
                    continue
                ended = ended or now
                if now < ended + 1:  # what it said last may be on its way
                    continue
                raise self._over() from None
            if isinstance(said, EOFError | OSError):
                raise self._over()
            if isinstance(said, FrameError):
                raise self._strange(str(said))
            return said

    def _over(self) -> Exception:
        """Why nothing more is said."""
        try:
            code = self._child.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return self._strange("closed what it answers through")
        tail = self._tail.decode(errors="replace")
        if self._until is None:
            return InternalError("the process that runs the author's file did not start", tail)
        if code >= 0:
            how = f"ended its process (exit code {code})"
        else:
            name = signal.Signals(-code).name
            why = "; did it run out of memory?" if name == "SIGKILL" else ""
            how = f"was ended by {name}{why}"
        return UserError(f"{self.file}: {how} before anything was judged")

    def _strange(self, what: str) -> UserError:
        return UserError(f"{self.file}: its process cannot be understood ({what}); nothing was judged")

    def _send(self, value: Mapping[str, Any]) -> None:
        """In the background: a process that does not read must not stop the clock from being looked at."""
        frame, pipe = pack(value), self._child.stdin
        assert pipe is not None

        def send() -> None:
            rest = memoryview(frame)
            with contextlib.suppress(OSError, ValueError):  # it has ended: `_next` tells how
                while rest:
                    rest = rest[pipe.write(rest) :]

        self._in_background(send)

    def _listen(self) -> None:
        pipe = self._child.stdout
        assert pipe is not None
        while True:
            try:
                self._answers.put(receive(pipe.read))
            except (EOFError, OSError, ValueError) as error:  # FrameError is a ValueError, a closed pipe too
                self._answers.put(error if isinstance(error, FrameError) else EOFError())
                return
            except MemoryError:
                self._answers.put(FrameError("a frame larger than the memory"))
                return

    def _drain(self) -> None:
        pipe = self._child.stderr
        assert pipe is not None
        with contextlib.suppress(OSError, ValueError):
            while part := pipe.read(65536):
                self._tail = (self._tail + part)[-TAIL:]

    @staticmethod
    def _in_background(work: Any) -> None:
        threading.Thread(target=work, daemon=True).start()
