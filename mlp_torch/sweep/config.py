"""The flags of `mlp sweep`: those of `mlp train`, which stay fixed, and what is searched how."""

import math
from dataclasses import dataclass, fields
from typing import Annotated

import tyro

from mlp_torch.config import LEVELS, Train
from mlp_torch.data.sets import DATASETS
from mlp_torch.errors import UserError
from mlp_torch.flags import one_of, require, require_choice, require_folder_name
from mlp_torch.sweep.space import Dimension, check_values, read

SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("median", "hyperband", "none")
METRICS = ("loss", "accuracy")
TRIALS = 20


@dataclass(frozen=True, kw_only=True)
class Sweep(Train):
    """Search the flags of `mlp train`: every trial is a run, its values in TensorBoard's HParams tab."""

    log: Annotated[str, one_of(LEVELS)] = "minimal"
    """What TensorBoard is shown of each trial, as in `mlp train`; curves alone cost many trials no time."""
    sweep: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FLAG=VALUES ...")] = ()
    """What is searched: lr=1e-4:1e-1:log batch_size=16:64:int hidden=64,128x64 activation=relu,tanh."""
    trials: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Trials in the whole study; if not given, 20, or all of the grid."""
    timeout: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None
    """Begin no trial after so many seconds."""
    sampler: Annotated[str, one_of(SAMPLERS)] = "tpe"
    """Who proposes values; grid takes every combination of lists."""
    pruner: Annotated[str, one_of(PRUNERS)] = "median"
    """When a trial is given up early, judged after each epoch."""
    metric: Annotated[str, one_of(METRICS)] = "loss"
    """What is best: the lowest validation loss, or the highest validation accuracy, of the kept weights."""
    study: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """The study's name and its folder among the runs; given again, the study goes on."""
    storage: Annotated[str | None, tyro.conf.arg(metavar="URL|FILE")] = None
    """sqlite:///FILE or a journal file, for several processes; if not given, a journal in the folder."""

    def check(self) -> None:
        """Raise UserError, one line that names the flag, for a value that cannot be."""
        dimensions = self.dimensions()
        swept = {d.flag for d in dimensions}
        if self.name is not None:
            raise UserError("--name: the trials' folders are named by number; --study names the study")
        check_values(self.train(), dimensions)
        require_choice("--sampler", "sampler", self.sampler, SAMPLERS)
        require_choice("--pruner", "pruner", self.pruner, PRUNERS)
        require_choice("--metric", "metric", self.metric, METRICS)
        if self.trials is not None:
            require(self.trials >= 1, "--trials", self.trials, "must be at least 1")
        if self.timeout is not None:
            good = math.isfinite(self.timeout) and self.timeout > 0
            require(good, "--timeout", self.timeout, "is a number of seconds above 0")
        ranges = [d.flag for d in dimensions if not d.choices]
        if self.sampler == "grid" and ranges:
            raise UserError(f"--sampler grid: {ranges[0]} is a range; list its values, or take random or tpe")
        if self.metric == "loss" and "loss" in swept:
            raise UserError("--metric loss: different losses do not compare; use --metric accuracy")
        if self.metric == "accuracy" and self.data in DATASETS and not DATASETS[self.data].classes:
            raise UserError(f"--metric accuracy: --data {self.data} has no classes; use --metric loss")
        if self.study is not None:
            require_folder_name("--study", self.study)

    def dimensions(self) -> tuple[Dimension, ...]:
        """What is searched. Raises UserError."""
        return read(self.sweep)

    def train(self) -> Train:
        """The flags of `mlp train` among these; --timeout is the study's."""
        return Train(**{f.name: getattr(self, f.name) for f in fields(Train) if f.name != "timeout"})
