"""The author's program, rewritten: run as it is, with values replaced, or on torch with its truths."""

import ast
import contextlib
import copy
import io
import linecache
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.functions.copies import Copies, written
from mlp_torch.check.lines.edits import Scope
from mlp_torch.check.lines.line import GuiltyLine
from mlp_torch.check.lines.recording import At, Recorder
from mlp_torch.check.lines.sites import ENTER, RECORD, Site, rewritten

Gradients = dict[str, Array]


class UnavailableError(Exception):
    """No line can be named here; the text says why."""


@dataclass
class Source:
    """One of the author's files: its text, its tree, the code objects of its functions, rewritten."""

    file: str
    text: str
    lines: list[str]
    tree: ast.Module  # as the author wrote it
    codes: dict[tuple[str, int], types.CodeType]


class Sources:
    """The author's files, each rewritten once; sites are numbered through all of them."""

    def __init__(self) -> None:
        self.files: dict[str, Source | None] = {}
        self.sites: list[Site] = []

    def code(self, given: types.CodeType) -> types.CodeType:
        """The rewritten code of a function of the author's, or the code itself where there is no text."""
        source = self.of(given.co_filename)
        if source is None:
            return given
        found = source.codes.get((given.co_qualname.rpartition("<locals>.")[2], given.co_firstlineno), given)
        return found if found.co_freevars == given.co_freevars else given

    def of(self, file: str) -> Source | None:
        if file not in self.files:
            self.files[file] = self._read(file)
        return self.files[file]

    def rewritten(self, text: str, file: str) -> tuple[ast.Module, list[Site]]:
        return rewritten(text, file, len(self.sites))

    def _read(self, file: str) -> Source | None:
        text = "".join(linecache.getlines(file)) or (
            Path(file).read_text(encoding="utf-8") if Path(file).is_file() else ""
        )
        if not text or not written(file):
            return None
        try:
            tree, sites = self.rewritten(text, file)
        except SyntaxError:
            return None
        self.sites += sites
        codes = codes_of(compile(tree, file, "exec"))
        return Source(file, text, text.splitlines(), ast.parse(text), codes)


def codes_of(code: types.CodeType) -> dict[tuple[str, int], types.CodeType]:
    """Every function's code in a module's, by the last part of its name and its first line."""
    found: dict[tuple[str, int], types.CodeType] = {}
    waiting = [code]
    while waiting:
        for constant in waiting.pop().co_consts:
            if isinstance(constant, types.CodeType):
                name = constant.co_qualname.rpartition("<locals>.")[2]
                found.setdefault((name, constant.co_firstlineno), constant)
                waiting.append(constant)
    return found


class Program:
    """`function(parameters, *data)` gives (loss, gradients by name, …), `loss` the loss alone, traceable.

    It gives the same in every call: its copies, with rewritten code and with the author's own, are made once.
    """

    rivals = False  # whether lines without a true gradient are tried as well where another one mends
    scope: type[Scope] = Scope  # what expressions of the author's are read in

    def __init__(self, function: Callable[..., Any], loss: Callable[..., Any], sources: Sources) -> None:
        self.function, self.loss, self.sources = function, loss, sources
        self.recorder = Recorder(sources.sites)
        self.runs = 0

    @cached_property
    def _rewritten(self) -> tuple[Copies, Callable[..., Any]]:
        copies = Copies(self.sources.code, {RECORD: self.recorder.value, ENTER: self.recorder.enter})
        return copies, copies.of(self.function)

    @cached_property
    def _plain(self) -> tuple[Copies, Callable[..., Any]]:
        copies = Copies()
        return copies, copies.of(self.function)

    def may_slip(self, file: str, line: int) -> bool:
        """Whether an edit of this line is worth a word beside one that mends."""
        return True

    def may_lack(self, file: str, line: int) -> bool:
        """Whether a line gives nothing where a gradient may be meant."""
        return False

    def hidden(self, hit: Any, mender: Any) -> bool:
        """Whether the blamed value is what a compiled kernel gave: no line of it can be read."""
        return False

    def told(self, line: GuiltyLine, hit: Any, mender: Any) -> GuiltyLine:
        """What is said of a line, from the blamed value `hit` and what tried to mend it."""
        return line

    def run(
        self, parameters: Gradients, data: Sequence[Any], replacements: Mapping[At, Array] | None = None,
        recording: bool = False, code: Callable[[types.CodeType], types.CodeType] | None = None,
    ) -> tuple[float, Gradients]:  # fmt: skip
        """One run on copies of everything; raises what the author's code raises."""
        self.runs += 1
        self.recorder.start(recording, replacements)
        if code is None:
            copies, function = self._rewritten
            changed: Any = contextlib.nullcontext()
        else:
            copies, function = self._plain
            changed = copies.exchanged(code)
        with quiet(), changed:
            loss, found, *_ = function(copy.deepcopy(parameters), *copy.deepcopy(list(data)))
        hand = {n: np.array(found[n], dtype=float) for n in parameters}
        return float(np.real(np.asarray(loss)).reshape(-1)[0]), hand


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The author's prints and warnings go nowhere; every run draws the same random numbers."""
    global _silent
    if _silent:
        np.random.seed(0)
        yield
        return
    state = np.random.get_state()
    np.random.seed(0)
    _silent = True
    try:
        with (
            np.errstate(all="ignore"), warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()),
        ):  # fmt: skip
            warnings.simplefilter("ignore")
            yield
    finally:
        _silent = False
        np.random.set_state(state)


_silent = False  # a search is quiet as a whole, so that its many runs need not be
