"""`mlp train`: read the data, check the gradients, train, keep the run, say how it went.

The loop is `manual.training.fit`; this room stands around it: what is checked before, what is kept
after each epoch, when to stop, and what the run ends with, however it ends.
"""

import contextlib
import copy
import shlex
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import manual
from manual.architecture import Architecture
from manual.numbers import Array
from manual.training import Epoch, NotFiniteError, fit
from manual.training import first_batch as first_of
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
from mlp_torch.progress import Display
from mlp_torch.runs import Run, check_name, make_folder, plain
from mlp_torch.tables.summary import summary
from mlp_torch.terminal import Terminal
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
        data = load(config, config.loss, seed=config.seed, dtype=np.dtype(config.dtype))
        config, why = resolve(config, data)
        check_batches(config, len(data.train))
        architecture = config.architecture(data.inputs, data.outputs)
        at_once = min(config.batch_size, len(data.train))
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
            kept = f"{weights_of(training.last)} are kept in {path}"
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
    console.print(f"{parts}; {data.inputs} inputs\n", highlight=False, soft_wrap=True)


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
        at_most = replace(config, batch_size=min(config.batch_size, len(data.train)))
        engine, why = choose_engine(at_most, config.architecture(data.inputs, data.outputs), device)
    epochs = config.epochs or data.dataset.epochs
    return replace(config, loss=data.loss, epochs=epochs, device=device, engine=engine), why


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


def first_batch(data: Data, config: Train) -> tuple[Array, Array]:
    """The first batch that will be trained on, in float64."""
    x, y = first_of(data.train.x, data.train.y, config.seed, config.batch_size)
    x = x.astype(np.float64)
    return x, y if np.issubdtype(y.dtype, np.integer) else y.astype(np.float64)


def check_gradients(engine: AnyEngine, data: Data, config: Train) -> ComparisonReport:
    """The instrument's report on the first batch, judged in float64 on a copy with the same weights.

    What is held against autograd is the hand-written step that will train; for autograd itself, and for
    both in lock-step, the plain formulas.
    """
    x, y = first_batch(data, config)
    return compare(in_float64(engine), x, y, loss=data.loss, engine=ENGINES[config.engine].step)


def picture(engine: AnyEngine, data: Data, config: Train) -> Figure:
    """Both gradients of that batch, and their errors under the bound."""
    from mlp_torch.verify.plot import draw

    x, y = first_batch(data, config)
    return draw(in_float64(engine), x, y, data.loss, engine=ENGINES[config.engine].step)


def in_float64(engine: AnyEngine) -> MLP:
    """A copy of the engine's network on the cpu whose float64 weights are the very same numbers."""
    if isinstance(engine.model, manual.MLP):
        return to_torch(engine.model).double()
    module: MLP = copy.deepcopy(engine.model).cpu().double()
    return module


@dataclass
class Kept:
    """Weights that were set aside at the end of an epoch, with their validation loss."""

    epoch: int
    loss: float
    parameters: dict[str, Array]


class Training:
    """One training run: its epochs, what each leaves, and which weights are kept in the end."""

    def __init__(self, config: Train, data: Data, engine: AnyEngine, folder: Run) -> None:
        self.config, self.data, self.engine, self.folder = config, data, engine, folder
        self.kept = self.last = self.best = Kept(0, float("inf"), engine.parameters())
        self.interrupted, self.largest_gap = False, 0.0
        self.after_epoch: Callable[[Kept, float | None], None] | None = None
        self.monitor = Monitor(data.loss, config.verify_every) if config.verify_every else None
        self.started = time.perf_counter()

    def train(self) -> None:
        """Run the epochs and leave the engine and the folder with the weights to keep.

        They are the last epoch's; the best (by validation loss) after early stopping or Ctrl-C. Raises
        UserError when a loss or a weight is not finite, with the last good epoch's weights kept.
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
            warmup_steps=config.warmup * -(-len(train) // config.batch_size),
            seed=config.seed,
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
            self.engine.load(self.last.parameters)
            raise UserError(
                f"{error}; try a smaller --lr (now {config.lr:g}), a --warmup or another --initialization; "
                f"{weights_of(self.last)} are kept in {self.folder.path}"
            ) from None
        except WrongGradientError:
            self.engine.load(self.last.parameters)
            raise
        except KeyboardInterrupt:
            self.interrupted = True
        best = self.interrupted or config.early_stopping is not None
        self.kept = self.best if best else self.last
        self.engine.load(self.kept.parameters)
        self.folder.save(self.kept.parameters, self.kept.epoch)

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
        self.last = Kept(epoch.epoch, loss, parameters)
        if loss < self.best.loss:
            self.best = self.last
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


def weights_of(kept: Kept) -> str:
    """Which weights these are, in words."""
    return f"the weights of epoch {kept.epoch}" if kept.epoch else "the initial weights"


def summarize(training: Training, report: ComparisonReport) -> None:
    """Test the weights that were kept, write the result, and tell a newcomer what there is."""
    config, data, kept = training.config, training.data, training.kept
    loss, accuracy = data.evaluate(training.engine.predict, data.test)
    result = {"epoch": kept.epoch, "test_loss": loss, "test_accuracy": accuracy}
    training.folder.finish(result | {"interrupted": training.interrupted})
    if training.interrupted:
        kept_in = f"{weights_of(kept)}, the best so far, are kept in {training.folder.path}"
        print(f"mlp train: interrupted; {kept_in}", file=sys.stderr)
        return
    samples = f"{len(data.test)} {data.dataset.sample}"
    held_out = f"{samples} it never saw" if data.held_out else f"the {samples} it was trained on"
    seconds = time.perf_counter() - training.started
    print(f"\ngradient check passed: by hand and by autograd agree within rounding ({report.summary()})")
    if accuracy is not None:
        print(f"test accuracy {accuracy:.3f} on {held_out} (loss {loss:.4g})")
    else:
        print(f"test loss {loss:.4g} ({data.loss}) on {held_out}")
    which = "the last" if config.early_stopping is None else "the best by validation loss"
    print(f"{weights_of(kept)} are kept, {which} of {training.last.epoch} in {seconds:.1f} s")
    if config.engine == "both":
        gap = training.largest_gap
        print(f"largest gap between the engines: {gap:.1e} of a parameter's norm")
    print(f"run: {training.folder.path}")
    print(f"curves: tensorboard --logdir {shlex.quote(str(config.runs_dir))}")
