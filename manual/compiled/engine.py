"""The compiled engine: a whole epoch of `manual`'s network as one call of compiled code."""

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numba.core import event

import manual
from manual.compiled import losses, optimizers
from manual.compiled.layout import DA, DH, DZ, MASK, A, Buffer, H, Z, aligned, views
from manual.compiled.memory import BLAS
from manual.compiled.passes import NUMBERS, PREDICT, TRACE, TRAIN, entry
from manual.losses import LOSSES, Reduction
from manual.numbers import Array
from manual.optimizers import SGD, Optimizer
from manual.trace import Trace
from manual.training import evaluate


@cache
def compiled_run() -> Callable[..., int]:
    """The one compiled function."""
    rooms = sorted(Path(__file__).parent.glob("*.py"))
    return entry(hashlib.sha256(b"".join(room.read_bytes() for room in rooms)).hexdigest())


class _Waiting(event.Listener):
    """Calls back when `run` is about to be compiled, and not when it is found on disk."""

    def __init__(self, waiting: Callable[[], None]) -> None:
        self.waiting = waiting

    def on_start(self, event: Any) -> None:
        if event.data["dispatcher"] is compiled_run():
            self.waiting()

    def on_end(self, event: Any) -> None:
        pass


def prepare(dtype: Any, waiting: Callable[[], None]) -> None:
    """Have the compiled code of a dtype at hand: from this process, from disk, or compiled now.

    `waiting` is called before it is compiled, which takes many seconds once on a machine.
    """
    model = manual.MLP((1, 1), dtype=dtype)
    with event.install_listener("numba:compile", _Waiting(waiting)):
        CompiledEngine(model, "mse", SGD(model.parameters)).predict(np.zeros((0, 1), dtype))


def unsupported(architecture: manual.Architecture, dtype: Any = np.float64) -> str | None:
    """Why the compiled engine cannot train such a network, or None where it can."""
    if architecture.normalization != "none":
        return f"the compiled engine has no {architecture.normalization}"
    if np.dtype(dtype).name not in BLAS:
        return f"the compiled engine takes float32 and float64, not {np.dtype(dtype)}"
    return None


# Rows that are predicted at once, and doubles that are drawn at once for dropout (1 MB).
PREDICTED_ROWS, DRAWN = 256, 2**17
# One layout of what comes from outside, so that one compiled signature takes it.
LAYOUT: tuple[Literal["C", "A", "W"], ...] = ("C", "A", "W")
NOTHING, ZERO = np.zeros(0), np.zeros(())


