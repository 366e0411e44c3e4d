"""What the author's code says while it is judged: prints and warnings are kept, exceptions are one line."""

import contextlib
import functools
import io
import linecache
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from mlp_torch.errors import UserError

P = ParamSpec("P")
T = TypeVar("T")

LONG = 100  # characters of what the author's code printed
OURS = str(Path(__file__).resolve().parents[3])
OTHERS = tuple(sysconfig.get_paths()[p] for p in ("stdlib", "platstdlib", "purelib", "platlib"))


@dataclass
class Said:
    """What was printed and warned of during some calls."""

    printed: io.StringIO = field(default_factory=io.StringIO)
    warned: list[warnings.WarningMessage] = field(default_factory=list)

    def notes(self, who: str = "your function") -> tuple[str, ...]:
        """One line for the prints and one for the warnings, each shortened."""
        found = []
        if text := shortened(self.printed.getvalue()):
            found.append(f"note: {who} printed: {text}")
        told = [
            f"{w.category.__name__}: {shortened(str(w.message))} at {Path(w.filename).name}:{w.lineno}"
            for w in self.warned
        ]
        if told := list(dict.fromkeys(told)):
            more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
            found.append(f"note: {who} warned: {told[0]}{more}")
        return tuple(found)


def shortened(text: str, long: int = LONG) -> str:
    line = " ".join(text.split())
    return line if len(line) <= long else f"{line[: long - 2]} …"


@contextlib.contextmanager
def heard() -> Iterator[Said]:
    """Nothing reaches stdout, stderr or the warnings of the caller; it is in what is given here."""
    said = Said()
    with (
        contextlib.redirect_stdout(said.printed),
        contextlib.redirect_stderr(said.printed),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        try:
            yield said
        finally:
            said.warned += caught or []


def quietly(judge: Callable[P, T]) -> Callable[P, T]:
    """A judge whose many calls of the author's code print and warn nowhere."""

    @functools.wraps(judge)
    def quiet(*args: P.args, **options: P.kwargs) -> T:
        void = io.StringIO()
        with (
            contextlib.redirect_stdout(void),
            contextlib.redirect_stderr(void),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            return judge(*args, **options)

    return quiet


def told(call: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """What the call gives. Raises UserError, one line with file and line, where the author's code fails."""
    try:
        return call(*args, **named)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # whatever the author's code raises is theirs to read
        raise UserError(f"your function {raised(error)}") from error


def raised(error: BaseException) -> str:
    """`raised ValueError: … at net.py:37 in backward: …`, by the last line of the author's own code."""
    if isinstance(error, SystemExit):
        what = f"called sys.exit({'' if error.code is None else repr(error.code)})"
    else:
        text = shortened(str(error), 200)
        what = f"raised {type(error).__name__}{': ' if text else ''}{text}"
    return what + place(error.__traceback__)


def place(trace: TracebackType | None) -> str:
    found = ""
    while trace is not None:
        code, file = trace.tb_frame.f_code, trace.tb_frame.f_code.co_filename
        if not file.startswith((OURS, *OTHERS, "<frozen", "<__array_function__")):
            line = linecache.getline(file, trace.tb_lineno).strip()
            name = "" if code.co_name.startswith("<") else f" in {code.co_name}"
            shown = f": `{shortened(line, 80)}`" if line else ""
            found = f" at {Path(file).name}:{trace.tb_lineno}{name}{shown}"
        trace = trace.tb_next
    return found
