"""The torch engine: resident data, whole epochs of hand-written steps, one synchronization an epoch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual.catalogue import LOSSES as MANUAL_LOSSES
from manual.catalogue import OPTIMIZERS as MANUAL_OPTIMIZERS
from manual.losses import Reduction
from manual.network import targets
from manual.numbers import Array
from manual.steps.engine import check
from manual.steps.program import program
from manual.structure.architecture import choose, symbol
from manual.structure.trace import Trace
from manual.training.engine import State
from manual.training.recipe import PLAIN, Recipe
from manual.training.subnormals import flushing
from mlp_torch.buffered.buffers import Buffers, FlatParameters, Op, Resident
from mlp_torch.buffered.chunk import Capture, Chunk, Rows, cuda_graph
from mlp_torch.buffered.memory import advised
from mlp_torch.buffered.optimizers import OPTIMIZERS
from mlp_torch.buffered.pool import spread
from mlp_torch.buffered.products import precision
from mlp_torch.buffered.recipe import Rules
from mlp_torch.buffered.step import Step, Task, run, take_down
from mlp_torch.config import PRECISIONS
from mlp_torch.errors import UserError
from mlp_torch.model import MLP, generators, set_generators
from mlp_torch.module_engine import ModuleEngine
from mlp_torch.trace import stages_of, to_array

STEPS_PER_GRAPH = 16
# On the CPU as many batches are gathered at once as stay in a core's cache, and no more than pay.
GATHERED_BYTES, GATHERED_STEPS = 2**20, 32
PREDICTED_ROWS = 8192


def unsupported(device: str, dtype: str = "float32", fp32_precision: str = "ieee") -> str | None:
    """What of this the engine cannot do, in one line, or None."""
    if device not in ("cpu", "cuda"):
        return f"the torch engine runs on cpu and cuda, not on {device}"
    if fp32_precision not in PRECISIONS:
        return f"fp32_precision is {', '.join(PRECISIONS)}, not {fp32_precision}"
    if fp32_precision != "ieee" and dtype == "float64":
        return f"fp32_precision {fp32_precision} is for float32, not for float64"
    return None


def too_large(numbers: Mapping[str, Any], dtype: torch.dtype) -> str | None:
    """The first of these that is beyond the dtype, in one line, or None: torch's kernels take none such."""
    most = torch.finfo(dtype).max
    for name, value in numbers.items():
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and abs(number) > most:
                kind = str(dtype).removeprefix("torch.")
                return f"{name} is {number:g}, and the largest {kind} is {most:.3g}: use a smaller one"
    return None


