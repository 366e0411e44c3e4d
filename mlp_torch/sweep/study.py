"""The study behind a sweep: opened or continued, shared by processes, freed of trials whose process died.

Every draw is settled by (seed, number of the trial), so one process proposes the same trials each time,
also when it is killed in between and goes on. A study remembers the flags that it was begun with.
"""

import itertools
import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from mlp_torch.errors import UserError
from mlp_torch.processes import lives
from mlp_torch.sweep.config import Sweep
from mlp_torch.sweep.journal import Journal
from mlp_torch.sweep.space import Dimension, Raw

SILENT_SECONDS = 3600.0  # after so long without an epoch, another machine's trial counts as dead
RETRIES = 2

optuna.logging.set_verbosity(optuna.logging.ERROR)


class Seeded(BaseSampler):
    """A sampler made anew for each trial, from (seed, its number)."""

    def __init__(self, kind: Callable[..., BaseSampler], seed: int) -> None:
        self.kind, self.seed, self.number = kind, seed, -1
        self.inner: BaseSampler = kind(seed=seed)

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number != self.number:
            state = np.random.SeedSequence([self.seed, trial.number]).generate_state(1)
            self.number, self.inner = trial.number, self.kind(seed=int(state[0]))
        return self.inner

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._of(trial).before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._of(trial).after_trial(study, trial, state, values)


def storage(text: str | None, folder: Path) -> BaseStorage:
    """The storage of that URL or file; the study's own journal if None."""
    if text is not None and "://" in text:
        timeout = {"connect_args": {"timeout": 60}} if text.startswith("sqlite") else {}
        return RDBStorage(text, engine_kwargs=timeout)
    return JournalStorage(Journal(folder / "study.journal" if text is None else Path(text)))


def open_study(config: Sweep, name: str, folder: Path) -> Study:
    """The study of that name, begun if it is not there. Raises UserError for one begun with other flags."""
    direction: Literal["minimize", "maximize"] = "minimize" if config.metric == "loss" else "maximize"
    shown = f"--storage {config.storage}" if config.storage else f"--study {name}"
    for attempt in range(6):  # two processes that begin one study at once may meet in its tables
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                study = optuna.create_study(
                    storage=storage(config.storage, folder),
                    sampler=Seeded(RandomSampler if config.sampler == "random" else TPESampler, config.seed),
                    pruner=_pruner(config),
                    study_name=name,
                    direction=direction,
                    load_if_exists=True,
                )
            break
        except UserError:
            raise
        except Exception as error:  # of SQLAlchemy, its drivers, the file system
            if attempt == 5:
                said = str(error).strip().splitlines()[0]
                raise UserError(f"{shown}: the study cannot be opened ({said})") from None
            time.sleep(0.1 * (attempt + 1))
    left = any(folder.glob("trial-*"))  # looked at first: a trial is in the study before its folder is made
    if left and not study.get_trials(deepcopy=False):
        raise UserError(f"{shown}: {folder} holds the trials of another study; take another --study name")
    flags = json.loads(json.dumps(settled(config), default=str))
    begun = study.user_attrs.get("flags")
    if begun is None:
        study.set_user_attr("flags", flags)
    elif begun != flags:
        other = sorted(f for f in flags | begun if begun.get(f) != flags.get(f))
        was = f"{other[0].replace('_', '-')} {begun.get(other[0])}"
        raise UserError(f"--study {name}: was begun with --{was}; take another name, or the same flags")
    if config.sampler == "grid":
        for point in grid(config.dimensions()):
            study.enqueue_trial(point, skip_if_exists=True)
    return study


def settled(config: Sweep) -> dict[str, Any]:
    """The flags that must stay the same while a study goes on."""
    free = {"trials", "timeout", "pruner", "study", "storage", "runs_dir", "name", "log"}
    return {f: v for f, v in vars(config).items() if f not in free} | {"sweep": sorted(config.sweep)}


def grid(dimensions: Sequence[Dimension]) -> list[dict[str, Raw]]:
    """Every combination of the lists."""
    flags = [d.flag for d in dimensions]
    return [dict(zip(flags, p, strict=True)) for p in itertools.product(*(d.choices for d in dimensions))]


def _pruner(config: Sweep) -> optuna.pruners.BasePruner:
    if config.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=3)
    return optuna.pruners.HyperbandPruner() if config.pruner == "hyperband" else optuna.pruners.NopPruner()


def suggest(trial: Trial, dimensions: Sequence[Dimension]) -> dict[str, Raw]:
    """The trial's values, as text or numbers."""
    raw: dict[str, Raw] = {}
    for d in dimensions:
        if d.choices:
            raw[d.flag] = str(trial.suggest_categorical(d.flag, d.choices))
        elif d.integer:
            raw[d.flag] = trial.suggest_int(d.flag, int(d.low), int(d.high), log=d.log)
        else:
            raw[d.flag] = trial.suggest_float(d.flag, d.low, d.high, log=d.log)
    return raw


# ---------------------------------------------------------------- several processes


def alive(trial: FrozenTrial) -> bool:
    """Whether the process of a running trial lives: by its id here, by its last epoch on other machines."""
    who: Mapping[str, Any] | None = trial.user_attrs.get("owner")
    now, began = time.time(), trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    if who is None:  # just asked for; or killed in that very moment
        return now - began < 30
    living = lives(who)
    if living is None:
        return now - float(trial.user_attrs.get("beat", began)) < SILENT_SECONDS
    return living


def give_back(study: Study, trial: FrozenTrial | Trial) -> None:
    """Close a trial that was cut off, and queue its values for another try, twice at most."""
    tries = int(trial.user_attrs.get("tries", 0))
    try:
        study.tell(trial.number, state=TrialState.FAIL)
    except (ValueError, RuntimeError):  # another process was faster
        return
    if tries < RETRIES:
        study.enqueue_trial(trial.params, user_attrs={"retry_of": trial.number, "tries": tries + 1})


def free_stale(study: Study) -> list[int]:
    """Give back every running trial whose process is dead; their numbers."""
    stale = [t for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) if not alive(t)]
    for trial in stale:
        give_back(study, trial)
    return [t.number for t in stale]


def counted(study: Study) -> list[FrozenTrial]:
    """The trials that count: those begun, less those that were cut off and are tried again."""
    trials = study.get_trials(deepcopy=False)
    again = {t.user_attrs.get("retry_of") for t in trials}
    return [t for t in trials if t.state != TrialState.WAITING and t.number not in again]
