"""Watching a training run: every k steps, the hand-written gradient against autograd's, in its bound.

`Watched` stands before any engine, so that the loop need not know. The global bound costs about as much
as a pass or two, so it may run while training: on the batch at hand, with the weights of that moment,
in the dtype of the run.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

import manual
from manual.numbers import Array
from manual.structure.trace import Trace
from manual.training.engine import State
from manual.training.recipe import PLAIN, Recipe
from mlp_torch.engines import AnyEngine
from mlp_torch.model import MLP, to_manual, to_torch
from mlp_torch.steps import Pass
from mlp_torch.trace import trace
from mlp_torch.verify.propagation import propagate
from mlp_torch.verify.verdicts import compare_traces


class Monitor:
    """`observe` a batch before every `every`-th step; `ratios` holds the largest |Δ| / bound by parameter.

    The bound is the sum of both sides' propagated rounding, a unit at a kink counted in on both sides.
    A parameter behind a stage without a truth has none: every stage that has one is judged instead.
    """

    def __init__(self, loss: str, every: int, recipe: Recipe = PLAIN) -> None:
        self.loss, self.every, self.recipe = loss, every, recipe
        self.ratios: dict[str, float] = {}

    def reset(self) -> None:
        """Forget the ratios so far, at the end of an epoch."""
        self.ratios = {}

    def observe(
        self,
        model: MLP | manual.MLP,
        x: Array,
        y: Array,
        step: Pass | None = None,
        weights: Array | None = None,
        summed: Callable[..., Trace] | None = None,
    ) -> None:
        """Judge the model's gradients on this batch: those of `step`, or of the plain formulas.

        What they are held against is autograd's trace, in which `summed` puts the sum of several processes.
        Raises WrongGradientError, with the full certificate's evidence, where a bound is broken.
        """
        by_hand = model if isinstance(model, manual.MLP) else to_manual(model)
        module = to_torch(model) if isinstance(model, manual.MLP) else model
        training = module.training
        module.train()
        by_hand.training = True
        try:
            theirs = trace(module, x, y, self.loss, weights=weights, recipe=self.recipe)
        finally:
            module.train(training)
        masks = {name: value for name, value in theirs.leaves.items() if name.startswith("mask")}
        if step is None:
            step = partial(by_hand.trace, loss=self.loss, recipe=self.recipe)
        if summed is not None:
            theirs = summed(theirs, x, y, masks=masks, weights=weights)
        ours = step(x, y, masks=masks, weights=weights)
        bounds = propagate(ours), propagate(theirs)
        if bounds[0].unknown:  # no bound holds there: the certificate tells what there is to tell
            report = compare_traces(ours, theirs)
            if report.wrong or report.apart:
                report.raise_if_wrong()
        for stage in ours:
            if stage.parameter is None:
                continue
            if stage.name in bounds[0].unknown:
                continue
            gap = np.abs(ours[stage.name].astype(np.float64) - theirs[stage.name])
            allowed = bounds[0].errors[stage.name] + bounds[1].errors[stage.name]
            with np.errstate(all="ignore"):
                ratio = float(np.max(np.where(gap == 0, 0.0, gap / allowed)))
            if ratio > 1:
                report = compare_traces(ours, theirs)
                if report.wrong:
                    report.raise_if_wrong()
            self.ratios[stage.parameter] = max(self.ratios.get(stage.parameter, 0.0), ratio)


class Watched:
    """An engine whose every k-th step is observed before it is taken; the rest is the engine's own."""

    def __init__(self, engine: AnyEngine, monitor: Monitor) -> None:
        self.engine, self.monitor, self.model = engine, monitor, engine.model
        self.until_next = 0

    def epoch(
        self,
        x: Array,
        y: Array,
        indices: Array,
        batch_size: int,
        rates: Array,
        weights: Array | None = None,
    ) -> Array:
        """The engine's own epoch, in pieces that end where the next batch is to be observed."""
        losses: list[Array] = []
        step = 0
        while step < len(rates):
            if self.until_next == 0:
                batch = indices[step * batch_size : (step + 1) * batch_size]
                given: dict[str, Any] = {} if weights is None else {"weights": weights[batch]}
                if hasattr(self.engine, "summed"):
                    given["summed"] = self.engine.summed
                step_of = getattr(self.engine, "trace", None)
                self.monitor.observe(self.model, x[batch], y[batch], step_of, **given)
                self.until_next = self.monitor.every
            group = self.monitor.recipe.accumulate  # batches that make one update stay together
            last = min(len(rates), -(-(step + self.until_next) // group) * group)
            piece = indices[step * batch_size : last * batch_size]
            whole = {} if weights is None else {"weights": weights}
            losses.append(self.engine.epoch(x, y, piece, batch_size, rates[step:last], **whole))
            self.until_next = max(0, self.until_next - (last - step))
            step = last
            if not np.isfinite(losses[-1]).all():
                break
        return np.concatenate(losses)

    def predict(self, x: Array) -> Array:
        return self.engine.predict(x)

    def parameters(self) -> dict[str, Array]:
        return self.engine.parameters()

    def load(self, parameters: Mapping[str, Array]) -> None:
        self.engine.load(parameters)

    def state(self) -> State:
        state = self.engine.state()
        return State(
            state.arrays, {**state.numbers, "until_next": self.until_next, "ratios": self.monitor.ratios}
        )

    def resume(self, state: State) -> None:
        self.engine.resume(state)
        self.until_next = state.numbers["until_next"]
        self.monitor.ratios = dict(state.numbers["ratios"])
