"""The engine of N processes as rank 0 has it: what it is asked for, all are told to take part in.

Between two parts of an epoch rank 0 looks at signals; within one they wait, so that no process is left in
the middle of a sum.
"""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from manual.numbers import Array
from manual.structure.trace import Trace
from manual.training.engine import State
from mlp_torch.distributed.parts import Part
from mlp_torch.distributed.share import Masks, Share
from mlp_torch.distributed.shares import LEAVES, cuts
from mlp_torch.interrupts import held
from mlp_torch.model import load_arrays

AT_ONCE = 0.5  # seconds of steps between two looks at signals


class DDPEngine(Share):
    """The whole engine on rank 0; on the others its share (`mlp_torch.distributed.follow`)."""

    at_once = 1  # steps that take about AT_ONCE

    def epoch(
        self,
        x: Array,
        y: Array,
        indices: Array,
        batch_size: int,
        rates: Array,
        weights: Array | None = None,
    ) -> Array:
        """As `Engine.epoch` says, for the x of a split or an array that all have; rank 0 is asked."""
        updates = [self.recipe.batches(i, len(rates)) for i in range(len(rates))]
        losses: list[Array] = []
        step = 0
        while step < len(rates):
            last, started = min(len(rates), step + self.at_once), time.perf_counter()
            visited = indices[step * batch_size : last * batch_size]
            work = visited, batch_size, rates[step:last], updates[step:last]
            with held():  # the others cannot be left in the middle of a step
                if isinstance(x, Part):
                    self.group.tell("epoch", x.name, x.start, len(x), *work)
                losses.append(self.steps(x, y, weights, *work))
            finite = np.isfinite(losses[-1])
            if not finite.all():
                losses[-1] = losses[-1][: int(np.argmin(finite)) + 1]
                break
            spent = time.perf_counter() - started
            self.at_once = max(1, min(2 * self.at_once, int(self.at_once * AT_ONCE / max(spent, 1e-9))))
            step = last
        return np.concatenate(losses)

    def summed(self, whole: Trace, x: Array, y: Array, *, masks: Masks, weights: Array | None) -> Trace:
        """Rank 0: autograd's trace of a whole batch, with the gradients that the shares sum to.

        What is judged while training.
        """
        with held():
            self.group.tell("gradient", x, y, masks, weights)
            self.gradient(x, y, masks, weights)
        found = {name: g.copy() for name, g in self.gradients.items()}
        values = {s.name: found[s.parameter] if s.parameter is not None else whole[s.name] for s in whole}
        return Trace(whole.stages, whole.leaves, values)

    def predict(self, x: Any) -> Array:
        """The output (N, out) in evaluation mode: of a split every process predicts its own rows."""
        if not isinstance(x, Part):
            return self.of_rows(x, cuts(len(x), LEAVES) if self.tree else [0, len(x)])
        with held():
            self.group.tell("predict", x.name, x.start, len(x))
            return np.concatenate(self.outputs_of(x))

    def load(self, parameters: Mapping[str, Array]) -> None:
        """Rank 0: write such a copy back, bit for bit, on all."""
        if not self.group.lost:
            with held():
                self.group.tell("load", dict(parameters))
        load_arrays(self.model, parameters)

    def state(self) -> State:
        """As `manual.training.engine.Resumable` says; the same on every rank, whatever their number."""
        arrays = {n: a for n, a in super().state().arrays.items() if not n.startswith("generator/")}
        return State(arrays, {"seen": self.seen})

    def resume(self, state: State) -> None:
        """Rank 0: as `Resumable` says, on all."""
        with held():
            self.group.tell("resume", state)
        self.take(state)
