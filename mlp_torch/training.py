"""`mlp train`: read the data, check the gradients, train, keep the run, say how it went.

The loop is `manual.training.fit`; this room stands around it: what is checked before, what is kept
after each epoch, when to stop, and what the run ends with, however it ends.
"""

import contextlib
import copy
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import manual
from manual.architecture import Architecture
from manual.batches import batch_counts
from manual.batches import first_batch as first_of
from manual.training import Epoch, NotFiniteError, fit
from mlp_torch.artifact import Artifact
from mlp_torch.autograd import BothEngine
from mlp_torch.config import ON_CPU, Train
from mlp_torch.data.loading import load
from mlp_torch.data.splits import Data
from mlp_torch.engines import ENGINES, AnyEngine, build, choose_engine
from mlp_torch.errors import UserError
from mlp_torch.interrupts import held, released, released_each
from mlp_torch.machine import resolve_device, threads
from mlp_torch.model import MLP, to_torch
from mlp_torch.objective import prepared
from mlp_torch.outcome import Kept, summarize, weights_of
from mlp_torch.progress import Display
from mlp_torch.runs import Run, check_name, make_folder, plain
from mlp_torch.tables.summary import summary
from mlp_torch.terminal import Terminal, counted
from mlp_torch.verify.comparison import compare
from mlp_torch.verify.monitor import Monitor, Watched
from mlp_torch.verify.report import ComparisonReport, WrongGradientError


def run(
    config: Train, around: Callable[["Training"], AbstractContextManager[Any]] = contextlib.nullcontext
) -> int:
    """Train as the flags say (`config.check()` has passed); the exit code.

    0: trained; 1: the gradients are wrong, nothing was trained; 130: interrupted, the best weights are
    kept. Raises UserError for what the user can put right, a loss that is not finite among it. `around`
    makes a context, in which the training that it is given runs; it may set its `after_epoch`.
    """
    with released():
        check_name(config.runs_dir, config.name)
        data = prepared(config, load(config, config.loss, seed=config.seed, dtype=np.dtype(config.dtype)))
        config, why = resolve(config, data)
        check_batches(config, weighing(data))
        architecture = config.architecture(data.inputs, data.outputs)
        at_once = min(config.batch_size, weighing(data))
        engine = build(replace(config, batch_size=at_once), architecture, data.loss)
        report = check_gradients(engine, data, config)
    if not report.passed:
        print(report)
        found = "are wrong" if report.verdict == "wrong" else "could not be judged"
        print(f"mlp train: the gradients {found} (table above); nothing was trained", file=sys.stderr)
        return 1
    with held():
        path = make_folder(config.runs_dir, config.name, f"{data.dataset.name}-{config.engine}")
        if data.columns:
            show(data)
        if why:
            print(f"engine: {config.engine}, {why}")
        artifact = describe(config, data, architecture)
        folder = Run(path, asdict(config), artifact, engine.parameters())
        training = Training(config, data, engine, folder)
        try:
            with threads(architecture.sizes, at_once, config.engine in ON_CPU):
                if around is contextlib.nullcontext:  # in a sweep it would cost more than many a trial
                    training.folder.show("gradient_check", picture(engine, data, config))
                with around(training):
                    training.train()
                    summarize(training, report)
        except WrongGradientError as error:
            print(error)
            kept = f"{weights_of(training.kept)} are kept in {path}"
            print(f"mlp train: a gradient is wrong (above); training stopped, {kept}", file=sys.stderr)
            return 1
        finally:
            training.folder.close()
    return 130 if training.interrupted else 0


def show(data: Data) -> None:
    """What was understood of a table, before anything is trained on it."""
    parts = f"{len(data.train):,} to train, {len(data.validation):,} to validate, {len(data.test):,} to test"
    console = Terminal()
    console.print(summary(data.columns))
    console.print(f"{parts}; {counted(data.inputs, 'inputs')}\n", highlight=False, soft_wrap=True)


