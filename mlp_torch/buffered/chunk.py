"""K whole steps in a row, and on a GPU as one recorded graph: a launch for all their kernels.

The rows of K batches are gathered at once into buffers that stay where they are; then one step after
the other reads its part, and leaves its loss in its place. What differs from chunk to chunk (indices,
learning rates) is copied in beforehand, so the very same kernels can be replayed.
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from mlp_torch.buffered.buffers import Buffers, Op
from mlp_torch.buffered.step import Step, run

Replay = Callable[[], object]
Capture = Callable[[Callable[[], None]], Replay]
Build = Callable[[Buffers, Tensor, Tensor, Tensor], Step]


def cuda_graph(record: Callable[[], None]) -> Replay:
    """Record what is launched, without running it; the result runs it with one launch.

    Not run so far on any GPU: the arithmetic is that of the CPU, the recording is torch's.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        record()
    return graph.replay


class Chunk:
    """`steps` steps on batches of `batch_size` rows; `capture` records them after a first eager run.

    `build` makes the step of one batch, `update` its optimizer's kernels for a learning rate; `buffers`
    are this chunk's own, and x and y tell what a row is like. The first run is eager because libraries set
    themselves up then, and SGD's first step is another one.
    """

    def __init__(
        self,
        build: Build,
        update: Callable[[Tensor], list[Op]],
        buffers: Buffers,
        x: Tensor,
        y: Tensor,
        batch_size: int,
        steps: int,
        capture: Capture | None = None,
    ) -> None:
        rows = batch_size * steps
        self.batch_size, self.steps, self.capture = batch_size, steps, capture
        self.buffers = buffers
        self.index = buffers("index", rows, dtype=torch.int64)
        # the kernels of the optimizers read a rate in float32 on CUDA, in float64 on the CPU
        rate_dtype = torch.float32 if buffers.device.type == "cuda" else torch.float64
        self.rates = buffers("rates", steps, dtype=rate_dtype)
        self.losses = buffers("losses", steps)
        self.x = buffers("rows of x", rows, *x.shape[1:], dtype=x.dtype)
        self.y = buffers("rows of y", rows, *y.shape[1:], dtype=y.dtype)
        self.built: list[Step] = []
        self.updates: list[list[Op]] = []
        for k in range(steps):
            batch = slice(k * batch_size, (k + 1) * batch_size)
            self.built.append(build(buffers, self.x[batch], self.y[batch], self.losses[k]))
            self.updates.append(update(self.rates[k]))
        self.ops = [[*step.ops(), *update] for step, update in zip(self.built, self.updates, strict=True)]
        self.data: tuple[Tensor, Tensor] | None = None
        self.gather: list[Op] = []
        self.warm = False
        self.replay: Replay | None = None

    def __call__(self, x: Tensor, y: Tensor, index: Tensor, rates: Tensor, losses: Tensor) -> None:
        """One step on each batch of x[index], y[index] at its rate, the losses into `losses`.

        Fewer than `steps` batches run eagerly.
        """
        k = len(rates)
        self._bind(x, y)
        self.index[: len(index)].copy_(index)
        self.rates[:k].copy_(rates)
        if k < self.steps or self.capture is None or not self.warm:
            self._run(k)
            self.warm = self.warm or k == self.steps
        else:
            if self.replay is None:
                self.replay = self.capture(partial(self._run, k))
            self.replay()
        losses.copy_(self.losses[:k])

    def one(self, x: Tensor, y: Tensor, lr: float, masks: Mapping[str, Tensor] | None) -> Tensor:
        """A first step on just these rows, eagerly, with the masks if they are given; its loss ()."""
        self.x[: len(x)].copy_(x)
        self.y[: len(y)].copy_(y)
        self.rates[0].fill_(lr)
        for layer, mask in self.built[0].masks.items():
            if masks is not None:
                mask.copy_(masks[f"mask{layer}"])
        run([*self.built[0].ops(*(["draw"] if masks is not None else [])), *self.updates[0]])
        return self.losses[0]

    def _bind(self, x: Tensor, y: Tensor) -> None:
        """Gather from these tensors from now on; a graph that gathered from others is forgotten."""
        if self.data is not None and self.data[0] is x and self.data[1] is y:
            return
        self.data, self.replay = (x, y), None
        self.gather = self._gather(self.steps)

    def _gather(self, k: int) -> list[Op]:
        assert self.data is not None
        rows = k * self.batch_size
        return [
            partial(torch.index_select, data, 0, self.index[:rows], out=buffer[:rows])
            for data, buffer in zip(self.data, (self.x, self.y), strict=True)
        ]

    def _run(self, k: int) -> None:
        run(self.gather if k == self.steps else self._gather(k))
        for ops in self.ops[:k]:
            run(ops)
