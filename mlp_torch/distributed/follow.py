"""What the ranks beside 0 do: what they are told, one word after the other, until the end.

They print nothing, write nothing, and leave signals to rank 0, which ends between two steps, and tells them.
"""

import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from manual.structure.architecture import Architecture
from mlp_torch.config import Train
from mlp_torch.data.splits import Data
from mlp_torch.distributed.data import agreed
from mlp_torch.distributed.engine import DDPEngine
from mlp_torch.distributed.group import Group
from mlp_torch.machine import threads
from mlp_torch.model import load_arrays

WORDS = ("data", "build", "epoch", "gradient", "predict", "rows", "load", "resume")


class Follower:
    """One rank; each method is a word of rank 0's with what follows it."""

    def __init__(self, group: Group, ends: ExitStack) -> None:
        self.group, self.ends = group, ends
        self.engine: DDPEngine
        self.parts: Data

    def data(self, config: Train) -> None:
        self.parts = agreed(config, self.group)

    def build(self, config: Train, architecture: Architecture, loss: str) -> None:
        from mlp_torch.engines import build

        engine = build(config, architecture, loss)
        self.ends.enter_context(threads(architecture.sizes, config.batch_size))
        assert isinstance(engine, DDPEngine)
        self.engine = engine

    def epoch(self, part: str, start: int, n: int, *work: Any) -> None:
        split, rows = getattr(self.parts, part), slice(start, start + n)
        weights = None if split.weights is None else split.weights[rows]
        self.engine.steps(split.x.view(start, n), split.y[rows], weights, *work)

    def gradient(self, *given: Any) -> None:
        self.engine.gradient(*given)

    def predict(self, part: str, start: int, n: int) -> None:
        self.engine.outputs_of(getattr(self.parts, part).x.view(start, n))

    def rows(self, part: str, index: Any) -> None:
        getattr(self.parts, part).x.assembled(index)

    def load(self, parameters: Any) -> None:
        load_arrays(self.engine.model, parameters)

    def resume(self, state: Any) -> None:
        self.engine.take(state)


def follow(group: Group) -> int:
    """Do as rank 0 says; the exit code: 0, or 2 where the data cannot be read, which rank 0 reports."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with ExitStack() as ends:
        follower = Follower(group, ends)
        words: dict[str, Callable[..., None]] = {name: getattr(follower, name) for name in WORDS}
        while True:
            word, *given = group.hear()
            if word == "end":
                return 0
            words[word](*given)