class CompiledEngine:
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
        self.model, self.loss, self.optimizer, self.l1 = model, loss, optimizer, l1
        self.row = LOSSES[manual.architecture.choose("loss", loss, list(LOSSES))]
        self.dtype = np.dtype(model.dtype)
        count = model.counts.parameters
        self.flat, self.flat_gradients, *self.moments = (aligned(count, self.dtype) for _ in range(4))
        self.views = views(model.architecture, self.flat)
        self.gradients = views(model.architecture, self.flat_gradients)
        self.spec, self.numbers = np.zeros(12, np.int64), np.zeros(NUMBERS)
        self.buffers: dict[int, Buffer] = {}
        self.labels, self.real = np.zeros(0, np.int64), np.zeros(0, self.dtype)
        self.moment_views = [
            (kind, views(model.architecture, flat))
            for kind, flat in zip(optimizers.moments(optimizer), self.moments, strict=True)
            if kind is not None
        ]
        self.published = False
        self._adopt()

    def epoch(self, x: Array, y: Array, indices: Array, batch_size: int, rates: Array) -> Array:
        """As `manual.training.Engine` says; it stops after a loss that is not finite."""
        x, y, labels = self._data(x, y)
        indices, rates = np.require(indices, np.int64, LAYOUT), np.require(rates, np.float64, LAYOUT)
        architecture = self.model.architecture
        drops = self.model.training and architecture.dropout > 0
        buffer = self._buffer(min(batch_size, len(indices)))
        width = sum(architecture.sizes[1:-1]) * batch_size if drops else 0
        piece = max(1, DRAWN // width) if width else len(rates)
        losses_ = np.empty(len(rates))
        self._adopt()
        for first in range(0, len(rates), piece):
            rows = indices[first * batch_size : (first + piece) * batch_size]
            uniforms = self.model.generator.random(len(rows) * width // batch_size) if drops else NOTHING
            last = first + len(rates[first : first + piece])
            done = self._run(
                TRAIN,
                buffer,
                x,
                y,
                labels,
                rows,
                batch_size,
                losses_[first:last],
                drops,
                rates=rates[first:last],
                uniforms=uniforms,
            )
            finite = done == last - first and bool(np.isfinite(losses_[last - 1]))
            self._publish(done if finite else done - 1, rates[first + done - 1])
            if not finite:
                return losses_[: first + done]
        return losses_

    def predict(self, x: Array) -> Array:
        """The network's output (N, out) in evaluation: no dropout."""
        x = self._inputs(x)
        sizes = self.model.architecture.sizes
        n = x.size // sizes[0]
        output = np.empty((n, sizes[-1]), self.dtype)
        self._adopt()
        results = np.empty(n * sizes[-1])
        self._run(
            PREDICT,
            self._buffer(PREDICTED_ROWS),
            x,
            self.real,
            self.labels,
            np.arange(n),
            PREDICTED_ROWS,
            results,
            False,
        )
        output.ravel()[:] = results
        return output

    def evaluate(self, x: Array, y: Array) -> tuple[float, float | None]:
        return evaluate(self.predict(x), y, self.loss)

    def parameters(self) -> dict[str, Array]:
        self._adopt()
        return {name: view.copy() for name, view in self.views.items()}

    def load(self, parameters: Mapping[str, Array]) -> None:
        for name, value in parameters.items():
            self.model.parameters[name] = value
        self._adopt()

    def trace(
        self, x: Array, y: Array, masks: Mapping[str, Array] | None = None, reduction: Reduction = "mean"
    ) -> Trace:
        """The stages of one pass by the compiled loops, named as in `manual.chain`, without the penalty."""
        stages = self.model.stages(self.loss, reduction)
        leaves = {**self.model.leaves(np.asarray(x, self.dtype), masks), "y": np.asarray(y)}
        inputs, targets, labels = self._data(x, y)
        self._adopt()
        n = len(x)
        buffer = Buffer(self.model.architecture, n, self.dtype)
        drops = self.model.training and self.model.architecture.dropout > 0
        depth = self.model.architecture.depth
        loss, gradients = np.empty(1), aligned(self.flat.size, self.dtype)
        for i in range(1, depth):
            if drops:
                buffer.stage(i - 1, MASK, n)[...] = leaves[f"mask{i}"]
        self._run(
            TRACE,
            buffer,
            inputs,
            targets,
            labels,
            np.arange(n),
            n,
            loss,
            drops,
            gradients,
            reduction=reduction,
        )
        found: dict[str, Any] = {
            "loss": self.dtype.type(loss[0]),
            "dx": buffer.piece(buffer.dx, self.model.architecture.sizes[0], n),
        }
        for i in range(1, depth + 1):
            arriving = "dloss" if i == depth else f"dh{i}" if drops else f"da{i}"
            places = {f"z{i}": Z, f"a{i}": A, f"h{i}": H, f"da{i}": DA, arriving: DH, f"dz{i}": DZ}
            found |= {name: buffer.stage(i - 1, column, n) for name, column in places.items()}
        named = views(self.model.architecture, gradients)
        found |= {stage.name: named[stage.parameter] for stage in stages if stage.parameter is not None}
        return Trace(stages, leaves, found)

    def _run(
        self,
        mode: int,
        buffer: Buffer,
        x: Array,
        y: Array,
        labels: Array,
        rows: Array,
        batch_size: int,
        results: Array,
        drops: bool,
        gradients: Array | None = None,
        *,
        rates: Array = NOTHING,
        uniforms: Array = NOTHING,
        reduction: str = "mean",
    ) -> int:
        """The compiled function on these arrays; how many batches it went through."""
        optimizer, architecture = self.optimizer, self.model.architecture
        self.spec[:] = (
            mode,
            BLAS[self.dtype.name],
            losses.ROWS.index(self.loss),
            optimizers.ROWS.index(type(optimizer)),
            batch_size,
            optimizer.steps,
            self._fresh(),
            drops,
            buffer.x,
            buffer.y,
            buffer.scratch,
            buffer.dx,
        )
        slope = float(self.dtype.type(architecture.negative_slope))
        self.numbers[:] = (
            *optimizers.hyperparameters(optimizer),
            self.l1,
            architecture.dropout,
            slope,
            reduction == "sum",
        )
        g = self.flat_gradients if gradients is None else gradients
        done = compiled_run()(
            self.spec,
            buffer.table,
            self.numbers,
            x,
            y,
            labels,
            rows,
            rates,
            uniforms,
            self.flat,
            g,
            *self.moments,
            buffer.numbers,
            buffer.chosen,
            results,
        )
        if done < 0:
            raise IndexError(f"an index is not among the {x.size // architecture.sizes[0]} samples")
        return done

    def _buffer(self, capacity: int) -> Buffer:
        if capacity not in self.buffers:
            self.buffers[capacity] = Buffer(self.model.architecture, capacity, self.dtype)
        return self.buffers[capacity]

    def _inputs(self, x: Array) -> Array:
        inputs = self.model.architecture.sizes[0]
        if x.ndim != 2 or x.shape[1] != inputs:
            raise ValueError(f"x has shape {x.shape}; this network takes (N, {inputs})")
        return np.require(x, self.dtype, LAYOUT).reshape(-1)

    def _data(self, x: Array, y: Array) -> tuple[Array, Array, Array]:
        """x flat, y flat, and the labels; what there is none of is empty. ValueError where one misfits."""
        flat, y = self._inputs(x), np.asarray(y)
        self.row.check(np.broadcast_to(ZERO, (len(x), self.model.architecture.sizes[-1])), y)
        if y.ndim == 1:
            return flat, self.real, np.require(y, np.int64, LAYOUT)
        return flat, np.require(y, self.dtype, LAYOUT).reshape(-1), self.labels

    def _fresh(self) -> bool:
        first = self.optimizer.state["layers.0.weight"]
        return "momentum_buffer" not in first

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

    def _publish(self, steps: int, rate: float) -> None:
        """Tell the optimizer of the steps that were taken, and show it its moments."""
        if steps == 0:
            return
        self.optimizer.steps += steps
        self.optimizer.lr = float(rate)
        if not self.published:
            for kind, by_name in self.moment_views:
                for name, view in by_name.items():
                    self.optimizer.state[name][kind] = view
            self.published = True
