"""The compiled engine: a whole epoch of `manual`'s network as one call of compiled code."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from manual.compiled import layout as col
from manual.compiled import losses, optimizers
from manual.compiled.layout import NUMBERS, PREDICT, SHARES, TRACE, TRAIN, Buffer, Crew, FlatData, fit
from manual.compiled.ready import compiled_run, prepare, unsupported
from manual.compiled.threads import SLOT, YIELD_ADDRESS, most_samples, samples, together
from manual.losses import Reduction, zero_one
from manual.network import MLP
from manual.numbers import Array
from manual.optimizers import Optimizer
from manual.steps.engine import ZERO, FlatEngine, check_inputs
from manual.steps.moments import kept
from manual.steps.program import named
from manual.training.recipe import PLAIN, Recipe
from manual.training.subnormals import flushing

# Rows that are predicted at once by a thread, and doubles that are drawn at once for dropout: 1 MB, or
# with several, which have to be started each time, 8 MB.
PREDICTED_ROWS, DRAWN, DRAWN_BY_THREADS = 256, 2**17, 2**20
NOTHING = np.zeros(0)


# Where the value of a stage lies in a buffer, by its kind; a lies with h where nothing drops.
STAGES = {
    "linear": col.Z,
    "activation": col.H,
    "dropout": col.H,
    "loss_gradient": col.DH,
    "dropout_backward": col.DA,
    "activation_backward": col.DZ,
    "jacobian_product": col.DZ,
    "linear_backward_input": col.DH,
}


class CompiledEngine(FlatEngine):
    """`ManualEngine` compiled: the same network, loss, optimizer and recipe, and the same formulas.

    With several `threads` each takes its share of every batch. Neither their number nor the kind of
    processor shows in the numbers: the same seed gives the same bits.

    The parameters and moments move into flat arrays; `model.parameters` and `optimizer.state` become
    views of them, so both show the numbers of the moment. Raises ValueError for what is `unsupported`.
    """

    def __init__(
        self, model: MLP, loss: str, optimizer: Optimizer, recipe: Recipe = PLAIN, threads: int = 1
    ) -> None:
        super().__init__(model, loss, optimizer, recipe, rows=True)
        reason = unsupported(model.architecture, self.dtype, loss)
        if reason is None and type(optimizer) not in optimizers.ROWS:
            reason = f"the compiled engine has no kernel for {type(optimizer).__name__}"
        if reason is None and recipe.accumulate > 1:
            reason = "the compiled engine updates after every batch"
        if reason is not None:
            raise ValueError(reason)
        prepare(self.dtype)
        self.threads, self.flat = threads, self.own.array
        moments = [(name, self.flat_array(rows=True)) for name in kept(optimizer)]
        self.moments = [moment.array for _, moment in moments]
        self.moment_views = [(name, moment.views) for name, moment in moments if name is not None]
        self.shown = False  # whether optimizer.state has the moments
        self.rows = losses.ROWS.index(self.row.name), optimizers.ROWS.index(type(optimizer))
        options = [float(self.dtype.type(value)) for value in self.row.options.values()]
        self.loss_options = (*options, *[0.0] * (col.LOSS_OPTIONS_AT_MOST - len(options)))
        self.slope = float(self.dtype.type(model.architecture.negative_slope))
        self.specs, self.numbers = np.zeros((threads, SHARES + threads + 1), np.int64), np.zeros(NUMBERS)
        self.arrivals = np.zeros(threads * SLOT, np.int64)
        self.crews: dict[int, Crew] = {}
        self.uniforms = NOTHING
        kinds = self.dtype, self.dtype, np.int64, np.float64
        self.nothing = FlatData(*(np.zeros(0, kind) for kind in kinds))

    @property
    def drops(self) -> bool:
        """Whether dropout acts."""
        return self.model.training and self.model.architecture.dropout > 0

    def epoch(
        self, x: Array, y: Array, indices: Array, batch_size: int, rates: Array, weights: Array | None = None
    ) -> Array:
        """As `manual.training.engine.Engine` says; it stops after a loss that is not finite."""
        data = self._data(x, y, weights)
        indices, rates = fit(indices, np.int64), fit(rates, np.float64)
        if len(rates) != -(-len(indices) // batch_size):
            raise ValueError(f"{len(rates)} rates for {len(indices)} indices in batches of {batch_size}")
        self._adopt()
        results = np.empty(len(rates))
        size = max(1, min(batch_size, len(indices)))
        crew = self._crew(size)
        for steps in self._pieces(len(rates), batch_size):
            rows = indices[steps.start * batch_size : steps.stop * batch_size]
            done = self._run(TRAIN, size, crew, data, rows, results[steps], rates=rates[steps])
            finite = bool(np.isfinite(results[steps.start + done - 1]))
            self._show(done if finite else done - 1, rates[steps.start + done - 1])
            if not finite:
                return results[: steps.start + done]
        return results

    def _pieces(self, steps: int, batch_size: int) -> Iterator[slice]:
        """All steps at once; with dropout, as many as the memory for its random numbers is meant for."""
        width = sum(self.model.architecture.sizes[1:-1]) if self.drops else 0
        most = DRAWN if self.threads == 1 else DRAWN_BY_THREADS
        piece = max(1, most // (width * batch_size)) if width else max(1, steps)
        for first in range(0, steps, piece):
            yield slice(first, min(first + piece, steps))

    def predict(self, x: Array) -> Array:
        """The network's output (N, out) in evaluation: no dropout."""
        return self._outputs(self.nothing._replace(x=self._inputs(x)), len(x), 0).astype(self.dtype)

    def evaluate(self, x: Array, y: Array) -> tuple[float, float | None]:
        """The loss, by the compiled loops too, and the accuracy on x (N, in) and y."""
        found = self._outputs(self._data(x, y), len(x), 1)
        output, terms = found[:, :-1].astype(self.dtype), found[:, -1]
        features = 1 if self.row.per_sample else output.shape[1]
        accuracy = None if self.row.target == "real" else 1 - zero_one(output, y, self.row.target)
        return math.fsum(terms) / (len(x) * features), accuracy

    def _outputs(self, data: FlatData, n: int, terms: int) -> Array:
        """Of each sample the output, and so many terms of the loss, in float64."""
        self._adopt()
        results, size = (
            np.empty((n, self.model.architecture.sizes[-1] + terms)),
            PREDICTED_ROWS * self.threads,
        )
        self._run(PREDICT, size, self._crew(size), data, np.arange(n), results.reshape(-1), drops=False)
        return results

    def values(self, leaves: Mapping[str, Array], reduction: Reduction) -> dict[str, Any]:
        self.adopt()
        x, architecture = leaves["x"], self.model.architecture
        data, n, rows = self._data(x, leaves["y"], leaves.get("weights")), len(x), np.arange(len(x))
        crew, loss, gradients = self._crew(n), np.empty(1), self.flat_array(rows=True)
        ends = [samples.py_func(n, thread, self.threads) for thread in range(self.threads)]
        shares = [(buffer, slice(*end)) for buffer, end in zip(crew.buffers, ends, strict=True)]
        for buffer, share in shares:
            for i in range(1, architecture.depth if self.drops else 1):
                mask = leaves[f"mask{i}"][share]
                buffer.stage(i - 1, col.MASK, len(mask))[...] = mask
        given: dict[str, Any] = {"reduction": reduction}
        self._run(TRACE, n, crew, data, rows, loss, gradients.array, **given, penalized=False)
        found: dict[str, Any] = {"loss": self.dtype.type(loss[0])}
        places = STAGES | ({"activation": col.A} if self.drops else {})
        for stage in self.model.stages(self.loss, reduction):
            if stage.kind in places:
                layer = stage.layer - (stage.kind == "linear_backward_input")  # 0 is x
                parts = [b.stage(layer - 1, places[stage.kind], s.stop - s.start) for b, s in shares]
                found[stage.name] = np.concatenate(parts)
        found |= named("d", gradients.views)
        if self.recipe.penalized:  # the same pass once more, with the penalties
            whole, objective = self.flat_array(rows=True), np.empty(1)
            self._run(TRACE, n, crew, data, rows, objective, whole.array, **given)
            found |= named("g", whole.views) | {"objective": self.dtype.type(objective[0])}
        return found

    def _run(
        self, mode: int, size: int, crew: Crew, data: FlatData, rows: Array, results: Array,
        gradients: Array | None = None, *, rates: Array = NOTHING, reduction: str = "mean",
        drops: bool | None = None, penalized: bool = True,
    ) -> int:  # fmt: skip
        """The compiled function on batches of that size, a thread a buffer; how many it went through."""
        optimizer, architecture, threads = self.optimizer, self.model.architecture, self.threads
        drops = self.drops if drops is None else drops
        uniforms = (
            self._draw(len(rows) * sum(architecture.sizes[1:-1])) if drops and mode == TRAIN else NOTHING
        )
        fresh = "momentum_buffer" not in optimizer.state["layers.0.weight"]
        for thread, buffer in enumerate(crew.buffers):
            asked = (mode, *self.rows, size, optimizer.steps, fresh, drops)
            self.specs[thread, :SHARES] = (*asked, thread, threads, YIELD_ADDRESS, *buffer.places)
        self.numbers[:] = (
            *optimizers.hyperparameters(optimizer),
            *((self.recipe.l1, self.recipe.l2) if penalized else (0.0, 0.0)),
            self.recipe.clip_norm or 0.0,
            self.recipe.clip_value or 0.0,
            architecture.dropout,
            self.slope,
            reduction == "sum",
            *self.loss_options,
        )
        g = self.own_gradients.array if gradients is None else gradients
        given = (*data, rows, rates, uniforms, self.flat, g, *self.moments)

        def work(thread: int) -> int:
            buffer = crew.buffers[thread]
            own = (*given, crew.numbers, buffer.chosen, results, self.arrivals, crew.sums)
            return compiled_run()(self.specs[thread], buffer.table, self.numbers, *own)

        with flushing():  # the other threads are begun in it
            done = work(0) if threads == 1 else together(work, threads, self.arrivals)
        if done < 0:
            raise IndexError(f"an index is not among the {data.x.size // architecture.sizes[0]} samples")
        return done

    def _draw(self, n: int) -> Array:
        """The next n numbers of the masks' generator, in memory that is kept."""
        if len(self.uniforms) < n:
            self.uniforms = np.empty(n)
        self.model.generator.random(out=self.uniforms[:n])
        return self.uniforms[:n]

    def _crew(self, size: int) -> Crew:
        """A buffer for each thread, for its largest share of up to so many samples."""
        if size not in self.crews:
            most = most_samples(size, self.threads)
            buffers = [Buffer(self.model.architecture, most, self.dtype) for _ in range(self.threads)]
            self.crews[size] = Crew.of(buffers, size)
        return self.crews[size]

    def _inputs(self, x: Array) -> Array:
        check_inputs(x, self.model.architecture.sizes[0])
        return fit(x, self.dtype).reshape(-1)

    def _data(self, x: Array, y: Array, weights: Array | None = None) -> FlatData:
        """The arrays that the compiled code reads. Raises ValueError where one does not fit."""
        if weights is not None and weights.shape != (len(x),):
            raise ValueError(f"the weights have shape {weights.shape}, not {(len(x),)}")
        flat, y, outputs = self._inputs(x), np.asarray(y), self.model.architecture.sizes[-1]
        if self.row.target == "label" or y.shape != (len(x), outputs):
            self.row.check(np.broadcast_to(ZERO, (len(x), outputs)), y)
        w = self.nothing.weights if weights is None else fit(weights, np.float64)
        if y.ndim == 1:
            return self.nothing._replace(x=flat, labels=fit(y, np.int64), weights=w)
        return self.nothing._replace(x=flat, y=fit(y, self.dtype).reshape(-1), weights=w)

    def _adopt(self) -> None:
        """Take over what was assigned from outside since the last call, parameters and moments."""
        self.adopt()
        for kind, by_name in self.moment_views:
            for name, view in by_name.items():
                state = self.optimizer.state[name]
                if kind in state and state[kind] is not view:
                    view[...] = state[kind]
                    state[kind] = view

    def _show(self, steps: int, rate: float) -> None:
        """Count the steps that were taken in the optimizer, and show it its moments."""
        self.optimizer.steps += steps
        self.optimizer.lr = float(rate)
        if steps and not self.shown:
            for kind, by_name in self.moment_views:
                for name, view in by_name.items():
                    self.optimizer.state[name][kind] = view
            self.shown = True
