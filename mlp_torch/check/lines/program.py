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

    @cached_property
    def plain(self) -> dict[tuple[str, int], types.CodeType]:
        """The code objects of its functions as they stand there."""
        return codes_of(compile(self.text, self.file, "exec"))


class Sources:
    """The author's files, each rewritten once; sites are numbered through all of them.

    `texts` stand for some of them, line by line, as those in which a fault is repaired.
    """

    def __init__(self, texts: Mapping[str, str] | None = None) -> None:
        self.texts = dict(texts or {})
        self.files: dict[str, Source | None] = {}
        self.sites: list[Site] = []

    def code(self, given: types.CodeType) -> types.CodeType:
        """The rewritten code of a function of the author's, or the code itself where there is no text."""
        source = self.of(given.co_filename)
        if source is None:
            return given
        return _same(source.codes, given)

    def plain(self, given: types.CodeType) -> types.CodeType:
        """A function's code as it stands in `texts`, not rewritten."""
        source = self.of(given.co_filename) if given.co_filename in self.texts else None
        return given if source is None else _same(source.plain, given)

    def of(self, file: str) -> Source | None:
        if file not in self.files:
            self.files[file] = self._read(file)
        return self.files[file]

    def _read(self, file: str) -> Source | None:
        text = (
            self.texts.get(file)
            or "".join(linecache.getlines(file))
            or (Path(file).read_text(encoding="utf-8") if Path(file).is_file() else "")
        )
        if not text or not written(file):
            return None
        try:
            tree, sites = rewritten(text, file, len(self.sites))
        except SyntaxError:
            return None
        self.sites += sites
        codes = codes_of(compile(tree, file, "exec"))
        return Source(file, text, text.splitlines(), ast.parse(text), codes)


def _same(codes: Mapping[tuple[str, int], types.CodeType], given: types.CodeType) -> types.CodeType:
    """The code of the same function; `given` where none has the same variables from outside."""
    found = codes.get((given.co_qualname.rpartition("<locals>.")[2], given.co_firstlineno), given)
    return found if found.co_freevars == given.co_freevars else given


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
        copies = Copies(self.sources.plain)
        return copies, copies.of(self.function)

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
