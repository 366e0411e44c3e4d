"""`mlp train --resume RUN`: which run goes on, by which flags, from where."""

import sys
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from mlp_torch.artifact import CONFIG
from mlp_torch.config import Train
from mlp_torch.errors import UserError
from mlp_torch.flags import flag_name, from_table
from mlp_torch.lock import Lock
from mlp_torch.runs import plain, versions
from mlp_torch.training import checkpoint
from mlp_torch.training.checkpoint import Checkpoint

FREE = (
    "resume",
    "epochs",
    "name",
    "runs_dir",
    "checkpoint_every",
    "log",
    "timeout",
)  # flags that the steps do not depend on


@dataclass(frozen=True)
class Begun:
    """A run that was begun: its flags, its last checkpoint (None before the first), this process's lock."""

    folder: Path
    config: Train
    checkpoint: Checkpoint | None
    lock: Lock
    finished: str = ""


def begun(config: Train) -> Begun:
    """The run of `--resume`, locked. Raises UserError where it cannot go on."""
    folder = config.resume
    assert folder is not None
    if not (folder / CONFIG).is_file():
        raise UserError(
            f"--resume {folder}: holds no {CONFIG}; give the folder of a run, `mlp runs` lists them"
        )
    lock = Lock(folder)
    try:
        saved, table = _flags(folder)
        _refuse_others(config, saved)
        epochs = config.epochs or saved.epochs
        if saved.epochs is not None and epochs is not None and epochs < saved.epochs:
            raise UserError(f"--epochs {epochs}: the run was begun with {saved.epochs}; give as many or more")
        flags = replace(
            saved, resume=None, epochs=epochs, name=folder.resolve().name, runs_dir=folder.parent,
            checkpoint_every=config.checkpoint_every or saved.checkpoint_every,
            log=saved.log if config.log == Train.log else config.log,
            timeout=config.timeout or saved.timeout,
        )  # fmt: skip
        result = _table(table, "result")
        if result and not result.get("interrupted") and epochs == saved.epochs:
            done = f"{folder}: has finished, {epochs} epochs; more --epochs go on beyond them"
            return Begun(folder, flags, None, lock, done)
        found = checkpoint.last(folder)
        if found is not None:
            _refuse_foreign(found, saved, folder)
        _mention(_table(table, "versions"))
    except UserError:
        lock.release()
        raise
    return Begun(folder, flags, found, lock)


def _table(table: dict[str, Any], name: str) -> dict[str, Any]:
    """The part of that name; nothing where somebody has put something else there."""
    found = table.get(name)
    return found if isinstance(found, dict) else {}


def _flags(folder: Path) -> tuple[Train, dict[str, Any]]:
    file = folder / CONFIG
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        saved = from_table(Train, table)
        saved.check()
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{file}: cannot be read ({error}); it was edited, or is another version's") from None
    return saved, table


def _refuse_others(config: Train, saved: Train) -> None:
    """Raise UserError for a flag that says something else than the run's own."""
    for field in fields(Train):
        given = getattr(config, field.name)
        if field.name not in FREE and given != field.default and given != getattr(saved, field.name):
            raise UserError(
                f"{flag_name(field.name)}: a run goes on by its own flags "
                f"({getattr(saved, field.name)}); leave this one out"
            )


def steps_depend_on(config: Train) -> dict[str, Any]:
    """The flags that settle the steps, for a checkpoint."""
    return {n: v for n, v in plain(asdict(config)).items() if n not in FREE}


def _refuse_foreign(found: Checkpoint, saved: Train, folder: Path) -> None:
    ours, theirs = steps_depend_on(saved), found.numbers.get("flags", {})
    theirs = {"reproducible": Train.reproducible} | theirs  # which earlier versions did not know
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            raise UserError(
                f"{folder / checkpoint.FILE}: is of another run: {flag_name(name)} is {theirs.get(name)} "
                f"there and {ours.get(name)} in {CONFIG}; put back the one that was changed"
            )


def _mention(before: dict[str, str]) -> None:
    """On stderr, what is another version now."""
    now: dict[str, str] = versions()["versions"]
    for name in ("numpy", "torch"):
        if str(before.get(name, now[name])) != now[name]:
            print(
                f"mlp train: the run was begun with {name} {before[name]} and goes on with {now[name]}: "
                "its weights may end in other bits",
                file=sys.stderr,
            )