class TorchEngine(ModuleEngine):
    """The hand-written gradient and update in torch's kernels; answers `manual.training.engine.Engine`.

    `options` are the optimizer's beside lr, as torch.optim names them; `recipe`: `manual.training.recipe`.
    The module's parameters become views of one tensor and stay live: train, then use `model` as any
    module, but do not move it to another device. Dropout draws from torch's generator. `fp32_precision`
    is torch's word for how float32 products may be rounded ("ieee", "tf32", "bf16") and holds only
    inside; bf16 on CUDA rounds in training alone.

    On CUDA, `steps_per_graph` steps are recorded once and replayed; that path has not been run on a
    GPU yet. Raises ValueError for an unknown row, an unknown option or what `unsupported` names, and
    UserError for a number beyond the dtype.
    """

    def __init__(
        self,
        module: MLP,
        loss: str,
        optimizer: str,
        options: Mapping[str, Any],
        recipe: Recipe = PLAIN,
        *,
        fp32_precision: str = "ieee",
        steps_per_graph: int = STEPS_PER_GRAPH,
    ) -> None:
        choose("loss", loss, MANUAL_LOSSES)
        rule = MANUAL_OPTIMIZERS[choose("optimizer", optimizer, list(MANUAL_OPTIMIZERS))]
        self.model, self.loss = module, loss
        self.flat = FlatParameters(module)
        self.device, self.dtype = self.flat.values.device, self.flat.values.dtype
        reason = unsupported(self.device.type, str(self.dtype).removeprefix("torch."), fp32_precision)
        if reason is None and rule not in OPTIMIZERS:
            reason = f"the torch engine has no kernel for {rule.__name__}"
        if reason is not None:
            raise ValueError(reason)
        beyond = too_large({**asdict(recipe), **options}, self.dtype)
        if beyond is not None:
            raise UserError(beyond)
        # torch's setting knows bf16 on the CPU alone; on CUDA the step itself rounds what it multiplies
        bf16 = fp32_precision == "bf16" and self.device.type == "cuda"
        self.recipe = recipe
        self.task, self.fp32_precision = Task(loss, "mean", recipe, bf16), "ieee" if bf16 else fp32_precision
        self.rules = Rules(recipe, self.flat.gradients)
        self.optimizer = OPTIMIZERS[rule](rule({}, **options), self.flat.values, self.flat.gradients)
        self.resident = Resident(self.device)
        self.capture: Capture | None = cuda_graph if self.device.type == "cuda" else None
        self.steps_per_graph = steps_per_graph
        self.chunks: dict[Any, Chunk] = {}
        self.program = cache(program)

    def epoch(
        self, x: Array, y: Array, indices: Array, batch_size: int, rates: Array, weights: Array | None = None
    ) -> Array:
        """As `manual.training.engine.Engine` says; it does not stop at a loss that is not finite."""
        with self._working(), advised(batch_size, self.device, self._needed, self._release):
            data = self._data(x, y, weights)
            self.rules.forget()
            index = torch.from_numpy(np.ascontiguousarray(indices, dtype=np.int64)).to(self.device)
            rate = torch.from_numpy(np.asarray(rates, dtype=np.float64)).to(self.device)
            losses = torch.empty(len(rates), dtype=self.dtype, device=self.device)
            whole, done = len(indices) // batch_size, 0
            while done < whole:
                chunk = self._chunk(data, batch_size, self._steps(data[0], batch_size))
                end = min(whole, done + chunk.steps)
                batches = index[done * batch_size : end * batch_size]
                chunk(data, batches, rate[done:end], losses[done:end])
                done = end
            if done < len(rates):
                rest = index[done * batch_size :]
                chunk = self._chunk(data, len(rest), 1)
                chunk(data, rest, rate[done:], losses[done:])
            if self.recipe.accumulate > 1 and (whole < len(rates) or whole % self.recipe.accumulate):
                last = (len(rates) - 1) % self.recipe.accumulate + 1
                run(self._close(chunk.rates[0].copy_(rate[-1]), last))
            return losses.double().cpu().numpy()

    def update(self, rate: Tensor, k: int = 0) -> list[Op]:
        """What follows the k-th step of a chunk, which begins where a group of batches does."""
        if self.recipe.accumulate == 1:
            return [*self.rules.clipping, *self.optimizer(rate)]
        last = (k + 1) % self.recipe.accumulate == 0
        return [*self.rules.collect(), *(self._close(rate, self.recipe.accumulate) if last else [])]

    def _close(self, rate: Tensor, batches: int) -> list[Op]:
        """The update by the mean gradient of the batches that were collected."""
        return [*self.rules.mean(batches), *self.rules.clipping, *self.optimizer(rate)]

    def step(
        self,
        x: Array,
        y: Array,
        lr: float,
        masks: Mapping[str, Array] | None = None,
        weights: Array | None = None,
    ) -> float:
        """One step on a batch; `masks` gives the dropout masks as in `manual.MLP.trace`."""
        with self._working(), advised(len(x), self.device, self._needed, self._release):
            data = self._data(x, y, weights, kept=False)
            chunk = self._chunk(data, len(x), 1)
            given = None if masks is None else {n: self.resident.tensor(m) for n, m in masks.items()}
            loss = float(chunk.one(data, lr, given))
            if self.recipe.accumulate > 1:
                run(self._close(chunk.rates[0], 1))
            return loss

    def outputs(self, x: Array) -> Tensor:
        with self._working():
            return torch.cat([self.model(rows) for rows in torch.split(self.resident(x), PREDICTED_ROWS)])

    def state(self) -> State:
        """As `manual.training.engine.Resumable` says."""
        arrays = {f"parameters/{n}": v for n, v in self.parameters().items()}
        arrays |= {f"moments/{n}": to_array(v) for n, v in self.optimizer.moments.items()}
        arrays |= generators(self.device)
        return State(arrays, {"flags": dict(self.optimizer.flags)})

    def resume(self, state: State) -> None:
        """As `manual.training.engine.Resumable` says."""
        self.load(state.of("parameters"))
        with torch.inference_mode():
            for name, value in state.of("moments").items():
                self.optimizer.moments[name].copy_(torch.from_numpy(value))
        self.optimizer.flags.update(state.numbers["flags"])
        set_generators(state.of("generator"), self.device)

    @property
    def gradients(self) -> dict[str, Array]:
        """A copy of the last step's gradients, by parameter; zeros before the first."""
        return {name: to_array(self.flat.gradient[name]) for name, _ in self.model.named_parameters()}

    def trace(
        self,
        x: Array,
        y: Array,
        masks: Mapping[str, Array] | None = None,
        reduction: Reduction = "mean",
        weights: Array | None = None,
    ) -> Trace:
        """One pass by the kernels of a step under the stages' names, in the module's mode; no update.

        Without `masks`, dropout draws. What moves are `gradients` and torch's generator.
        """
        stages = stages_of(self.model, self.loss, reduction, weights is not None, self.recipe)
        leaves = {symbol(name): array for name, array in self.parameters().items()}
        with self._working():
            rows, y_rows, *w = self._data(x, y, weights, kept=False)
            buffers = Buffers(self.device, self.dtype)
            task = replace(self.task, reduction=reduction)
            options: dict[str, Any] = {"training": self.model.training, "with_dx": True}
            options |= {"weights": w[0] if w else None}
            step = Step(self.model, self.flat, buffers, task, rows, y_rows, buffers("loss"), **options)
            given = {n: self.resident.tensor(m) for n, m in masks.items()} if masks else None
            values: dict[str, Any] = {n: to_array(v) for n, v in take_down(step, given).items()}
        leaves |= {f"mask{layer}": values[f"mask{layer}"] for layer in step.masks}
        for name in ("loss", "objective"):
            if name in values:
                values[name] = values[name][()]
        leaves |= targets(y, weights, values["z1"].dtype)
        return Trace(stages, {"x": np.asarray(x), **leaves}, values)

    @contextmanager
    def _working(self) -> Iterator[None]:
        with torch.inference_mode(), precision(self.device.type, self.fp32_precision), flushing(spread):
            yield

    def _data(self, x: Array, y: Array, weights: Array | None, kept: bool = True) -> Rows:
        """x, y and weights on the device, where they stay if they are `kept`; looked at as they come there.

        Raises ValueError where x or y does not fit the network and the loss.
        """
        known = kept and x in self.resident and y in self.resident
        take = self.resident if kept else self.resident.tensor
        data = tuple(take(array) for array in (x, y, weights) if array is not None)
        if not known:
            check(MANUAL_LOSSES[self.loss], self.model.architecture.sizes, data[0], y)
            if data[0].dtype != self.dtype:
                raise ValueError(f"x is {data[0].dtype}; this network takes {self.dtype}")
        return (*data[:2], *(w.to(self.dtype) for w in data[2:]))

    def _steps(self, x: Tensor, batch_size: int) -> int:
        """How many batches make a chunk: whole groups of those that make an update together."""
        batch, group = batch_size * x.shape[1] * x.element_size(), self.recipe.accumulate
        most = self.steps_per_graph if self.capture else min(GATHERED_STEPS, max(1, GATHERED_BYTES // batch))
        return max(1, most // group) * group

    def _chunk(self, data: Rows, batch_size: int, steps: int) -> Chunk:
        key = batch_size, steps, len(data), data[1].dtype, data[1].shape[1:]
        if key not in self.chunks:
            buffers = Buffers(self.device, self.dtype)
            capture = self.capture if steps > 1 else None
            self.chunks[key] = Chunk(self._build, self.update, buffers, data, batch_size, steps, capture)
        return self.chunks[key]

    def _build(self, buffers: Buffers, x: Tensor, y: Tensor, loss: Tensor, weights: Tensor | None) -> Step:
        given: Any = {"weights": weights, "program": self.program}
        return Step(self.model, self.flat, buffers, self.task, x, y, loss, **given)

    def _needed(self, batch_size: int) -> int:
        """The bytes of all buffers of training with that batch size, counted without making them."""
        counted = Buffers(torch.device("meta"), self.dtype)
        sizes = self.model.architecture.sizes
        x = torch.empty(1, sizes[0], dtype=self.dtype, device="meta")
        per_sample = MANUAL_LOSSES[self.loss].per_sample
        shape, dtype = ((1,), torch.int64) if per_sample else ((1, sizes[-1]), self.dtype)
        y = torch.empty(shape, dtype=dtype, device="meta")
        steps = self.steps_per_graph if self.device.type == "cuda" else 1
        Chunk(self._build, lambda lr, k: [], counted, (x, y), batch_size, steps)
        return counted.bytes

    def _release(self) -> None:
        """Let go of every buffer of a batch; the next epoch makes those it needs."""
        self.chunks.clear()
