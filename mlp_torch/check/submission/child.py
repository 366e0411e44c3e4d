"""The author's process: it runs the file, says what it found, and then gives values for what it is asked.

Nothing that is said here is believed: the author's code runs in this interpreter, and may change all of it.
"""

import inspect
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NoReturn

from mlp_torch.check.authors_file import function_of, held, module_of
from mlp_torch.check.functions.calling.calls import heard, raised, told
from mlp_torch.check.functions.calling.objects import is_net
from mlp_torch.check.functions.calling.orders import signature
from mlp_torch.check.report import CheckReport
from mlp_torch.check.submission import limits
from mlp_torch.check.submission.frames import FrameError, pack, receive
from mlp_torch.errors import UserError

Say = Callable[[Mapping[str, Any]], None]


def main() -> NoReturn:
    """The parent's frames come on stdin and go out on stdout; the author's code has neither of the two."""
    incoming, outgoing = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)

    def say(answer: Mapping[str, Any]) -> None:
        frame = memoryview(pack(answer))
        while frame:
            frame = frame[os.write(outgoing, frame) :]

    request = receive(lambda n: os.read(incoming, n))
    from mlp_torch.check.functions import function  # torch: what takes its time before the clock starts

    assert function
    say({"ready": True})
    limits.bound(request["memory"], request["seconds"])
    sys.argv = [request["path"]]
    try:
        _serve(request, say, lambda: receive(lambda n: os.read(incoming, n)))
    except (EOFError, BrokenPipeError):  # the parent has all it wants
        os._exit(0)
    except BaseException as error:  # whatever the author's code raises, also what is no Exception
        say(_ended(error, request["memory"]))
    os._exit(0)  # without the author's atexit, and without their threads


def _ended(error: BaseException, memory: float) -> dict[str, Any]:
    """What is said of an error: the author's mistake in one line, or our own with its traceback."""
    if isinstance(error, UserError):
        full = f"; --max-memory {memory:g} allows no more" if "raised MemoryError" in str(error) else ""
        return {"error": f"{error}{full}"}
    if isinstance(error, KeyboardInterrupt):
        return {"interrupted": True}
    told_as = raised(error)
    if isinstance(error, RecursionError):
        return {"error": f"your function {told_as}: does what it takes or gives hold itself?"}
    if isinstance(error, MemoryError):
        return {"error": f"your function {told_as}; --max-memory {memory:g} allows no more"}
    if " at " in told_as.removeprefix(f"raised {type(error).__name__}: {error}"):
        return {"error": f"your function {told_as}"}
    return {"internal": "".join(traceback.format_exception(error)), "error": told_as}


def _serve(request: Mapping[str, Any], say: Say, ask: Callable[[], Any]) -> None:
    from mlp_torch.check.functions.function import check_function
    from mlp_torch.check.functions.values import Values

    given, notes = _given(request)
    if isinstance(given, CheckReport | Mapping):
        try:
            say({"own": given, "notes": notes})
        except FrameError as error:
            shown = f"{request['path']}:{request['function']}"
            raise UserError(f"{shown}: gives {error}, which cannot be handed over") from None
        return
    function, parameters, *data = given
    described = request["described"]
    report = check_function(function, parameters, *data, timeout=request["timeout"], **described)
    say({"report": replace(report, notes=(*report.notes, *notes))})
    values = Values(function, parameters, tuple(data), described)
    try:
        say({"start": values.start, "data": values.data if described else None})
    except FrameError:
        say({"start": values.start, "data": None})
    while True:
        asked = ask()
        try:
            say(values.at(asked["at"], asked["gradients"]))
        except (Exception, SystemExit) as error:  # other parameters are not everybody's
            say({"failed": str(error)})


def _given(request: Mapping[str, Any]) -> tuple[Any, tuple[str, ...]]:
    """((function, parameters, *data), or what the function gave of its own; notes of what was printed).

    FILE.py:function is loss_and_gradients(parameters, x, y) beside the file's `parameters` and `data` (or
    `x` and `y`), or takes nothing and gives a CheckReport, the arguments of check_function, or those of
    check_gradients as a dict. FILE.py:net is an object, FILE.py:net.loss its method.
    """
    path, name = request["path"], request["function"]
    module, notes = module_of(path)
    function = function_of(module, path, name)
    holds = is_net(function) or inspect.ismethod(function)
    if not holds and not isinstance(function, type) and not _needed(function):
        with heard() as said:
            given = told(function)
        notes = (*notes, *said.notes())
        if isinstance(given, CheckReport | Mapping):
            return given, notes
        if isinstance(given, tuple | list) and len(given) > 1 and callable(given[0]):
            return given, notes
        raise UserError(
            f"{path}:{name}: takes nothing and gives a {type(given).__name__}; name a function of "
            "(parameters, x, y), or let it give (function, parameters, x, y)"
        )
    parameters = None if holds and not hasattr(module, "parameters") else held(module, "parameters", path)
    if hasattr(module, "data"):
        data = held(module, "data", path)
        data = data if isinstance(data, tuple | list) else (data,)
    else:
        data = (held(module, "x", path), held(module, "y", path))
    return (function, parameters, *data), notes


def _needed(function: Any) -> list[inspect.Parameter]:
    """The arguments that must be given."""
    spread = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    shape = signature(function)
    every = shape.parameters.values() if shape else ()
    return [p for p in every if p.default is p.empty and p.kind not in spread]
