"""The author's callable on tensors, rewritten: run as it is, or with values replaced, under an upstream."""

import contextlib
import linecache
import sys
import traceback
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from manual.numbers import Array
from mlp_torch.check.lines.by_repair.program import Repairable
from mlp_torch.check.lines.line import GuiltyLine
from mlp_torch.check.lines.program import Gradients, UnavailableError
from mlp_torch.check.lines.recording import At, Event, Recorder
from mlp_torch.check.lines.sites import ENTER, RECORD
from mlp_torch.check.lines.tensors.copies import TensorCopies
from mlp_torch.check.lines.tensors.kernels import kernel_of, told
from mlp_torch.check.lines.tensors.scope import TensorScope
from mlp_torch.check.lines.tensors.sources import TensorSources
from mlp_torch.check.operations.calls import RaisedError, Side
from mlp_torch.check.operations.tensors import to_numpy

MOST_ENTRIES = 20_000_000  # of all values of one run together
SHORT = (torch.float32, torch.float16, torch.bfloat16)


@dataclass
class TensorRecorder(Recorder):
    """Events of tensors, as float64 arrays. A tuple of tensors has a site for each of its `outputs`."""

    outputs: dict[tuple[int, int], int] = field(default_factory=dict)
    whole: dict[int, tuple[int, int]] = field(default_factory=dict)
    entries: int = 0
    short: bool = False  # a float of fewer than 64 bits was seen

    def start(self, recording: bool, replacements: Mapping[At, Array] | None = None) -> None:
        super().start(recording, replacements)
        self.entries = 0
        self.touched |= {self.whole[site][0] for site in self.touched if site in self.whole}

    def value(self, site: int, v: Any, call: int = 0) -> Any:
        if not self.recording and site not in self.touched:
            return v
        if type(v) in (tuple, list) and any(isinstance(x, Tensor) for x in v):
            return type(v)(
                self._value(self.output(site, i), x, call, sys._getframe(1)) for i, x in enumerate(v)
            )
        return self._value(site, v, call, sys._getframe(1))

    def output(self, site: int, index: int) -> int:
        """The site of one output of a call that gives several."""
        if (site, index) not in self.outputs:
            number = len(self.sites)
            s = self.sites[site]
            target = s.target or f"[{index}]"
            self.sites.append(replace(s, number=number, kind="output", target=target, index=index))
            self.outputs[site, index], self.whole[number] = number, (site, index)
        return self.outputs[site, index]

    def _value(self, site: int, v: Any, call: int, frame: types.FrameType) -> Any:
        a = array_of(v)
        if a is None:
            return v
        count = self.counts.get(site, 0)
        self.counts[site] = count + 1
        if self.watch is not None and site in self.watched:
            self.watch((site, count), frame)
        if self.recording:
            self.entries += a.size
            if self.entries > MOST_ENTRIES:
                raise UnavailableError("its values are too many to be kept; give smaller inputs")
            self.short |= isinstance(v, Tensor) and v.dtype in SHORT
            self.events.append(Event(site, count, a, call))
        new = self.replacements.get((site, count))
        if new is None:
            return v
        if not isinstance(v, Tensor):
            return type(v)(new) if isinstance(v, float | np.floating) else np.array(new, dtype=v.dtype)
        given = torch.tensor(new, dtype=v.dtype, device=v.device)
        if self.sites[site].kind == "post" and v.shape == given.shape:
            with torch.no_grad():
                v.copy_(given)  # other names of the same tensor see it too
            return v
        return given


def array_of(v: Any) -> Array | None:
    """A copy of a float tensor, array or number; None of anything else."""
    if isinstance(v, Tensor):
        return np.array(to_numpy(v)) if v.is_floating_point() else None
    if isinstance(v, np.ndarray | np.floating):
        return np.array(v, dtype=float) if v.dtype.kind == "f" else None
    return np.array(v) if type(v) is float else None


