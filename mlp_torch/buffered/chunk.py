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
Build = Callable[[Buffers, Tensor, Tensor, Tensor, Tensor | None], Step]

Rows = tuple[Tensor, ...]  # x, y and weights, if any


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

    `build` makes the step of one batch, `update` what follows the k-th for a learning rate; `buffers` are
    this chunk's own, and the data (x, y and weights, if any) tells what a row is like. The first run is
    eager because libraries set themselves up then, and SGD's first step is another one.
    """

    def __init__(
        self,
        build: Build,
        update: Callable[[Tensor, int], list[Op]],
        buffers: Buffers,
        data: Rows,
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
        self.rows = [
            buffers(f"rows of {name}", rows, *of.shape[1:], dtype=of.dtype)
            for name, of in zip(("x", "y", "weights"), data, strict=False)
        ]
        self.built: list[Step] = []
        self.updates: list[list[Op]] = []
        for k in range(steps):
            batch = slice(k * batch_size, (k + 1) * batch_size)
            x, y, *weights = (of[batch] for of in self.rows)
            self.built.append(build(buffers, x, y, self.losses[k], weights[0] if weights else None))
            self.updates.append(update(self.rates[k], k))
        self.ops = [[*step.ops(), *update] for step, update in zip(self.built, self.updates, strict=True)]
        self.data: Rows = ()
        self.gather: list[Op] = []
        self.warm = False
        self.replay: Replay | None = None

    def __call__(self, data: Rows, index: Tensor, rates: Tensor, losses: Tensor) -> None:
        """One step on each batch of the data's rows `index` at its rate, the losses into `losses`.

        Fewer than `steps` batches run eagerly.
        """
        k = len(rates)
        self._bind(data)
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

    def one(self, data: Rows, lr: float, masks: Mapping[str, Tensor] | None) -> Tensor:
        """A first step on just these rows, eagerly, with the masks if they are given; its loss ()."""
        for buffer, of in zip(self.rows, data, strict=True):
            buffer[: len(of)].copy_(of)
        self.rates[0].fill_(lr)
        for layer, mask in self.built[0].masks.items():
            if masks is not None:
                mask.copy_(masks[f"mask{layer}"])
        run([*self.built[0].ops(*(["draw"] if masks is not None else [])), *self.updates[0]])
        return self.losses[0]

    def _bind(self, data: Rows) -> None:
        """Gather from these tensors from now on; a graph that gathered from others is forgotten."""
        if len(self.data) == len(data) and all(a is b for a, b in zip(self.data, data, strict=True)):
            return
        self.data, self.replay = data, None
        self.gather = self._gather(self.steps)

    def _gather(self, k: int) -> list[Op]:
        rows = k * self.batch_size
        return [
            partial(torch.index_select, of, 0, self.index[:rows], out=buffer[:rows])
            for of, buffer in zip(self.data, self.rows, strict=True)
        ]

    def _run(self, k: int) -> None:
        run(self.gather if k == self.steps else self._gather(k))
        for ops in self.ops[:k]:
            run(ops)
