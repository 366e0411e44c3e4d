"""The author's program, rewritten: run as it is, with values replaced, or on torch with its truths."""

import ast
import contextlib
import copy
import io
import linecache
import random
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.functions.copies import Copies, written
from mlp_torch.check.lines.recording import At, Event, Recorder
from mlp_torch.check.lines.rewriting import rewritten
from mlp_torch.check.lines.sites import ENTER, RECORD, Site
from mlp_torch.check.lines.state import digest

Gradients = dict[str, Array]
Key = tuple[str, int, int]


class UnavailableError(Exception):
    """No line can be named here; the text says why."""


@dataclass(frozen=True)
class Truth:
    """∂loss/∂value by event, None where the loss does not depend on it; ∂loss/∂parameter by name.

    `events` are those that it speaks of; of those in `forward` it is known only that the loss depends on
    them. `errors` are norms by parameter; `resolution` is relative, and 0 where torch's graph gave it all.
    """

    values: Mapping[At, Array | None]
    gradients: Gradients
    events: Sequence[Event]
    forward: frozenset[At] = frozenset()
    errors: Mapping[str, float] = field(default_factory=dict)
    resolution: float = 0.0


@dataclass
class Source:
    """One of the author's files: its text, its tree, the code objects of its functions, rewritten."""

    file: str
    text: str
    lines: list[str]
    tree: ast.Module  # as the author wrote it
    codes: dict[Key, types.CodeType]

    @cached_property
    def plain(self) -> dict[Key, types.CodeType]:
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

    def rewritten(self, text: str, file: str) -> tuple[ast.Module, list[Site]]:
        return rewritten(text, file, len(self.sites))

    def _read(self, file: str) -> Source | None:
        text = (
            self.texts.get(file)
            or "".join(linecache.getlines(file))
            or (Path(file).read_text(encoding="utf-8") if Path(file).is_file() else "")
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


def _same(codes: Mapping[Key, types.CodeType], given: types.CodeType) -> types.CodeType:
    """The code of the same function; `given` where none has the same variables from outside."""
    found = codes.get(key_of(given), given)
    return found if found.co_freevars == given.co_freevars else given


def key_of(code: types.CodeType) -> Key:
    """A function's name, its first line, and where in it a lambda begins: a line may hold several."""
    name, column = code.co_name, 0
    if name == "<lambda>":
        starts = ((line, a) for line, _, a, b in code.co_positions() if line and b)
        column = min(starts, default=(0, 0))[1] or 0
    return name, code.co_firstlineno, column


def codes_of(code: types.CodeType) -> dict[Key, types.CodeType]:
    """Every function's code in a module's, by its key."""
    found: dict[Key, types.CodeType] = {}
    waiting = [code]
    while waiting:
        for constant in waiting.pop().co_consts:
            if isinstance(constant, types.CodeType):
                found.setdefault(key_of(constant), constant)
                waiting.append(constant)
    return found


class Program:
    """`function(parameters, *data)` gives (loss, gradients by name, …), `loss` the loss alone, traceable.

    Its copies, with rewritten code and with the author's own, are made once; where a run leaves anything
    changed in them (a counter, a cache), anew for each run, so that every run starts from the same.
    """

    def __init__(self, function: Callable[..., Any], loss: Callable[..., Any], sources: Sources) -> None:
        self.function, self.loss, self.sources = function, loss, sources
        self.recorder = Recorder(sources.sites)
        self.runs = 0
        self._made: dict[bool, tuple[Copies, Callable[..., Any]]] = {}
        self._steady: bool | None = None  # not known before the first run

    def _copies(self, rewritten: bool) -> tuple[Copies, Callable[..., Any]]:
        if rewritten not in self._made:
            extra = {RECORD: self.recorder.value, ENTER: self.recorder.enter}
            copies = Copies(self.sources.code, extra) if rewritten else Copies(self.sources.plain)
            self._made[rewritten] = copies, copies.of(self.function)
        return self._made[rewritten]

    def run(
        self, parameters: Mapping[str, Array], data: Sequence[Any],
        replacements: Mapping[At, Array] | None = None, recording: bool = False,
        code: Callable[[types.CodeType], types.CodeType] | None = None,
    ) -> tuple[float, Gradients]:  # fmt: skip
        """One run on copies of everything; raises what the author's code raises."""
        loss, found = self._run(parameters, data, replacements, recording, code)
        hand = {n: np.array(found[n], dtype=float) for n in parameters}
        return float(np.real(loss)), hand

    def loss_at(
        self, parameters: Mapping[str, Array], data: Sequence[Any], replacements: Mapping[At, Array]
    ) -> complex:
        """The loss alone, of a run on copies of everything; complex where a value is."""
        return complex(self._run(parameters, data, replacements, False, None)[0])

    def _run(
        self, parameters: Mapping[str, Array], data: Sequence[Any],
        replacements: Mapping[At, Array] | None, recording: bool,
        code: Callable[[types.CodeType], types.CodeType] | None,
    ) -> tuple[Any, Any]:  # fmt: skip
        self.runs += 1
        self.recorder.start(recording, replacements)
        copies, function = self._copies(code is None)
        changed = contextlib.nullcontext() if code is None else copies.exchanged(code)
        before = digest(copies) if self._steady is None else b""
        with quiet(), changed:
            try:
                loss, found, *_ = function(copy.deepcopy(parameters), *copy.deepcopy(list(data)))
            except SystemExit as error:
                raise UnavailableError(f"it called sys.exit({error.code!r})") from None
            finally:
                if self._steady is None:
                    self._steady = digest(copies) == before
                if not self._steady:
                    self._made.clear()
        return np.asarray(loss).reshape(-1)[0], found


class Nowhere(io.TextIOBase):
    """What is printed thousands of times is not kept."""

    def write(self, text: str) -> int:
        return len(text)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The author's prints and warnings go nowhere; every run draws the same random numbers."""
    global _silent
    if _silent:
        _seed()
        yield
        return
    state, others = np.random.get_state(), random.getstate()
    _silent = True
    try:
        with (
            np.errstate(all="ignore"), warnings.catch_warnings(),
            contextlib.redirect_stdout(Nowhere()), contextlib.redirect_stderr(Nowhere()),
        ):  # fmt: skip
            warnings.simplefilter("ignore")
            _seed()
            yield
    finally:
        _silent = False
        np.random.set_state(state)
        random.setstate(others)


def _seed() -> None:
    np.random.seed(0)
    random.seed(0)


_silent = False  # a search is quiet as a whole, so that its many runs need not be