class Widened(TorchFunctionMode):
    """What the author casts to short floats stays in float64: lines are told apart by the last digits."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.float, Tensor.half, Tensor.bfloat16):
            func = Tensor.double
        args = tuple(map(_wide, args))
        return func(*args, **{k: _wide(v) for k, v in (kwargs or {}).items()})


def _wide(v: Any) -> Any:
    return torch.float64 if isinstance(v, torch.dtype) and v in SHORT else v


class TensorProgram(Repairable):
    """`side` judged under an upstream: the data of a run are (the leaves, the upstreams).

    `names`: what the author calls each of the judged leaves. A backward that raises gives NaN.
    """

    scope = TensorScope

    def __init__(self, side: Side, wanted: Sequence[int], names: Sequence[str]) -> None:
        sources = TensorSources()
        super().__init__(side.function, side.function, sources)
        self.side, self.wanted, self.names = side, list(wanted), list(names)
        self.recorder: TensorRecorder = TensorRecorder(sources.sites)
        self.wide = False
        self.fallen: tuple[str, int] | None = None  # where the backward pass raised
        self.started = 0  # how many events there were before the backward pass

    @cached_property
    def _rewritten(self) -> tuple[TensorCopies, Callable[..., Any]]:
        copies = TensorCopies(self.sources.code, {RECORD: self.recorder.value, ENTER: self.recorder.enter})
        copies.inside = self.widened
        return copies, copies.of(self.function)

    @cached_property
    def _plain(self) -> tuple[TensorCopies, Callable[..., Any]]:
        copies = TensorCopies()
        copies.inside = self.widened
        return copies, copies.of(self.function)

    def widened(self) -> contextlib.AbstractContextManager[Any]:
        return Widened() if self.wide else contextlib.nullcontext()

    @contextlib.contextmanager
    def mode(self) -> Iterator[None]:
        """Float64 throughout, and the backward pass on the thread that asks for it."""
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            with (
                torch.autograd.set_multithreading_enabled(False),
                self.widened(),
            ):
                yield
        finally:
            torch.set_default_dtype(before)

    def may_slip(self, file: str, line: int) -> bool:
        return "save_for_backward" not in linecache.getline(file, line)

    def may_lack(self, file: str, line: int) -> bool:
        text = linecache.getline(file, line)
        return "None" in text and ("return" in text or "=" in text)

    def hidden(self, hit: Any, mender: Any) -> bool:
        return kernel_of(hit, mender) is not None

    def told(self, line: GuiltyLine, hit: Any, mender: Any) -> GuiltyLine:
        return told(line, hit, mender)

    def values(self, parameters: Mapping[str, Array], data: Sequence[Any]) -> list[Any]:
        """The leaves, those judged with the numbers of `parameters`."""
        values = list(data[0])
        for i, name in zip(self.wanted, self.names, strict=True):
            values[i] = torch.tensor(parameters[name], dtype=torch.float64, device=values[i].device)
        return values

    def run(
        self, parameters: Mapping[str, Array], data: Sequence[Any],
        replacements: Mapping[At, Array] | None = None,
        recording: bool = False, code: Callable[[types.CodeType], types.CodeType] | None = None,
    ) -> tuple[float, Gradients]:  # fmt: skip
        """(Σ upstream · output, the author's gradients); raises what the forward pass raises."""
        self.runs += 1
        self.recorder.start(recording, replacements)
        copies, function = self._rewritten if code is None else self._plain
        changed: Any = contextlib.nullcontext() if code is None else copies.exchanged(code)
        copies.misshapen.clear()
        side = replace(self.side, function=function)
        with changed, self.mode():
            graph = side.forward(self.values(parameters, data), self.wanted)
            self.started = len(self.recorder.events)
            loss = total(graph.out, data[1])
            try:
                found = side.backward(graph, _cast(graph.out, data[1]), retain=True)
                self.fallen = None
            except RaisedError as error:
                self.fallen = self._line(error.error)
                found = [torch.full_like(graph.leaves[i], torch.nan) for i in graph.wanted]
        for k, i in enumerate(graph.wanted):
            found[k] = copies.misshapen.get(id(graph.leaves[i]), found[k])
        return float(loss), dict(zip(self.names, map(to_numpy, found), strict=True))

    def _line(self, error: BaseException) -> tuple[str, int] | None:
        """The last line of the author's that an error came through."""
        frames = traceback.walk_tb(error.__traceback__)
        own = [(f.f_code.co_filename, n) for f, n in frames if f.f_code.co_filename in self.sources.files]
        return own[-1] if own else None


def total(out: Sequence[Tensor], up: Sequence[Tensor | None]) -> Tensor:
    """Σ upstream · output."""
    parts = [(o * u.to(o.dtype)).sum().double() for o, u in zip(out, up, strict=True) if u is not None]
    return torch.stack(parts).sum()


def _cast(out: Sequence[Tensor], up: Sequence[Tensor | None]) -> list[Tensor | None]:
    return [None if u is None else u.to(o.dtype, copy=True) for o, u in zip(out, up, strict=True)]
