"""How the author's function is called: what it takes and gives, what a call changes, prints and raises."""

import contextlib
import copy
import functools
import io
import linecache
import sysconfig
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.layers import align, flatten
from mlp_torch.errors import UserError


def seed() -> None:
    np.random.seed(0)  # authors draw dropout masks from it: two calls must draw the same


def fresh(kept: Any) -> tuple[Any, ...]:
    parameters, data = copy.deepcopy(kept)
    return (parameters, *data) if isinstance(data, tuple) else (parameters, data)


def result_of(result: Any) -> tuple[Any, Any, Any]:
    """(loss, gradients, output or None)."""
    if not isinstance(result, tuple | list) or len(result) < 2:
        raise UserError("the function must return (loss, gradients), or (loss, gradients, output)")
    loss = result[0]
    if np.asarray(loss).dtype.kind not in "fiubc":
        raise UserError(f"the loss is a {type(loss).__name__}; it must be a number, the first thing returned")
    if np.size(loss) != 1:
        raise UserError(f"the loss has shape {np.shape(loss)}; it must be a scalar, the first thing returned")
    return np.asarray(loss).reshape(())[()], result[1], result[2] if len(result) > 2 else None


def need_finite(loss: Any, values: Mapping[str, Array], data: tuple[Any, ...]) -> None:
    """Raise UserError where the loss is no finite number, with the array that it may come from."""
    if np.isfinite(loss):
        return
    given = {**values, **{f"data[{i}]": v for i, v in enumerate(data) if isinstance(v, np.ndarray)}}
    empty = [f"{name} is empty" for name, v in given.items() if not v.size]
    bad = [
        f"{name} holds NaN or infinite entries"
        for name, v in given.items()
        if v.dtype.kind == "f" and not np.isfinite(v).all()
    ]
    cause = "; ".join([*empty, *bad]) or "it overflows, or takes the log of 0, on the way"
    raise UserError(f"the loss is {loss}, and nothing can be compared with that: {cause}")


def gradients_of(names: Mapping[str, Any], gradients: Any, values: Mapping[str, Array]) -> dict[str, Array]:
    aligned = align(names, flatten(gradients, what="gradients"))
    missing = [n for n in values if aligned.get(n) is None]
    if missing:
        raise UserError(
            f"no gradient for {', '.join(missing)}; give one an array, under the parameters' names"
        )
    return {n: np.array(aligned[n], copy=True) for n in values}


def need_numbers(gradients: Mapping[str, Array]) -> None:
    for name, array in gradients.items():
        if array.dtype.kind not in "fiubc":
            raise UserError(f"the gradient of {name} has the dtype {array.dtype}; give an array of numbers")


def changed(before: Any, after: Any, name: str) -> list[str]:
    try:
        old, new = flatten(before), flatten(after)
    except UserError:
        return []
    where = "" if name == "parameters" else f"{name} "
    if set(old) != set(new):
        return [name]
    return [f"{where}{k}".strip() if name == "parameters" or k != "0" else name
            for k in old if not _same(np.asarray(old[k]), np.asarray(new[k]))]  # fmt: skip


def _same(a: Array, b: Array) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def nested(tree: Any, arrays: Mapping[str, Any], prefix: str = "") -> Any:
    """The arrays put back into the author's nesting."""
    if tree is None:
        return None
    if isinstance(tree, Mapping):
        return {k: nested(v, arrays, f"{prefix}.{k}" if prefix else str(k)) for k, v in tree.items()}
    if isinstance(tree, list | tuple) and not (f"{prefix or '0'}" in arrays and prefix):
        items = [nested(v, arrays, f"{prefix}.{i}" if prefix else str(i)) for i, v in enumerate(tree)]
        return items if isinstance(tree, list) else tuple(items)
    return arrays.get(prefix or "0", tree)


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
