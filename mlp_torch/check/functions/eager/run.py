"""One run of somebody's code: what it made, line by line, and the kinks on which its values lie."""

import gc
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual.numbers import Array

HERE = str(Path(__file__).parent)
ENTRY = str(Path(__file__).parents[1] / "tracing.py")  # whose frame calls the author's code
SKIPPED = (HERE, str(Path(np.__file__).parent), str(Path(torch.__file__).parent))
NoValue: Any = type(np._NoValue)  # what NumPy puts for an option not given
Key = tuple[str, int, str, int]  # file, line, operation, and the instruction of the line
FINE = 2.0**-52  # of float64
DRAWN = 1 << 14  # signs at a time
ULPS = 64  # operands that lie this near to each other are taken for equal, and their place for a kink


class UntraceableError(Exception):
    """What no graph can follow: another method must be taken."""


class EnoughError(BaseException):
    """The loss has been reached; not an Exception, so that no author's `except` takes it."""


@dataclass(frozen=True)
class Made:
    """One array that the code made: its graph, the line that made it, and its name where it had one."""

    tensor: Tensor
    file: str
    line: int
    frame: int
    owner: Any  # the Traced, which learns its name when it is used


class Signs:
    """Relative errors of ±`noise`, drawn many at a time. It holds no run, which hooks would keep alive."""

    def __init__(self, noise: float, seed: int) -> None:
        self.noise, self.generator = noise, torch.Generator().manual_seed(seed)
        self.drawn, self.used = torch.zeros(0), 0

    def __call__(self, gradient: Tensor) -> Tensor:
        return gradient * self.like(gradient)

    def like(self, tensor: Tensor) -> Tensor:
        """1 ± noise for every entry."""
        count = tensor.numel()
        if self.used + count > len(self.drawn):
            ways = torch.randint(0, 2, (max(count, DRAWN),), generator=self.generator, dtype=torch.float64)
            self.drawn, self.used = 1 + self.noise * (2.0 * ways - 1), 0
        self.used += count
        return self.drawn[self.used - count : self.used].view(tensor.shape)


@dataclass
class Site:
    """One operation of one line that met a kink: an operand equal to another, up to rounding."""

    file: str
    line: int
    operation: str
    instruction: int
    order: int  # how many arrays had been made
    operand: str
    index: tuple[int, ...]
    turned: bool = False  # it is the second operand that grows
    entries: int = 0
    decisions: list[int] = field(default_factory=list)

    @property
    def key(self) -> Key:
        return self.file, self.line, self.operation, self.instruction