def describe(config: Train, data: Data, architecture: Architecture) -> Artifact:
    """What stands beside the weights, so that they can be used again."""
    return Artifact(
        architecture.sizes, architecture.options(), config.dtype, data.loss, data.preprocessing, data.target,
        plain(asdict(config)), data.fingerprint,
    )  # fmt: skip


def resolve(config: Train, data: Data) -> tuple[Train, str]:
    """The configuration with every default that depends on the data or the machine filled in.

    And why it is this engine, where `auto` was to choose.
    """
    engine, why = config.engine, ""
    device = "cpu" if engine in ON_CPU else resolve_device(config.device, config.dtype)
    if engine == "auto":
        at_most = replace(config, batch_size=min(config.batch_size, weighing(data)))
        engine, why = choose_engine(at_most, config.architecture(data.inputs, data.outputs), device)
    epochs = config.epochs or data.dataset.epochs
    keep = config.keep or ("best" if data.held_out else "last")
    return replace(config, loss=data.loss, epochs=epochs, device=device, engine=engine, keep=keep), why


def weighing(data: Data) -> int:
    """The training samples that weigh something."""
    weights = data.train.weights
    return len(data.train) if weights is None else int(np.count_nonzero(weights))


def check_batches(config: Train, n: int) -> None:
    """Raise UserError if batch_norm would meet a batch of one sample among n."""
    if config.normalization != "batch_norm" or not config.hidden:
        return

    def last(size: int) -> int:
        return n % size or min(size, n)

    if last(config.batch_size) == 1:
        better = next(
            size for size in range(config.batch_size + 1, n + config.batch_size + 2) if last(size) > 1
        )
        raise UserError(
            f"--batch-size {config.batch_size}: of {n} training samples the last batch has 1, and "
            f"batch_norm needs at least 2; use --batch-size {better} or --normalization layer_norm"
        )


def first_batch(data: Data, config: Train) -> dict[str, Any]:
    """The first batch that will be trained on, in float64, and what it is judged by."""
    train = data.train
    x, y, weights = first_of(train.x, train.y, config.seed, config.batch_size, train.weights)
    y = y if np.issubdtype(y.dtype, np.integer) else y.astype(np.float64)
    weights = None if weights is None else weights.astype(np.float64)
    given = {"x": x.astype(np.float64), "y": y, "weights": weights, "recipe": config.recipe()}
    return given | {"loss": data.loss, "engine": ENGINES[config.engine].step}


def check_gradients(engine: AnyEngine, data: Data, config: Train) -> ComparisonReport:
    """The instrument's report on the first batch, judged in float64 on a copy with the same weights.

    What is held against autograd is the hand-written step that will train; for autograd itself, and for
    both in lock-step, the plain formulas.
    """
    return compare(in_float64(engine), **first_batch(data, config))


def picture(engine: AnyEngine, data: Data, config: Train) -> Figure:
    """Both gradients of that batch, and their errors under the bound."""
    from mlp_torch.verify.plot import draw

    return draw(in_float64(engine), **first_batch(data, config))


def in_float64(engine: AnyEngine) -> MLP:
    """A copy of the engine's network on the cpu whose float64 weights are the very same numbers."""
    if isinstance(engine.model, manual.MLP):
        return to_torch(engine.model).double()
    module: MLP = copy.deepcopy(engine.model).cpu().double()
    return module


