"""One run of the author's rewritten code: every value as an event, some of them replaced, some probed."""

import copy
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.sites import Site
from mlp_torch.check.lines.store import Store

At = tuple[int, int]  # (site, which of its events)


@dataclass
class Event:
    """A float array that a site gave; `call` numbers the author's function calls."""

    site: int
    count: int
    value: Array
    call: int


@dataclass
class Recorder:
    """What the rewritten code calls at every value.

    While `recording`, events are kept, their values in `store`; `replacements` are put in the place of
    values. At the events of the sites `watched`, `watch` is told the event and its function's frame.
    """

    sites: list[Site]
    recording: bool = False
    replacements: Mapping[At, Array] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)
    calls: int = 0
    touched: set[int] = field(default_factory=set)
    watched: frozenset[int] = frozenset()
    watch: Callable[[At, FrameType], None] | None = None
    store: Store = field(default_factory=Store)
    before: dict[int, Array] = field(default_factory=dict)  # what a site gave the last time

    def start(self, recording: bool, replacements: Mapping[At, Array] | None = None) -> None:
        self.recording, self.replacements = recording, replacements or {}
        self.events, self.counts, self.calls, self.before = [], {}, 0, {}
        self.touched = {site for site, _ in self.replacements} | self.watched

    def enter(self) -> int:
        self.calls += 1
        return self.calls

    def value(self, site: int, v: Any, call: int = 0) -> Any:
        """v itself, or what is put in its place."""
        if not self.recording and site not in self.touched:
            return v
        kind = type(v)
        if kind is np.ndarray or isinstance(v, np.ndarray | np.floating):
            if v.dtype.kind != "f":
                return v
        elif kind is not float:
            return v
        count = self.counts.get(site, 0)
        self.counts[site] = count + 1
        if self.watch is not None and site in self.watched:
            self.watch((site, count), sys._getframe(1))
        if self.recording:
            self.events.append(Event(site, count, self._kept(site, v), call))
        new = self.replacements.get((site, count))
        if new is None:
            return v
        if new.dtype.kind == "c":  # a complex step
            return complex(new) if kind is float else np.array(new) if kind is np.ndarray else new[()]
        if kind is float:
            return float(new)
        if self.sites[site].kind == "post" and isinstance(v, np.ndarray) and v.flags.writeable and v.ndim:
            v[...] = new  # other names of the same array see it too
            return v
        return np.array(new, dtype=v.dtype) if isinstance(v, np.ndarray) else v.dtype.type(new)

    def _kept(self, site: int, v: Any) -> Array:
        """A copy of the value; where a site gives the same again (a weight in a loop), the one there is."""
        last = self.before.get(site)
        if last is None or last.shape != np.shape(v) or not np.array_equal(last, v):
            last = self.before[site] = self.store.keep(v)
        return last


def copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:  # whatever an object of the author's raises when it is copied
        return value
