"""Watching a training run: every k steps, the hand-written gradient against autograd's, in its bound.

The global bound costs about as much as a pass or two, so it may run while training: on the batch at
hand, with the weights of that moment, in the dtype of the run.
"""

import numpy as np

import manual
from manual.numbers import Array
from mlp_torch.model import MLP, to_manual, to_torch
from mlp_torch.trace import trace
from mlp_torch.verify.comparison import compare_traces
from mlp_torch.verify.propagation import propagate


class Monitor:
    """`observe` a batch before each step; `ratios` holds the largest |Δ| / bound by parameter.

    The bound is the sum of both sides' propagated rounding, a unit at a kink counted in on both sides.
    """

    def __init__(self, loss: str, every: int) -> None:
        self.loss, self.every = loss, every
        self.seen = 0
        self.ratios: dict[str, float] = {}

    def reset(self) -> None:
        """Forget the ratios so far, at the end of an epoch."""
        self.ratios = {}

    def observe(self, model: MLP | manual.MLP, x: Array, y: Array) -> None:
        """Judge the model's gradients on this batch if it is the k-th since the last one judged.

        Raises WrongGradientError, with the full certificate's evidence, where a bound is broken.
        """
        self.seen += 1
        if (self.seen - 1) % self.every:
            return
        by_hand = model if isinstance(model, manual.MLP) else to_manual(model)
        module = to_torch(model) if isinstance(model, manual.MLP) else model
        training = module.training
        module.train()
        by_hand.training = True
        try:
            theirs = trace(module, x, y, self.loss)
        finally:
            module.train(training)
        masks = {name: value for name, value in theirs.leaves.items() if name.startswith("mask")}
        ours = by_hand.trace(x, y, self.loss, masks=masks)
        bounds = propagate(ours), propagate(theirs)
        for stage in ours:
            if stage.parameter is None:
                continue
            gap = np.abs(ours[stage.name].astype(np.float64) - theirs[stage.name])
            allowed = bounds[0].errors[stage.name] + bounds[1].errors[stage.name]
            with np.errstate(all="ignore"):
                ratio = float(np.max(np.where(gap == 0, 0.0, gap / allowed)))
            if ratio > 1:
                compare_traces(ours, theirs).raise_if_wrong()
            self.ratios[stage.parameter] = max(self.ratios.get(stage.parameter, 0.0), ratio)