class Training:
    """One training run: its epochs, what each leaves, and which weights are kept in the end."""

    def __init__(self, config: Train, data: Data, engine: AnyEngine, folder: Run) -> None:
        self.config, self.data, self.engine, self.folder = config, data, engine, folder
        self.kept = self.last = self.best = Kept(0, float("inf"), engine.parameters())
        self.interrupted, self.largest_gap = False, 0.0
        self.after_epoch: Callable[[Kept, float | None], None] | None = None
        every = config.verify_every
        self.monitor = Monitor(data.loss, every, config.recipe()) if every else None
        self.started = time.perf_counter()

    def train(self) -> None:
        """Run the epochs and leave the engine and the folder with the weights to keep, however it ends.

        They are those of the best or of the last good epoch, as `--keep` says. Raises UserError
        when a loss or a weight is not finite.
        """
        config, train = self.config, self.data.train
        assert config.epochs is not None
        self.started = time.perf_counter()
        epochs = fit(
            self.engine if self.monitor is None else Watched(self.engine, self.monitor),
            train.x,
            train.y,
            epochs=config.epochs,
            batch_size=config.batch_size,
            lr=config.lr,
            schedule=config.schedule,
            warmup_steps=config.warmup * batch_counts(train.x, config.batch_size, train.weights),
            seed=config.seed,
            weights=train.weights,
        )
        try:
            with Display(config.epochs) as display:
                for epoch in released_each(epochs):
                    validation, accuracy = self.end_epoch(epoch)
                    display.show(epoch.epoch, epoch.loss, validation, accuracy)
                    if self.after_epoch is not None:
                        self.after_epoch(self.last, accuracy)
                    if config.early_stopping and epoch.epoch - self.best.epoch >= config.early_stopping:
                        break
        except NotFiniteError as error:
            raise UserError(
                f"{error}; try a smaller --lr (now {config.lr:g}), a --warmup, --clip-norm 1 or another "
                f"--initialization; {weights_of(self.kept)} are kept in {self.folder.path}"
            ) from None
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            self.engine.load(self.kept.parameters)

    def end_epoch(self, epoch: Epoch) -> tuple[float, float | None]:
        """Evaluate, set the weights aside, write them and the metrics; validation loss and accuracy."""
        data, parameters = self.data, self.engine.parameters()
        for name, value in parameters.items():
            bad = value[~np.isfinite(value)]
            if bad.size:
                raise NotFiniteError(epoch.steps, epoch.epoch, float(bad[0]), f"an entry of {name}")
        loss, accuracy = data.evaluate(self.engine.predict, data.validation)
        if not np.isfinite(loss):
            raise NotFiniteError(epoch.steps, epoch.epoch, loss, "the validation loss")
        self.last = Kept(epoch.epoch, loss, parameters, accuracy)
        if self.last.better(self.best):
            self.best = self.last
        if self.config.keep != "best" or self.best is self.last:
            self.kept = self.last
            self.folder.save(parameters, epoch.epoch)
        curves = {
            "loss/train": epoch.loss,
            "loss/validation": loss,
            "accuracy/train": data.evaluate(self.engine.predict, data.train)[1],
            "accuracy/validation": accuracy,
            "learning_rate": epoch.learning_rate,
        }
        seconds = round(time.perf_counter() - self.started, 3)
        metrics: dict[str, Any] = {"epoch": epoch.epoch, "step": epoch.steps, **curves, "seconds": seconds}
        norms = {f"gradient_norm/{n}": float(np.linalg.norm(g)) for n, g in self.engine.gradients.items()}
        gaps: dict[str, float] = {}
        if isinstance(self.engine, BothEngine):
            gaps |= {f"parameter_gap/{n}": gap for n, gap in self.engine.parameter_gaps.items()}
            gaps |= {f"gradient_gap/{n}": gap for n, gap in self.engine.gradient_gaps.items()}
            metrics["parameter_gap"] = max(self.engine.parameter_gaps.values())
            metrics["gradient_gap"] = max(self.engine.gradient_gaps.values())
            self.largest_gap = max(self.largest_gap, metrics["parameter_gap"])
            self.engine.reset_gaps()
        if self.monitor is not None:
            gaps |= {f"error_over_bound/{n}": ratio for n, ratio in self.monitor.ratios.items()}
            metrics["error_over_bound"] = max(self.monitor.ratios.values(), default=None)
            self.monitor.reset()
        self.folder.log(metrics, curves | norms | gaps)
        return loss, accuracy
