"""The compiled engine: a whole epoch of `manual`'s network as one call of compiled code."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

import manual
from manual.compiled import losses, optimizers
from manual.compiled.layout import (
    DA,
    DH,
    DZ,
    MASK,
    NUMBERS,
    PREDICT,
    SPEC,
    TRACE,
    TRAIN,
    A,
    Buffer,
    H,
    Z,
    aligned,
    views,
)
from manual.compiled.memory import BLAS
from manual.compiled.ready import compiled_run, unsupported
from manual.losses import LOSSES, Reduction
from manual.numbers import Array
from manual.optimizers import Optimizer
from manual.trace import Trace
from manual.training import NumPyEngine

# Rows that are predicted at once, and doubles that are drawn at once for dropout (1 MB).
PREDICTED_ROWS, DRAWN = 256, 2**17
NOTHING, ZERO = np.zeros(0), np.zeros(())


class Data(NamedTuple):
    """x and y flat, and labels; what there is none of is empty."""

    x: Array
    y: Array
    labels: Array


class CompiledEngine(NumPyEngine):
    """`ManualEngine` compiled: the same network, loss, optimizer and penalty, and the same formulas.

    The parameters and moments move into flat arrays; `model.parameters` and `optimizer.state` become
    views of them, so both show the numbers of the moment. Raises ValueError for what is `unsupported`.
    """

    def __init__(self, model: manual.MLP, loss: str, optimizer: Optimizer, l1: float = 0.0) -> None:
        reason = unsupported(model.architecture, model.dtype)
        if reason is None and type(optimizer) not in optimizers.ROWS:
            reason = f"the compiled engine has no rule for {type(optimizer).__name__}"
        if reason is not None:
            raise ValueError(reason)
        super().__init__(model, loss)
        self.optimizer, self.l1 = optimizer, l1
        self.row = LOSSES[manual.architecture.choose("loss", loss, list(LOSSES))]
        self.dtype, architecture = np.dtype(model.dtype), model.architecture
        count = model.counts.parameters
        self.flat, self.flat_gradients, *self.moments = (aligned(count, self.dtype) for _ in range(4))
        self.views = views(architecture, self.flat)
        self.gradients = views(architecture, self.flat_gradients)
        self.moment_views = [
            (kind, views(architecture, flat))
            for kind, flat in zip(optimizers.moments(optimizer), self.moments, strict=True)
            if kind is not None
        ]
        self.shown = False  # whether optimizer.state has the moments
        self.rows = (
            BLAS[self.dtype.name],
            losses.ROWS.index(loss),
            optimizers.ROWS.index(type(optimizer)),
        )
        self.slope = float(self.dtype.type(architecture.negative_slope))
        self.spec, self.numbers = np.zeros(len(SPEC), np.int64), np.zeros(NUMBERS)
        self.buffers: dict[int, Buffer] = {}
        self.uniforms = NOTHING
        self.nothing = Data(*(np.zeros(0, kind) for kind in (self.dtype, self.dtype, np.int64)))
        self._adopt()

    @property
    def drops(self) -> bool:
        """Whether dropout acts."""
        return self.model.training and self.model.architecture.dropout > 0

    def epoch(self, x: Array, y: Array, indices: Array, batch_size: int, rates: Array) -> Array:
        """As `manual.training.Engine` says; it stops after a loss that is not finite."""
        data, indices, rates = self._data(x, y), _fit(indices, np.int64), _fit(rates, np.float64)
        if len(rates) != -(-len(indices) // batch_size):
            raise ValueError(f"{len(rates)} rates for {len(indices)} indices in batches of {batch_size}")
        self._adopt()
        results = np.empty(len(rates))
        buffer = self._buffer(min(batch_size, len(x)))
        for steps in self._pieces(len(rates), batch_size):
            rows = indices[steps.start * batch_size : steps.stop * batch_size]
            done = self._run(TRAIN, buffer, data, rows, results[steps], rates=rates[steps])
            finite = bool(np.isfinite(results[steps.start + done - 1]))
            self._show(done if finite else done - 1, rates[steps.start + done - 1])
            if not finite:
                return results[: steps.start + done]
        return results

    def _pieces(self, steps: int, batch_size: int) -> Iterator[slice]:
        """All steps at once; with dropout, as many as the memory for its random numbers is meant for."""
        width = sum(self.model.architecture.sizes[1:-1]) if self.drops else 0
        piece = max(1, DRAWN // (width * batch_size)) if width else max(1, steps)
        for first in range(0, steps, piece):
            yield slice(first, min(first + piece, steps))

    def predict(self, x: Array) -> Array:
        """The network's output (N, out) in evaluation: no dropout."""
        self._adopt()
        n, results = len(x), np.empty((len(x), self.model.architecture.sizes[-1]))
        data = self.nothing._replace(x=self._inputs(x))
        self._run(PREDICT, self._buffer(PREDICTED_ROWS), data, np.arange(n), results.reshape(-1), drops=False)
        return results.astype(self.dtype)

    def trace(
        self, x: Array, y: Array, masks: Mapping[str, Array] | None = None, reduction: Reduction = "mean"
    ) -> Trace:
        """The stages of one pass by the compiled loops, named as in `manual.chain`, without the penalty.

        x (N, in), y as the loss takes it; `masks` gives the dropout masks instead of drawing them.
        """
        stages, architecture = self.model.stages(self.loss, reduction), self.model.architecture
        leaves = {**self.model.leaves(np.asarray(x, self.dtype), masks), "y": np.asarray(y)}
        data, n, depth = self._data(x, y), len(x), architecture.depth
        self._adopt()
        buffer, loss, gradients = Buffer(architecture, n, self.dtype), np.empty(1), self.flat_gradients.copy()
        for i in range(1, depth if self.drops else 1):
            buffer.stage(i - 1, MASK, n)[...] = leaves[f"mask{i}"]
        self._run(TRACE, buffer, data, np.arange(n), loss, gradients, reduction=reduction)
        found: dict[str, Any] = {
            "loss": self.dtype.type(loss[0]),
            "dx": buffer.piece(buffer.dx, architecture.sizes[0], n),
        }
        for i in range(1, depth + 1):
            arriving = "dloss" if i == depth else f"dh{i}" if self.drops else f"da{i}"
            places = {f"z{i}": Z, f"a{i}": A, f"h{i}": H, f"da{i}": DA, arriving: DH, f"dz{i}": DZ}
            found |= {name: buffer.stage(i - 1, column, n) for name, column in places.items()}
        named = views(architecture, gradients)
        found |= {stage.name: named[stage.parameter] for stage in stages if stage.parameter is not None}
        return Trace(stages, leaves, found)

    def _run(
        self,
        mode: int,
        buffer: Buffer,
        data: Data,
        rows: Array,
        results: Array,
        gradients: Array | None = None,
        *,
        rates: Array = NOTHING,
        reduction: str = "mean",
        drops: bool | None = None,
    ) -> int:
        """The compiled function on these arrays; how many batches it went through."""
        optimizer, architecture = self.optimizer, self.model.architecture
        drops = self.drops if drops is None else drops
        uniforms = (
            self._draw(len(rows) * sum(architecture.sizes[1:-1])) if drops and mode == TRAIN else NOTHING
        )
        fresh = "momentum_buffer" not in optimizer.state["layers.0.weight"]
        self.spec[:] = (mode, *self.rows, buffer.capacity, optimizer.steps, fresh, drops, *buffer.places)
        self.numbers[:] = (
            *optimizers.hyperparameters(optimizer),
            self.l1,
            architecture.dropout,
            self.slope,
            reduction == "sum",
        )
        g = self.flat_gradients if gradients is None else gradients
        state = (self.flat, g, *self.moments, buffer.numbers, buffer.chosen)
        done = compiled_run()(
            self.spec, buffer.table, self.numbers, *data, rows, rates, uniforms, *state, results
        )
        if done < 0:
            raise IndexError(f"an index is not among the {data.x.size // architecture.sizes[0]} samples")
        return done

    def _draw(self, n: int) -> Array:
        """The next n numbers of the masks' generator, in memory that is kept."""
        if len(self.uniforms) < n:
            self.uniforms = np.empty(n)
        self.model.generator.random(out=self.uniforms[:n])
        return self.uniforms[:n]

    def _buffer(self, capacity: int) -> Buffer:
        if capacity not in self.buffers:
            self.buffers[capacity] = Buffer(self.model.architecture, capacity, self.dtype)
        return self.buffers[capacity]

    def _inputs(self, x: Array) -> Array:
        inputs = self.model.architecture.sizes[0]
        if x.ndim != 2 or x.shape[1] != inputs:
            raise ValueError(f"x has shape {x.shape}; this network takes (N, {inputs})")
        return _fit(x, self.dtype).reshape(-1)

    def _data(self, x: Array, y: Array) -> Data:
        """The arrays that the compiled code reads. Raises ValueError where one does not fit."""
        flat, y, outputs = self._inputs(x), np.asarray(y), self.model.architecture.sizes[-1]
        if self.row.target == "label" or y.shape != (len(x), outputs):
            self.row.check(np.broadcast_to(ZERO, (len(x), outputs)), y)
        if y.ndim == 1:
            return self.nothing._replace(x=flat, labels=_fit(y, np.int64))
        return self.nothing._replace(x=flat, y=_fit(y, self.dtype).reshape(-1))

    def _adopt(self) -> None:
        """Take over what was assigned from outside since the last call, parameters and moments."""
        parameters = self.model.parameters
        for name, view in self.views.items():
            if parameters[name] is not view:
                view[...] = parameters[name]
                parameters[name] = view
        for kind, by_name in self.moment_views:
            for name, view in by_name.items():
                state = self.optimizer.state[name]
                if kind in state and state[kind] is not view:
                    view[...] = state[kind]
                    state[kind] = view

    def _show(self, steps: int, rate: float) -> None:
        """Tell the optimizer of the steps that were taken, and show it its moments."""
        self.optimizer.steps += steps
        self.optimizer.lr = float(rate)
        if steps and not self.shown:
            for kind, by_name in self.moment_views:
                for name, view in by_name.items():
                    self.optimizer.state[name][kind] = view
            self.shown = True


def _fit(array: Array, dtype: Any) -> Array:
    """The array in the one layout that the compiled code knows: that dtype, row-major, writeable."""
    if array.dtype == dtype and array.flags.carray:
        return array
    return np.require(array, dtype, ("C", "A", "W"))
