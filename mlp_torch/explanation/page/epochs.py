"""The weights after each epoch of a run: it is trained once more, by its own flags, to the same bits.

A run keeps the weights of one epoch. Training is deterministic, so the others are had by `mlp train` itself,
in a folder that is thrown away; the kept weights tell whether it came out the same.
"""

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from manual.numbers import Array
from manual.structure.fingerprint import fingerprint
from mlp_torch import artifact
from mlp_torch.config import LEVELS, Train
from mlp_torch.errors import UserError
from mlp_torch.flags import from_table
from mlp_torch.runs import METRICS
from mlp_torch.training.loop import Training
from mlp_torch.training.outcome import Kept
from mlp_torch.verify.report import WrongGradientError

LONGEST = 60.0  # seconds; a run that took longer is not repeated

Weights = dict[str, Array]


@dataclass
class Repeated:
    """Weights by epoch, 0 the initial ones; `note` says in one line what a reader must know of them."""

    weights: dict[int, Weights] = field(default_factory=dict)
    note: str = ""


class _Enough(Exception):  # noqa: N818  # no error: the last epoch that is wanted has been trained
    pass


def repeat(run: Path, most: int) -> Repeated:
    """At most `most` epochs of a run, evenly spaced, its first, last and kept ones among them.

    Where it cannot be repeated there are none, and the note says why. Raises UserError if the run cannot
    be read.
    """
    kept, arrays = artifact.read(run)
    epochs, seconds = _length(run)
    if epochs < 1:
        return Repeated(note="no slider over the epochs: the run has finished none")
    if seconds > LONGEST:
        took = f"it took {seconds:.0f} s, and at most {LONGEST:.0f} s are repeated"
        return Repeated(note=f"no slider over the epochs: {took}")
    wanted = spaced(epochs, most, kept.epoch)
    try:
        config = from_table(Train, kept.config)
        found = _train(config, wanted)
    except (UserError, WrongGradientError, TypeError) as error:
        return Repeated(note=f"no slider over the epochs: the run could not be repeated ({error})")
    again = found.get(kept.epoch)
    if again is None or fingerprint(again) != fingerprint(arrays):
        other = "none" if again is None else fingerprint(again)
        return Repeated(
            found | {kept.epoch: arrays},
            f"trained again, the run came to other bits (epoch {kept.epoch}: {other}, kept "
            f"{fingerprint(arrays)}): the epochs but {kept.epoch} are the repetition's",
        )
    same = f"trained again to the same bits (epoch {kept.epoch}: {fingerprint(arrays)})"
    return Repeated(found, f"{len(found)} of {epochs + 1} states of the run, {same}")


def spaced(last: int, most: int, kept: int) -> list[int]:
    """0, `last`, `kept` and evenly spaced epochs between, at most `most` (three at least)."""
    room = max(most - 1, 2)
    even = {round(i * last / (room - 1)) for i in range(room)}
    return sorted(even | {min(kept, last)})


def _length(run: Path) -> tuple[int, float]:
    """The epochs that a run has finished, and the seconds they took."""
    file = run / METRICS
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        return (int(rows[-1]["epoch"]), float(rows[-1]["seconds"])) if rows else (0, 0.0)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: cannot be read ({error})") from None


def _train(config: Train, wanted: list[int]) -> dict[int, Weights]:
    """`mlp train` once more, in a folder of its own, up to the last epoch that is wanted."""
    from mlp_torch.training.command import trained

    found: dict[int, Weights] = {}

    @contextlib.contextmanager
    def watched(training: Training) -> Iterator[None]:
        def after_epoch(last: Kept, accuracy: float | None) -> None:
            if last.epoch in wanted:
                found[last.epoch] = dict(last.parameters)
            if last.epoch == wanted[-1]:
                raise _Enough

        found[0] = {name: value.copy() for name, value in training.engine.parameters().items()}
        training.after_epoch = after_epoch
        yield

    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.suppress(_Enough),
    ):
        shown = replace(config, runs_dir=Path(folder), name="again", resume=None, log=LEVELS[0])
        trained(shown, watched)
    return found
