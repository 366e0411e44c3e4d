"""What is printed arrives: plain letters where the terminal has no ∂, a closed pipe or full disk in one line.

Nothing heavy is imported here: every command begins with it.
"""

import codecs
import contextlib
import errno
import os
import sys
import tempfile
import traceback
import unicodedata
from collections.abc import Callable, Iterator
from typing import TextIO

PLAIN = {
    "−": "-", "–": "-", "—": "-", "∂": "d", "·": ".", "×": "x", "÷": "/", "…": "...", "±": "+-", "√": "sqrt",
    "Σ": "sum", "∇": "grad", "∞": "inf", "∝": "~", "∈": "in", "≈": "~", "≠": "!=", "≤": "<=", "≥": ">=",
    "←": "<-", "→": "->", "↓": "v", "‖": "||", "⟨": "<", "⟩": ">", "⌈": "[", "⌉": "]", "′": "'", "″": "''",
    "‴": "'''", "’": "'", "“": '"', "”": '"', "€": "EUR", "£": "GBP", "¥": "JPY", "ᵀ": "T", "¼": "1/4",
    "½": "1/2", "⅓": "1/3", "ℓ": "l", "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "eps",
    "η": "eta", "θ": "theta", "λ": "lambda", "μ": "mu", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau",
    "φ": "phi", "Δ": "Delta", "Φ": "Phi", "│": "|", "─": "-", "╭": "+", "╮": "+", "╰": "+", "╯": "+",
    "━": "-", "█": "#", "•": "*", "↑": "^", "⊕": "(+)", "□": "[]", "✓": "ok", "✗": "x",
}  # fmt: skip
NAME = "mlp_plain"  # of the answer to what cannot be encoded


def plain(text: str) -> str:
    """The text in ASCII: a sign's name or its letter without marks, ? where it has neither."""
    return "".join(_plain(sign) for sign in text)


def _plain(sign: str) -> str:
    if sign.isascii():
        return sign
    if sign in PLAIN:
        return PLAIN[sign]
    parts = unicodedata.normalize("NFKD", sign)
    letters = "".join(PLAIN.get(p, p) for p in parts if not unicodedata.combining(p))
    return letters if letters.isascii() and letters else "" if unicodedata.combining(sign) else "?"


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return plain(error.object[error.start : error.end]), error.end


def prepare() -> None:
    """What stdout and stderr cannot encode is written in plain letters; a stream that is closed is none."""
    codecs.register_error(NAME, _replaced)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115  # for good
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=NAME)


def say(line: str) -> None:
    """One line on stderr, whatever is in it; nothing where stderr is full or gone."""
    shown = "".join(c if c.isprintable() else " " for c in line)
    try:
        print(shown, file=sys.stderr, flush=True)
    except (OSError, ValueError):  # Python would try again at its end, and end with 120
        _away(sys.stderr)


def delivered(speaker: str, run: Callable[[], int]) -> int:
    """The exit code of `run` once all that it printed is written; 141 or 74 where nobody takes it."""
    try:
        try:
            code = run()
        except SystemExit:  # --help
            sys.stdout.flush()
            raise
        sys.stdout.flush()
        return code
    except OSError as error:
        if not isinstance(error, BrokenPipeError) and (error.filename is not None or _takes(sys.stdout)):
            raise
        _away(sys.stdout)
        if isinstance(error, BrokenPipeError):  # the reader, `head` say, has gone
            return 141
        say(f"{speaker}: what it prints cannot be written ({error.strerror or error})")
        return os.EX_IOERR if hasattr(os, "EX_IOERR") else 74


def _takes(stream: TextIO) -> bool:
    """Whether it can still be written to: what could not be is tried again, and an empty line after it."""
    try:
        print(file=stream, flush=True)
    except OSError:
        return False
    except ValueError:  # closed
        return True
    return True


def _away(stream: TextIO) -> None:
    """What is left in it goes nowhere, now and when the program ends."""
    with contextlib.suppress(OSError, ValueError):  # no file behind it, as under a test
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def kept(error: BaseException) -> str:
    """Where the traceback of an error of our own is kept, or why nowhere."""
    text = getattr(error, "trace", "") or "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="mlp-error-", suffix=".txt", delete=False, encoding="utf-8", errors="replace"
        ) as file:
            file.write(text)
    except OSError as none:
        return f"its traceback could not be kept ({os.strerror(none.errno or errno.EIO)})"
    return f"the traceback is in {file.name}"


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Nothing that a library writes to the process's stderr past Python is seen meanwhile."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
