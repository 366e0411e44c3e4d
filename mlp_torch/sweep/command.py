"""`mlp sweep`: trial after trial through `mlp train`'s own loop, then the best ones and their command."""

import contextlib
import importlib.util
import io
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from mlp_torch.config import Train
from mlp_torch.data.loading import load
from mlp_torch.errors import UnwritableError, UserError
from mlp_torch.interrupts import code_of, held
from mlp_torch.processes import owner
from mlp_torch.sweep.config import TRIALS, Sweep
from mlp_torch.sweep.space import Dimension, Raw, combinations, with_values, words
from mlp_torch.terminal import Terminal
from mlp_torch.training.command import check_batches, resolve
from mlp_torch.training.command import run as train
from mlp_torch.training.loop import Training
from mlp_torch.training.outcome import Kept

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

SHOWN = 10  # trials in the table


def run(config: Sweep) -> int:
    """Search as the flags say; 0: there is a best trial, 1: none or wrong gradients, 130: interrupted."""
    if importlib.util.find_spec("optuna") is None:
        raise UserError("needs Optuna, which is not installed: python -m pip install -e '.[sweep]'")
    from mlp_torch.sweep.study import open_study

    base, dimensions = config.train(), config.dimensions()
    check_data(base, dimensions)
    name = config.study or f"sweep-{config.data}-{datetime.now():%Y-%m-%d-%H-%M-%S}"
    folder = config.runs_dir / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--runs-dir {config.runs_dir}: {folder} cannot be made ({error.strerror})") from None
    with held():
        study = open_study(config, name, folder)
        print(f"study {name}: {len(study.get_trials(deepcopy=False))} trials so far, runs in {folder}")
        code = search(config, study, folder, dimensions)
        found = conclude(study, base, dimensions, folder)
    return code or (0 if found else 1)


def check_data(base: Train, dimensions: tuple[Dimension, ...]) -> None:
    """Raise UserError for a combination that does not fit the data or the machine."""
    known: dict[Any, Any] = {}
    for raw in combinations(dimensions):
        config = with_values(base, dimensions, raw)
        key = (config.loss, config.dtype, config.seed)
        try:
            if key not in known:
                known[key] = load(config, config.loss, seed=config.seed, dtype=np.dtype(config.dtype))
            check_batches(resolve(config, known[key])[0], len(known[key].train))
        except UserError as error:
            raise UserError(f"--sweep: {words(raw)} cannot be: {error}") from None


def search(config: Sweep, study: "Study", folder: Path, dimensions: tuple[Dimension, ...]) -> int:
    """Trial after trial, until the study has as many as asked for or the time is up."""
    from mlp_torch.sweep.study import counted, free_stale, give_back, grid

    whole = len(grid(dimensions)) if config.sampler == "grid" else TRIALS
    wanted, started = config.trials or whole, time.monotonic()
    if config.sampler == "grid":
        wanted = min(wanted, whole)
    while True:
        for number in free_stale(study):
            print(f"trial {number} was cut off with its process; its values are tried again")
        if len(counted(study)) >= wanted:
            return 0
        if config.timeout is not None and time.monotonic() - started > config.timeout:
            print(f"{config.timeout:g} s are over")
            return 0
        trial = study.ask()
        try:
            code = attempt(config, study, trial, folder, dimensions)
        except KeyboardInterrupt as end:
            code = code_of(end)
        except UnwritableError as error:  # the trial is lost to the disk, and tried again
            with contextlib.suppress(UnwritableError):
                give_back(study, trial)
            raise UserError(f"{error}; make room, and the same command goes on with the study") from None
        if code:
            give_back(study, trial)
            return code


def attempt(
    config: Sweep, study: "Study", trial: "Trial", folder: Path, dimensions: tuple[Dimension, ...]
) -> int:
    """One trial: a run of its own, reported to the study after each epoch; the exit code of its training."""
    import optuna

    from mlp_torch.sweep.study import suggest

    trial.set_user_attr("owner", owner())
    raw = suggest(trial, dimensions)
    name = f"trial-{trial.number:04d}"
    run_config = replace(with_values(config.train(), dimensions, raw), runs_dir=folder, name=name)
    watch = Watch(config, trial, dimensions, raw)
    state, said = optuna.trial.TrialState.COMPLETE, ""
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            code = train(run_config, watch.around)
        if code:
            print(printed.getvalue(), end="")
            return code
    except optuna.TrialPruned:
        state, said = optuna.trial.TrialState.PRUNED, f"pruned after epoch {watch.last.epoch}"
    except UnwritableError:
        raise
    except (UserError, MemoryError) as error:
        state, said = optuna.trial.TrialState.FAIL, f"failed: {error}"
        trial.set_user_attr("failed", str(error))
    with contextlib.suppress(ValueError, RuntimeError):  # given back by a process that thought this one dead
        value = watch.value if state == optuna.trial.TrialState.COMPLETE else None
        study.tell(trial, value, state=state)
    print(f"trial {trial.number}: {words(raw)}  {said or watch.result()}", flush=True)
    return 0


