"""How a run went: the test's scores, whether anything was learnt, and which weights are kept, in words.

A run that did not learn is not praised: at chance, or long past its best epoch, a line says so and names
the flags to try.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from manual.numbers import Array
from manual.structure.fingerprint import fingerprint
from manual.training.batches import Pieces
from mlp_torch.data.splits import Data, Split
from mlp_torch.terminal import counted

if TYPE_CHECKING:  # it is the other way round that training imports this
    from mlp_torch.training.loop import Training
    from mlp_torch.verify.report import ComparisonReport

LONG_PAST = 2  # the best epoch lies in the first half,
RISEN = 1.5  # and the validation loss has risen by half since


@dataclass
class Kept:
    """Weights that were set aside at the end of an epoch, with their validation loss and accuracy."""

    epoch: int
    loss: float
    parameters: dict[str, Array]
    accuracy: float | None = None

    def numbers(self) -> dict[str, float | None]:
        """All but the weights."""
        return {"epoch": self.epoch, "loss": self.loss, "accuracy": self.accuracy}

    def better(self, other: "Kept") -> bool:
        """More accurate in validation, or as accurate at a lower loss; real targets have the loss alone."""
        if self.accuracy is None or other.accuracy is None or self.accuracy == other.accuracy:
            return self.loss < other.loss
        return self.accuracy > other.accuracy


def weights_of(kept: Kept) -> str:
    """Which weights these are, in words."""
    return f"the weights of epoch {kept.epoch}" if kept.epoch else "the initial weights"


@dataclass(frozen=True)
class Scores:
    """The kept weights on one split: loss, accuracy of classes; R² and MAE of numbers, in the target's units.

    `chance` is what a constant answer scores: the share of the largest class, or R² = 0. What cannot be
    told is None.
    """

    loss: float
    accuracy: float | None = None
    r2: float | None = None
    mae: float | None = None
    chance: float | None = None

    @property
    def learnt(self) -> bool:
        """Whether it is better than a constant answer, as far as can be told."""
        found = self.r2 if self.accuracy is None else self.accuracy
        return found is None or self.chance is None or found > self.chance

    def result(self) -> dict[str, float]:
        """What is written into the run, as the test's."""
        named = {"loss": self.loss, "accuracy": self.accuracy, "r2": self.r2, "mae": self.mae}
        return {f"test_{name}": value for name, value in named.items() if value is not None}


def scores(training: "Training", split: Split) -> Scores:
    """The engine's present weights on a split."""
    data, predict = training.data, training.engine.predict
    loss, accuracy = data.evaluate(predict, split)
    if split.labels is not None:
        shares = np.bincount(split.labels, split.weights)
        largest = float(shares.max() / shares.sum())
        return Scores(loss, accuracy, chance=largest)
    parts = (
        (split.x.rows(p.start, p.stop) for p in split.x.slices())
        if isinstance(split.x, Pieces)
        else [split.x]
    )
    output = np.concatenate([predict(part) for part in parts])
    return Scores(loss, None, *regression(output, split, data.target.scale), 0.0)


# R² = 1 − Σ w (y − ŷ)² / Σ w (y − ȳ)²
def regression(output: Array, split: Split, scale: float) -> tuple[float | None, float]:
    """R², where the targets differ, and the mean absolute error in the target's own units."""
    y, output = split.y.astype(np.float64), output.astype(np.float64)
    w = np.ones(len(y)) if split.weights is None else split.weights.astype(np.float64)
    mean = np.average(y, axis=0, weights=w)
    spread = (w[:, None] * (y - mean) ** 2).sum()
    r2 = float(1 - (w[:, None] * (y - output) ** 2).sum() / spread) if spread > 0 else None
    return r2, float(np.average(np.abs(y - output).mean(axis=1), weights=w) * scale)


