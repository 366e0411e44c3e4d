"""The flags of `mlp train` and `mlp compare`: their types, defaults, help, and what they must satisfy.

A field is a flag, the line under it its help. `check` says in one line what is wrong with a value, and
needs neither torch nor scikit-learn, so a mistyped flag is answered at once.
"""

import importlib.util
import inspect
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from manual.catalogue import OPTIMIZERS, SCHEDULES
from manual.training.recipe import Recipe
from mlp_torch.data.sets import DATASETS
from mlp_torch.errors import UserError
from mlp_torch.flags import flag_name, one_of, require, require_choice, require_folder_name
from mlp_torch.network import DTYPES, Network
from mlp_torch.objective import ObjectiveFlags
from mlp_torch.pager import PagerFlag

ENGINES = ("auto", "compiled", "torch", "manual", "autograd", "both", "ddp")
ON_CPU = ("compiled", "manual")
HAND_WRITTEN = ("manual", "buffered", "compiled", "torch")
PRECISIONS = ("ieee", "tf32", "bf16")
KEEP = ("best", "last")
TIERS = ("all", "exact", "certified")
LEVELS = ("minimal", "standard", "full")


@dataclass(frozen=True, kw_only=True)
class Train(ObjectiveFlags, Network):
    """Train a network, after checking its gradients, and keep the run in a folder.

    The losses are torch's: cross_entropy and bce_with_logits take logits, where `mlp check` takes
    `cross_entropy` over the probabilities that an author's last layer gives.
    """

    engine: Annotated[str, one_of(ENGINES)] = "auto"
    """By hand: compiled (numba), torch, manual; or autograd; both in lock-step; ddp: N processes; auto."""
    epochs: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Passes over the training data; if not given, as many as the data set needs (digits: 30)."""
    lr: float = 3e-3
    """Learning rate, the highest that the schedule reaches."""
    optimizer: Annotated[str, one_of(OPTIMIZERS)] = "adam"
    """The update rule, with torch's defaults."""
    momentum: float = 0.0
    """Momentum of sgd and rmsprop."""
    nesterov: bool = False
    """Nesterov's momentum, for sgd."""
    weight_decay: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """λ of torch's ½λΣθ², biases too; if not given, the optimizer's own (adamw: 0.01, the others: 0)."""
    clip_norm: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """The most that the gradient's norm may be, over all parameters; a longer one is shortened to it."""
    clip_value: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """The most that an entry of the gradient may be, up or down."""
    accumulate: Annotated[int, tyro.conf.arg(metavar="STEPS")] = 1
    """So many batches make one update, by the mean of their gradients."""
    schedule: Annotated[str, one_of(SCHEDULES)] = "cosine"
    """How the learning rate moves over the run."""
    warmup: int = 0
    """Epochs over which the learning rate rises linearly before the schedule begins."""
    early_stopping: Annotated[int | None, tyro.conf.arg(metavar="PATIENCE")] = None
    """Stop after so many epochs that were not the best so far, as --keep best means it."""
    keep: Annotated[str | None, one_of(KEEP)] = None
    """The weights to keep: last, or best in validation (accuracy, then loss) if samples are held back."""
    fp32_precision: Annotated[str, one_of(PRECISIONS)] = "ieee"
    """How the torch engine may round float32 products, in torch's words; bf16 is autocast's. For GPUs."""
    warm: bool = False
    """After the run, compile the compiled step in the background, so that it is at hand next time."""
    compile: bool = False
    """Run autograd's passes through torch.compile: minutes before the first step, and a C++ compiler."""
    verify_every: Annotated[int | None, tyro.conf.arg(metavar="STEPS")] = None
    """Judge the gradients while training, every so many steps; TensorBoard shows error over bound."""
    log: Annotated[str, one_of(LEVELS)] = "standard"
    """What TensorBoard is shown: minimal, curves alone; standard, what costs little; full, everything."""
    name: Annotated[str | None, tyro.conf.arg(metavar="STR")] = None
    """Name of the run's folder; if not given, made of data, engine and time."""
    runs_dir: Path = Path("runs")
    """Where the runs lie."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Go on with a run that was cut, by its own flags, to the same bits; more --epochs go beyond its end."""
    checkpoint_every: Annotated[int | None, tyro.conf.arg(metavar="STEPS")] = None
    """Keep a checkpoint every so many steps, where an epoch takes long; one is kept after epochs anyway."""
    reproducible: bool = False
    """With torchrun: the same bits from 1, 2, 4 and 8 processes, by a fixed order of sums; slower."""
    timeout: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None
    """With torchrun: how long a process may hang or be missing until the run ends and says which; 300."""

    def check(self) -> None:
        """Raise UserError, one line that names the flag, for a value that cannot be."""
        super().check()
        require_choice("--engine", "engine", self.engine, ENGINES)
        require_choice("--optimizer", "optimizer", self.optimizer, OPTIMIZERS)
        require_choice("--schedule", "schedule", self.schedule, SCHEDULES)
        require_choice("--log", "level", self.log, LEVELS)
        if self.epochs is not None:
            require(self.epochs >= 1, "--epochs", self.epochs, "must be at least 1")
        good = math.isfinite(self.lr) and self.lr > 0
        require(good, "--lr", self.lr, "must be a finite number above 0, such as 0.003")
        require(0 <= self.momentum < 1, "--momentum", self.momentum, "must be at least 0 and below 1")
        decay = self.weight_decay or 0.0
        good = math.isfinite(decay) and decay >= 0
        require(good, "--weight-decay", decay, "must be a finite number, at least 0")
        self._check_gradient()
        most = 1e37 if self.dtype == "float32" else 1e307
        for flag in ("lr", "weight_decay", "clip_norm", "clip_value", "l1", "l2"):
            value, said = getattr(self, flag), f"is too large to compute in {self.dtype}"
            require(value is None or value < most, flag_name(flag), value, said)
        if self.keep is not None:
            require_choice("--keep", "word", self.keep, KEEP)
        known = self.epochs or (DATASETS[self.data].epochs if self.data in DATASETS else None)
        epochs = known or math.inf  # of a file: known when it has been read
        require(
            0 <= self.warmup < epochs,
            "--warmup",
            self.warmup,
            f"must be at least 0 and below the {epochs} epochs of the run",
        )
        for flag, count, what in (
            ("--early-stopping", self.early_stopping, "epochs to wait"),
            ("--verify-every", self.verify_every, "steps"),
            ("--checkpoint-every", self.checkpoint_every, "steps"),
        ):
            require(count is None or count >= 1, flag, count, f"is a number of {what}, at least 1")
        self._check_optimizer()
        if self.engine in ON_CPU:
            require(
                self.device in ("auto", "cpu"),
                "--device",
                self.device,
                f"the {self.engine} engine runs on the cpu; use --device cpu, or --engine torch or autograd",
            )
        require_choice("--fp32-precision", "precision", self.fp32_precision, PRECISIONS)
        if self.fp32_precision != "ieee":
            require(
                self.engine in ("torch", "auto"),
                "--fp32-precision",
                self.fp32_precision,
                "only the torch engine rounds products so; use --engine torch",
            )
            require(
                self.dtype == "float32",
                "--fp32-precision",
                self.fp32_precision,
                "is about float32 products; use --dtype float32",
            )
        require(
            not self.compile or self.engine == "autograd",
            "--compile",
            f"with --engine {self.engine}",
            "torch.compile is for autograd's passes; the others are calls already; use --engine autograd",
        )
        require(
            not self.reproducible or self.engine in ("auto", "ddp"),
            "--reproducible",
            f"with --engine {self.engine}",
            "the order of sums is that of the ddp engine; use --engine ddp",
        )
        good = self.timeout is None or (math.isfinite(self.timeout) and self.timeout >= 1)
        require(good, "--timeout", self.timeout, "is a number of seconds, at least 1")
        there = not self.warm or importlib.util.find_spec("numba") is not None
        require(there, "--warm", "", "compiles with numba: python -m pip install -e '.[fast]'")
        if self.name is not None:
            require_folder_name("--name", self.name)

    def _check_gradient(self) -> None:
        for flag, value in (("--clip-norm", self.clip_norm), ("--clip-value", self.clip_value)):
            good = value is None or (math.isfinite(value) and value > 0)
            require(good, flag, value, "must be a finite number above 0, such as 1")
        require(
            self.clip_norm is None or self.clip_value is None,
            "--clip-norm",
            f"{self.clip_norm} --clip-value {self.clip_value}",
            "choose one of them",
        )
        require(self.accumulate >= 1, "--accumulate", self.accumulate, "is a number of batches, at least 1")

    def recipe(self) -> Recipe:
        """The penalties, and what becomes of a gradient before the update."""
        return Recipe(self.l1, self.l2, self.clip_norm, self.clip_value, self.accumulate)

    def _check_optimizer(self) -> None:
        for flag, given in (("momentum", self.momentum > 0), ("nesterov", self.nesterov)):
            if not given:
                continue
            takers = [n for n, row in OPTIMIZERS.items() if flag in inspect.signature(row).parameters]
            if self.optimizer not in takers:
                raise UserError(
                    f"--{flag}: {self.optimizer} takes none; choose --optimizer {' or '.join(takers)}"
                )
        if self.nesterov and self.momentum == 0:
            raise UserError("--nesterov: needs a momentum above 0, such as --momentum 0.9")

    def optimizer_options(self) -> dict[str, Any]:
        """The optimizer's keyword arguments, the same for `manual` and torch; only those given."""
        given = {"momentum": self.momentum, "nesterov": self.nesterov}
        options = {name: value for name, value in given.items() if value}
        return options if self.weight_decay is None else options | {"weight_decay": self.weight_decay}


@dataclass(frozen=True, kw_only=True)
class Compare(ObjectiveFlags, PagerFlag, Network):
    """Compare the hand-written gradients with autograd's, parameter by parameter, stage by stage.

    The losses are torch's: cross_entropy and bce_with_logits take logits, where `mlp check` takes
    `cross_entropy` over the probabilities that an author's last layer gives.
    """

    dtype: Annotated[str, one_of(DTYPES)] = "float64"
    """The arithmetic."""
    engine: Annotated[str, one_of(HAND_WRITTEN)] = "manual"
    """The hand-written step: the plain formulas, or a fast one of `mlp train` (its manual is buffered)."""
    tier: Annotated[str, one_of(TIERS)] = "all"
    """Which kind of proof is asked for."""
    json: bool = False
    """Print one JSON object in place of the tables."""
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Save a picture of both gradients and their errors."""

    def check(self) -> None:
        """Raise UserError, one line that names the flag, for a value that cannot be."""
        super().check()
        require_choice("--engine", "step", self.engine, HAND_WRITTEN)
        require_choice("--tier", "tier", self.tier, TIERS)
