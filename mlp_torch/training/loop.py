"""One training run: the loop is `manual.training.fit`; what is kept after each epoch, and when to stop."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np

from manual.training.batches import batch_counts
from manual.training.engine import State
from manual.training.fit import Epoch, NotFiniteError, Position, fit
from mlp_torch.autograd import BothEngine
from mlp_torch.board.board import Board
from mlp_torch.board.moment import Moment
from mlp_torch.board.scalars import margins
from mlp_torch.config import Train
from mlp_torch.data.splits import Data
from mlp_torch.distributed.group import LostError
from mlp_torch.engines import AnyEngine
from mlp_torch.errors import UserError
from mlp_torch.interrupts import number_of, released_each
from mlp_torch.runs import Run
from mlp_torch.training.checkpoint import Checkpoint, Writer
from mlp_torch.training.outcome import Kept, weights_of
from mlp_torch.training.progress import Display
from mlp_torch.training.resume import steps_depend_on
from mlp_torch.verify.monitor import Monitor, Watched

Item = TypeVar("Item")


def timed(items: Iterable[Item]) -> Iterator[tuple[Item, float]]:
    """Each item, and the seconds that it took to come."""
    started = time.perf_counter()
    for item in items:
        yield item, time.perf_counter() - started
        started = time.perf_counter()


class Training:
    """One training run: its epochs, what each leaves, and which weights are kept in the end."""

    def __init__(
        self,
        config: Train,
        data: Data,
        engine: AnyEngine,
        folder: Run,
        start: Checkpoint | None = None,
        *,
        keeps_checkpoints: bool = True,
    ) -> None:
        self.config, self.data, self.folder = config, data, folder
        self.board = Board(folder, config, data.train.labels is not None)
        self.architecture = config.architecture(data.inputs, data.outputs)
        self.batches = batch_counts(data.train.x, config.batch_size, data.train.weights)
        self.kept = self.last = self.best = Kept(0, float("inf"), engine.parameters())
        self.interrupted, self.largest_gap = 0, 0.0
        self.after_epoch: Callable[[Kept, float | None], None] | None = None
        every = config.verify_every
        self.monitor = Monitor(data.loss, every, config.recipe()) if every else None
        self.engine = engine
        self.stepping = engine if self.monitor is None else Watched(engine, self.monitor)
        self.writer = Writer(folder.path) if keeps_checkpoints else None
        self.position, self.before = Position(), 0.0
        if start is not None:
            self.take_up(start)
        folder.save(self.kept.parameters, self.kept.epoch)
        self.started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Of training so far, before the run was cut too."""
        return self.before + time.perf_counter() - self.started

    def take_up(self, start: Checkpoint) -> None:
        """Be where a checkpoint was written."""
        numbers = start.numbers
        self.stepping.resume(State(start.of("engine"), numbers["engine"]))
        now = self.engine.parameters()
        at = numbers["last"]
        self.last = Kept(at["epoch"], at["loss"], start.of("last") or now, at["accuracy"])
        at = numbers["best"]
        self.best = Kept(at["epoch"], at["loss"], start.of("best") or self.last.parameters, at["accuracy"])
        self.kept = self.best if self.config.keep == "best" else self.last
        self.position, self.largest_gap = Position(**numbers["position"]), numbers["largest_gap"]
        self.before = numbers["seconds"]

    def checkpoint(self, position: Position, *, due: bool = False) -> None:
        """Set aside all that the rest of the run depends on, between two updates."""
        self.position = position
        if self.writer is None:
            return
        state = self.stepping.state()
        arrays = {f"engine/{n}": a for n, a in state.arrays.items()}
        if position.batches:
            arrays |= {f"last/{n}": a for n, a in self.last.parameters.items()}
        if self.best is not self.last:
            arrays |= {f"best/{n}": a for n, a in self.best.parameters.items()}
        numbers = {
            "position": asdict(position), "engine": state.numbers, "last": self.last.numbers(),
            "best": self.best.numbers(), "largest_gap": self.largest_gap, "seconds": round(self.seconds, 3),
            "files": self.folder.sizes(), "flags": steps_depend_on(self.config),
            "fingerprint": self.data.fingerprint,
        }  # fmt: skip
        self.writer.take(Checkpoint(arrays, numbers), due=due)

    @property
    def over(self) -> bool:
        """Whether it is stopped early."""
        patience = self.config.early_stopping
        return bool(patience and self.last.epoch - self.best.epoch >= patience)

    def train(self) -> None:
        """Run the epochs and leave the engine and the folder with the weights to keep, however it ends.

        They are those of the best or of the last good epoch, as `--keep` says. Raises UserError
        when a loss or a weight is not finite.
        """
        config, train = self.config, self.data.train
        assert config.epochs is not None
        self.started, every = time.perf_counter(), config.checkpoint_every
        epochs = fit(
            self.stepping,
            train.x,
            train.y,
            epochs=0 if self.over else config.epochs,
            batch_size=config.batch_size,
            lr=config.lr,
            schedule=config.schedule,
            warmup_steps=config.warmup * self.batches,
            seed=config.seed,
            start=self.position,
            every=-(-every // config.accumulate) * config.accumulate if every else None,
            weights=train.weights,
        )
        try:
            with Display(config.epochs) as display:
                spent, known = 0.0, self.position.batches == 0
                for epoch, seconds in timed(released_each(epochs)):
                    spent += seconds
                    if not epoch.whole:
                        self.checkpoint(epoch.position, due=True)
                        continue
                    validation, accuracy = self.end_epoch(epoch, spent if known else None)
                    spent, known = 0.0, True
                    self.checkpoint(epoch.position)
                    display.show(epoch.epoch, epoch.loss, validation, accuracy)
                    if self.after_epoch is not None:
                        self.after_epoch(self.last, accuracy)
                    if self.over:
                        break
        except NotFiniteError as error:
            raise UserError(
                f"{error}; try a smaller --lr (now {config.lr:g}), a --warmup, --clip-norm 1 or another "
                f"--initialization; {weights_of(self.kept)} are kept in {self.folder.path}"
            ) from None
        except LostError:
            if self.writer is not None:  # what was set aside before is good
                self.writer.flush()
            raise
        except KeyboardInterrupt as end:
            self.interrupted = number_of(end)
        finally:
            self.engine.load(self.kept.parameters)
        if self.writer is not None:
            self.writer.flush()

    def rescue(self) -> str:
        """Where the weights to keep are, in words, though something could not be written."""
        file = self.folder.rescue(self.kept.parameters, self.kept.epoch)
        return f"{weights_of(self.kept)} are kept in {file}" if file else "no weights could be kept anywhere"

    def moment(self, kept: Kept, **more: Any) -> Moment:
        """What the board is shown of these weights, which are the engine's own now."""
        shown = (self.config, self.data, self.architecture, self.data.loss, kept.epoch)
        return Moment(*shown, kept.epoch * self.batches, self.engine.predict, kept.parameters, **more)

    def end_epoch(self, epoch: Epoch, spent: float | None) -> tuple[float, float | None]:
        """Evaluate, set the weights aside, write them and the metrics; validation loss and accuracy.

        `spent` are the seconds of the whole pass, where they are known.
        """
        data, parameters = self.data, self.engine.parameters()
        for name, value in parameters.items():
            bad = value[~np.isfinite(value)]
            if bad.size:
                raise NotFiniteError(epoch.steps, epoch.epoch, float(bad[0]), f"an entry of {name}")
        loss, accuracy = data.evaluate(self.engine.predict, data.validation)
        if not np.isfinite(loss):
            raise NotFiniteError(epoch.steps, epoch.epoch, loss, "the validation loss")
        before, self.last = self.last, Kept(epoch.epoch, loss, parameters, accuracy)
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
        seconds = round(self.seconds, 3)
        metrics: dict[str, Any] = {"epoch": epoch.epoch, "step": epoch.steps, **curves, "seconds": seconds}
        gradients = dict(self.engine.gradients)
        norms = {f"gradient_norm/{n}": float(np.linalg.norm(g)) for n, g in gradients.items()}
        gaps: dict[str, float | None] = {}
        if spent:
            gaps["throughput/samples_per_second"] = len(data.train) / spent
        if isinstance(self.engine, BothEngine):
            gaps |= {f"parameter_gap/{n}": gap for n, gap in self.engine.parameter_gaps.items()}
            gaps |= {f"gradient_gap/{n}": gap for n, gap in self.engine.gradient_gaps.items()}
            metrics["parameter_gap"] = max(self.engine.parameter_gaps.values())
            metrics["gradient_gap"] = max(self.engine.gradient_gaps.values())
            self.largest_gap = max(self.largest_gap, metrics["parameter_gap"])
            self.engine.reset_gaps()
        if self.monitor is not None:
            gaps |= margins(self.monitor.ratios)
            metrics["error_over_bound"] = max(self.monitor.ratios.values(), default=None)
            self.monitor.reset()
        self.folder.log(metrics)
        shown = curves | norms | gaps
        moment = self.moment(self.last, gradients=gradients, before=before.parameters, scalars=shown)
        self.board.epoch(moment)
        return loss, accuracy