@dataclass
class Run:
    """What one run is told, and what it leaves behind.

    `sides`: of which side of a kink a line's operation is to be taken (+1 above, −1 below). `noise`: the
    relative error put on every result and every gradient, with the decisions of another run (`follow`).
    `gaps`: what lay between the operands of a decision, where that was next to nothing; `corners`: where it
    was found to be rounding, by decision. `shift` moves the parameters by name. `margin` is the nearest that
    the operands of a decision came to each other without being equal, in terms of their size.
    """

    unit: float = FINE
    sides: Mapping[Key, int] = field(default_factory=dict)
    noise: float = 0.0
    follow: list[Any] | None = None
    stop_after: int | None = None
    seed: int = 0
    corners: Mapping[int, Array] | None = None
    gaps: dict[int, Array] = field(default_factory=dict)
    watched: Collection[int] = ()
    made: list[Made] = field(default_factory=list)
    decisions: list[Any] = field(default_factory=list)
    sites: dict[Key, Site] = field(default_factory=dict)
    coarsest: float = FINE
    data_unit: float = FINE  # of the coarsest float in the author's data
    leaks: int = 0  # numbers that left the graph
    rounded: str = ""  # where the loss was rounded
    unrounded: tuple[float, float] = (0.0, 0.0)  # before and after
    shift: Mapping[str, Array] | None = None
    margin: float = 1.0
    now: tuple[float, float] = (FINE, FINE)  # the precision of what the operation at hand is given

    def __post_init__(self) -> None:
        self.signs = Signs(self.noise, self.seed)

    def of_data(self, dtype: Any) -> None:
        if dtype.kind == "f":
            self.data_unit = max(self.data_unit, float(np.finfo(dtype).eps))

    def disturb(self, tensor: Tensor) -> Tensor:
        """A fresh result with one rounding error put on every entry, and one on every gradient of it.

        A run to the end is asked for the author's own gradients, and torch's are not taken.
        """
        if self.noise and tensor.is_floating_point():
            tensor.data.mul_(self.signs.like(tensor))
            if tensor.requires_grad and self.stop_after is not None:
                tensor.register_hook(self.signs)  # type: ignore[no-untyped-call]  # torch's
        return tensor

    def record(self, owner: Any, tensor: Tensor) -> None:
        frame = author_frame()
        if frame is not None:
            self.made.append(Made(tensor, frame.f_code.co_filename, frame.f_lineno, id(frame), owner))
        if self.stop_after is not None and len(self.made) > self.stop_after:
            raise EnoughError

    def decide(self, compute: Any) -> Any:
        """What `compute` gives, or what it gave in the run that is followed."""
        if self.follow is not None:
            if len(self.decisions) >= len(self.follow):
                raise UntraceableError("another way through the code")
            found = self.follow[len(self.decisions)]
        else:
            found = compute()
        self.decisions.append(found)
        return found

    def side(self, operation: str, near: Array, operand: Any, turned: bool = False) -> int:
        """The side asked for at this line, once its kink is noted."""
        frame = author_frame()
        if frame is None:
            return 0
        key = (frame.f_code.co_filename, frame.f_lineno, operation, frame.f_lasti)
        if key not in self.sites:
            index = tuple(int(i) for i in np.argwhere(near)[0]) if near.ndim else ()
            name = name_of(operand, frame)
            self.sites[key] = Site(*key, len(self.made), name, index, turned)
        self.sites[key].entries += int(np.count_nonzero(near))
        self.sites[key].decisions.append(len(self.decisions))
        return self.sides.get(key, 0)

    def watch(self, a: Any, b: Any) -> None:
        """Before a decision on a and b that another run has made: what lies between them in this one."""
        if len(self.decisions) in self.watched:
            with np.errstate(all="ignore"):
                self.gaps[len(self.decisions)] = np.asarray(a - b)

    def near(self, a: Array, b: Array | float) -> Array:
        """Where two arrays may be equal up to the rounding of what they were computed from."""
        with np.errstate(all="ignore"):
            gap = np.asarray(a - b)
            if self.corners is not None:
                known = self.corners.get(len(self.decisions))
                fits = known is not None and known.shape == gap.shape
                return known if known is not None and fits else np.zeros(gap.shape, dtype=bool)
            scale = np.maximum(np.max(np.abs(a), initial=0.0), np.max(np.abs(b), initial=0.0))
            near = np.abs(gap) <= ULPS * max(self.unit, self.coarsest) * scale
            if near.any():
                self.gaps[len(self.decisions)] = gap
            if scale:
                apart = np.abs(gap[~near & np.isfinite(gap)])
                self.margin = min(self.margin, float(np.min(apart, initial=np.inf)) / float(scale))
            return np.asarray(near)


ACTIVE: list[Run] = []


def active() -> Run:
    return ACTIVE[-1] if ACTIVE else Run()


@contextmanager
def running(run: Run) -> Iterator[Run]:
    """Python's collector rests meanwhile: it would go through every array of the graph again and again."""
    ACTIVE.append(run)
    collects = gc.isenabled()
    gc.disable()
    try:
        yield run
    finally:
        ACTIVE.pop()
        if collects:
            gc.enable()


class _Ours(dict[str, bool]):
    """Whether a file is this package's, NumPy's or torch's."""

    def __missing__(self, file: str) -> bool:
        self[file] = file.startswith(SKIPPED) or file.startswith("<__array_function__")
        return self[file]


_OURS = _Ours()


def author_frame() -> FrameType | None:
    """The innermost frame that is neither this package's nor NumPy's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _OURS[frame.f_code.co_filename]:
        frame = frame.f_back
    return frame


def name_of(value: Any, frame: FrameType | None) -> str:
    """The variable that holds this very object in the outermost frame that has one, or ""."""
    name = getattr(value, "name", "")
    if name:
        return str(name)
    found, depth = "", 0
    while frame is not None and depth < 30:
        file = frame.f_code.co_filename
        if file == ENTRY:
            break
        if not _OURS[file]:
            for key, held in frame.f_locals.items():
                if held is value and not key.startswith("."):
                    found = key
        frame, depth = frame.f_back, depth + 1
    return found


def coarse(dtype: Any) -> float:
    """The unit of a float dtype that the code computes in; the graph stays in float64."""
    unit, run = unit_of(dtype), active()
    run.coarsest = max(run.coarsest, unit)
    run.now = (unit, run.now[1])
    return unit


def unit_of(dtype: Any) -> float:
    """What a dtype rounds to, relative to 1; of integers, that of the floats that they become."""
    kind = np.dtype(dtype)
    return max(float(np.finfo(kind).eps), FINE) if kind.kind in "fc" else FINE
