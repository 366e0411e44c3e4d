"""Long texts go through a pager where there is a terminal, and nowhere else; leaving it ends quietly."""

import io
import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import sys
import termios
import time

import pytest

from mlp_torch.config import Compare, Train
from mlp_torch.explanation.config import Explain
from mlp_torch.lecture.config import Lecture
from mlp_torch.pager import PagerFlag, command, paged
from mlp_torch.sweep.config import Sweep

ROWS = 30
MARK = "read by the pager"
# A pager that says so and shows what it is given.
MARKING = f"{sys.executable} -c \"import sys; sys.stdout.write('{MARK}\\n' + sys.stdin.read())\""


class Terminal:
    """`mlp …` in a terminal of its own, 100 columns by `ROWS`: what it shows, keys, and its exit code."""

    def __init__(self, typed: str, **environment: str) -> None:
        self.ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (ROWS, 100))
        inherited = {k: v for k, v in os.environ.items() if k not in ("PAGER", "LESS", "NO_COLOR", "COLUMNS")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlp_torch", *typed.split()],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=own_terminal,
            env=inherited | {"TERM": "xterm-256color"} | environment,
        )
        os.close(theirs)
        self.shown = ""

    def until(self, text: str, seconds: float = 60) -> None:
        """Read until it shows the text. Raises AssertionError if it ends or hangs before."""
        end = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            assert self._read(), self.shown

    def _read(self) -> bool:
        if not select.select([self.ours], [], [], 1)[0]:
            return True
        try:
            got = os.read(self.ours, 65536)
        except OSError:  # the other end is closed
            return False
        self.shown += got.decode(errors="replace")
        return bool(got)

    def press(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def ended(self) -> int:
        """The exit code, once all is read."""
        end = time.monotonic() + 60
        while self._read() and time.monotonic() < end:
            if self.process.poll() is not None and not select.select([self.ours], [], [], 0)[0]:
                break
        code = self.process.wait(30)
        os.close(self.ours)
        return code


def own_terminal() -> None:
    """The terminal is this process's own, so that Ctrl-C in it reaches the process."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    import fcntl

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_what_is_taller_than_the_screen_goes_through_the_pager_with_its_colours():
    terminal = Terminal("explain glossary", PAGER=MARKING)
    assert terminal.ended() == 0
    assert terminal.shown.startswith(MARK)
    assert terminal.shown.count(MARK) == 1
    assert "\x1b[1;36mcertified" in terminal.shown
    assert "wrong_second_derivative" in terminal.shown


def test_what_fits_on_the_screen_is_printed():
    terminal = Terminal("explain certified", PAGER=MARKING)
    assert terminal.ended() == 0
    assert MARK not in terminal.shown
    assert "certified" in terminal.shown


def test_it_is_printed_where_no_pager_is_wanted():
    terminal = Terminal("explain glossary --no-pager", PAGER=MARKING)
    assert terminal.ended() == 0
    assert MARK not in terminal.shown
    assert "wrong_second_derivative" in terminal.shown


def test_down_a_pipe_there_is_no_pager():
    done = subprocess.run(
        [sys.executable, "-m", "mlp_torch", "explain", "glossary"],
        capture_output=True, text=True, env=os.environ | {"PAGER": MARKING, "TERM": "xterm"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert MARK not in done.stdout
    assert "\x1b" not in done.stdout


needs_less = pytest.mark.skipif(shutil.which("less") is None, reason="no less on this machine")


@needs_less
@pytest.mark.parametrize(("keys", "less"), [(b"q", ""), (b" \x03q", "FRX")])
def test_less_shows_the_beginning_and_q_and_ctrl_c_end_quietly(keys, less):
    terminal = Terminal("explain glossary", LESS=less)
    terminal.until("certified")
    assert "wrong_second_derivative" not in terminal.shown  # it waits at the first screen
    assert "\x1b[1;36mcertified" in terminal.shown or "\x1b[1m\x1b[36mcertified" in terminal.shown
    for key in keys:
        time.sleep(0.2)
        terminal.press(bytes([key]))
    assert terminal.ended() == 0
    assert "Traceback" not in terminal.shown
    assert "interrupted" not in terminal.shown


@needs_less
@pytest.mark.long
def test_the_lectures_first_step_is_read_while_the_others_are_measured_and_q_ends_it():
    terminal = Terminal("lecture")
    terminal.until("forward pass")
    time.sleep(0.5)
    terminal.press(b"q")
    assert terminal.ended() == 0
    assert "steps in" not in terminal.shown
    assert "Traceback" not in terminal.shown


class Screen(io.StringIO):
    """A terminal of ten lines, in this process."""

    encoding, errors = "utf-8", "strict"

    def isatty(self):
        return True


def on_a_screen(monkeypatch, pager: str) -> Screen:
    """Such a terminal in the place of stdin and stdout, from here to the end of the test."""
    monkeypatch.setattr(sys, "stdin", Screen())
    monkeypatch.setattr(sys, "stdout", found := Screen())
    for name, value in (("PAGER", pager), ("TERM", "xterm"), ("LINES", "10"), ("COLUMNS", "20")):
        monkeypatch.setenv(name, value)
    return found


def test_a_reader_who_leaves_ends_what_is_printed_and_nothing_is_raised(monkeypatch):
    on_a_screen(monkeypatch, f"{sys.executable} -c pass")
    printed = 0
    with paged(Explain()):
        for printed in range(1, 100_000):
            print("line", flush=True)
            if printed > 10:
                time.sleep(0.01)
    assert 10 <= printed < 99_999


@pytest.mark.parametrize(
    ("lines", "width", "paged_"), [(8, 20, False), (10, 20, True), (4, 40, False), (4, 41, True)]
)
def test_the_pager_starts_where_the_wrapped_lines_fill_the_screen(
    lines, width, paged_, monkeypatch, tmp_path
):
    out = tmp_path / "read"
    script = f"import sys; open({str(out)!r}, 'w').write(sys.stdin.read())"
    screen = on_a_screen(monkeypatch, shlex.join([sys.executable, "-c", script]))
    with paged(Explain()):
        for _ in range(lines):
            print("x" * width if width > 20 else "x")
    text = ("x" * width if width > 20 else "x") + "\n"
    assert (out.read_text() if out.exists() else "") == text * lines * paged_
    assert screen.getvalue() == text * lines * (not paged_)


def test_an_error_inside_is_raised_after_the_text_is_shown(monkeypatch):
    screen = on_a_screen(monkeypatch, sys.executable)

    def inside():
        with paged(Explain()):
            print("before")
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        inside()
    assert screen.getvalue() == "before\n"


def test_nothing_that_trains_is_paged():
    assert not issubclass(Train, PagerFlag)
    assert not issubclass(Sweep, PagerFlag)
    assert all(issubclass(kind, PagerFlag) for kind in (Compare, Explain, Lecture))


def test_the_pager_is_pagers_or_less(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("PAGER", f"{sys.executable} -u")
    assert command() == [sys.executable, "-u"]
    monkeypatch.delenv("PAGER")
    assert command() == (["less"] if shutil.which("less") else [])


@pytest.mark.parametrize(
    ("pager", "term"),
    [("cat", "xterm"), ("", "xterm"), ("no-such-pager", "xterm"), ("'", "xterm"), ("more", "dumb")],
)
def test_there_is_none_where_none_is_wanted_or_can_be(pager, term, monkeypatch):
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("PAGER", pager)
    assert command() == []