class Watch:
    """What a sweep does around one training: HParams, the study's curve, pruning."""

    def __init__(
        self, config: Sweep, trial: "Trial", dimensions: tuple[Dimension, ...], raw: Mapping[str, Raw]
    ) -> None:
        self.config, self.trial, self.dimensions, self.raw = config, trial, dimensions, raw
        self.accuracies: dict[int, float | None] = {}
        self.last = self.kept = Kept(0, float("inf"), {})
        self.beaten = time.time()

    @property
    def accuracy(self) -> float | None:
        return self.accuracies.get(self.kept.epoch)

    @property
    def value(self) -> float | None:
        """The kept weights' metric."""
        return self.kept.loss if self.config.metric == "loss" else self.accuracy

    def result(self) -> str:
        known = "" if self.accuracy is None else f", accuracy {self.accuracy:.3f}"
        return f"validation loss {self.kept.loss:.4g}{known}"

    @contextlib.contextmanager
    def around(self, training: Training) -> Iterator[None]:
        """The context of `mlp_torch.training.command.run`."""
        import optuna

        from mlp_torch.board import hparams

        classes = training.data.train.labels is not None
        training.board.hparams = hparams.of_trial(self.dimensions, self.raw, classes)
        self.board, training.after_epoch = training.board, self.after_epoch
        try:
            yield
            self.kept = training.kept
            self.trial.set_user_attr("accuracy", self.accuracy)
            self.trial.set_user_attr("epoch", self.kept.epoch)
        except optuna.TrialPruned:
            training.folder.finish({"epoch": self.last.epoch, "pruned": True})
            raise

    def after_epoch(self, kept: Kept, accuracy: float | None) -> None:
        """Report the epoch; raises TrialPruned where the study gives the trial up."""
        import optuna

        self.last = self.kept = kept
        self.accuracies[kept.epoch] = accuracy
        value = kept.loss if self.config.metric == "loss" else accuracy
        assert value is not None
        self.trial.report(value, kept.epoch)
        if time.time() - self.beaten > 10:
            self.beaten = time.time()
            self.trial.set_user_attr("beat", self.beaten)
        if self.trial.should_prune():
            self.board.status = "SUCCESS"  # it ends well, only earlier
            raise optuna.TrialPruned


def conclude(study: "Study", base: Train, dimensions: tuple[Dimension, ...], folder: Path) -> bool:
    """The table of the best trials, and the command that trains the best one again; False without any."""
    best = ranked(study)
    if not best:
        print("no trial was completed")
        return False
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("trial", justify="right", no_wrap=True)
    for name in ("loss" if study.direction.name == "MINIMIZE" else "accuracy", "epoch"):
        table.add_column(name, justify="right", no_wrap=True)
    for d in dimensions:
        table.add_column(d.flag, no_wrap=True)
    for t in best[:SHOWN]:
        values = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in t.params.values()]
        table.add_row(str(t.number), f"{t.value:.4g}", str(t.user_attrs["epoch"]), *values)
    console = Terminal() if Terminal().is_terminal else Terminal(width=118)
    console.print()
    console.print(table)
    print(f"\nbest: {command(replace(with_values(base, dimensions, best[0].params), log=Train.log))}")
    print(f"its run: {folder / f'trial-{best[0].number:04d}'}")
    print(f"all trials: mlp board {shlex.quote(str(folder))}, tab HParams")
    return True


def ranked(study: "Study") -> "list[FrozenTrial]":
    """The completed trials, best first."""
    from optuna.trial import TrialState

    sign = 1 if study.direction.name == "MINIMIZE" else -1
    done = [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE]
    return sorted(done, key=lambda t: (sign * float(t.value or 0), t.number))


def command(config: Train) -> str:
    """`mlp train` with the flags that differ from their defaults, ready to paste."""
    words = ["mlp", "train"]
    for field in fields(Train):
        value = getattr(config, field.name)
        if field.default is not MISSING and value == field.default:
            continue
        flag = f"--{field.name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, tuple):
            words += [flag, *map(str, value)]
        else:
            words += [flag, str(value)]
    return shlex.join(words)