def doubts(training: "Training", test: Scores) -> list[str]:
    """Why the run is nothing to be content with, a line each, with the flags to try."""
    config, last, best = training.config, training.last, training.best
    found = []
    if not test.learnt:
        what, flags = "always the mean does: R² 0", "other --hidden"
        if test.accuracy is not None:
            what = f"always the largest class does: {test.chance:.3f}"
            flags = "--class-weight balanced, other --hidden"
        found.append(
            f"nothing was learnt: {what}; try another --lr (now {config.lr:g}), {flags} or more --epochs"
        )
    past = last.epoch >= LONG_PAST * best.epoch > 0 and last.loss > RISEN * best.loss
    if training.data.held_out and past:
        found.append(
            f"overfitted: the best epoch was {best.epoch} of {last.epoch}, and the validation loss rose "
            f"since, from {best.loss:.3g} to {last.loss:.3g}; "
            "try --early-stopping 10, --dropout 0.2, --l2 0.001 or smaller --hidden"
        )
    return found


@dataclass(frozen=True)
class Outcome:
    """What a run has come to, in lines, for the command and for Python; its numbers lie in its folder.

    `report` is the gradient check's, None where the run had finished before; `interrupted` the signal that
    ended it, or 0.
    """

    folder: Path
    lines: tuple[str, ...]
    report: "ComparisonReport | None" = None
    interrupted: int = 0


def summarize(training: "Training", report: "ComparisonReport") -> Outcome:
    """Test the weights that were kept, write the result, and tell a newcomer what there is."""
    config, data, kept, folder = training.config, training.data, training.kept, training.folder
    test = scores(training, data.test)
    mark = fingerprint(kept.parameters)
    interrupted, seconds = bool(training.interrupted), training.seconds
    if not interrupted:
        tested = {f"test/{name.removeprefix('test_')}": value for name, value in test.result().items()}
        training.board.end(training.moment(kept, scalars=tested), seconds)
    # last: a run that is cut before it goes on
    folder.finish({"epoch": kept.epoch, **test.result(), "fingerprint": mark, "interrupted": interrupted})
    which = "the best in validation" if config.keep == "best" else "the last"
    if interrupted:
        kept_in = f"interrupted; {weights_of(kept)}, {which} so far, are kept in {folder.path}"
        return Outcome(folder.path, (kept_in,), report, training.interrupted)
    lines = [
        f"gradient check passed: {report.agreement} ({report.summary()})",
        f"  {why_float64(config.dtype)}what these words mean: mlp explain certified",
        _test(test, data),
        *doubts(training, test),
        f"{weights_of(kept)} are kept, {which} of {training.last.epoch} in {seconds:.1f} s "
        f"(--keep {config.keep})",
        f"fingerprint of these weights: {mark}{same_bits(config.engine)}",
    ]
    if config.engine == "both":
        lines.append(f"largest gap between the engines: {training.largest_gap:.1e} of a parameter's norm")
    lines.append(f"run: {folder.path}")
    if not test.learnt:
        path = shlex.quote(str(folder.path))
        lines.append(f"what becomes of its gradient, factor by factor: mlp explain --run {path}")
    more = " (pictures, such as of the worst predictions, come with --log full)"
    shown = f"curves: mlp board {shlex.quote(str(config.runs_dir))}"
    lines.append(f"{shown}{more if training.board.left_out else ''}")
    return Outcome(folder.path, tuple(lines), report)


def why_float64(dtype: str) -> str:
    """Why the check computes in another arithmetic than the training, where it does."""
    if dtype == "float64":
        return ""
    return f"checked in float64, where rounding is too small to hide a slip, before training in {dtype}; "


def same_bits(engine: str) -> str:
    """Where a run of the same flags has the same fingerprint."""
    if engine == "compiled":
        return ", the same on any x86-64 processor with AVX2"
    return ", the same on this machine"


def _test(test: Scores, data: Data) -> str:
    samples = counted(len(data.test), data.dataset.sample)
    held_out = f"{samples} it never saw" if data.held_out else f"the {samples} it was trained on"
    if test.accuracy is not None:
        return f"test accuracy {test.accuracy:.3f} on {held_out} (loss {test.loss:.4g})"
    known = "" if test.r2 is None else f"R² {test.r2:.3f}, "
    errors = f"{known}mean absolute error {test.mae:.4g} in the target's units"
    return f"test loss {test.loss:.4g} ({data.loss}), {errors}, on {held_out}"
