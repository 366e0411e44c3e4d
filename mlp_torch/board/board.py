"""The board of one run: at each moment the parts of its level are made, and written by one write."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from mlp_torch.board import hparams
from mlp_torch.board.moment import Moment
from mlp_torch.board.parts import BEGINNING, END, MORE_OFTEN, PARTS, SCHEDULES, Part, affordable
from mlp_torch.board.scalars import about
from mlp_torch.board.values import File, Value, described
from mlp_torch.config import LEVELS, Train
from mlp_torch.errors import UnwritableError
from mlp_torch.runs import Run


class Board:
    """What TensorBoard is shown of a run, in the run's own event file.

    `hparams` is what the tab HParams shows; `status` is how the run ends there if it does not reach its
    end, None once it has. `left_out`: pictures of the end were not drawn. All methods raise UnwritableError.
    """

    def __init__(self, folder: Run, config: Train, classes: bool) -> None:
        level = LEVELS.index(config.log)
        self.folder, self.config = folder, config
        self.parts = [part for part in PARTS if LEVELS.index(part.level) <= level]
        self.more_often = MORE_OFTEN if config.log == LEVELS[-1] else {}
        self.hparams = hparams.of_run(config, classes)
        self.status: hparams.Status | None = "FAILURE"
        self.seen: set[str] = set()
        self.left_out = False

    def begin(self, moment: Moment) -> None:
        """Before the first epoch; not of a run that goes on, whose file holds it."""
        session = [self.hparams.experiment(), self.hparams.start(self.folder.path.name)]
        self._show(moment, lambda part: part.when == BEGINNING, session)

    def epoch(self, moment: Moment) -> None:
        """After an epoch."""
        epochs = self.config.epochs or 0

        def due(part: Part) -> bool:
            when = self.more_often.get(part.when, part.when)
            return when in SCHEDULES and SCHEDULES[when](moment.epoch, epochs)

        self._show(moment, due)

    def end(self, moment: Moment, seconds: float) -> None:
        """Of the weights that were kept; the run has ended well, after so many seconds of training.

        What only the fullest level draws is shown by `standard` too, where training took long.
        """
        more = [p for p in PARTS if p.when == END and p not in self.parts and p.applies(moment)]
        drawn = affordable(more, seconds) if self.config.log != LEVELS[0] else ()
        self.parts, self.left_out = [*self.parts, *drawn], len(drawn) < len(more)
        self._show(moment, lambda part: part.when == END, [hparams.end("SUCCESS")])
        self.status = None

    @contextmanager
    def session(self) -> Iterator[None]:
        """What is done in it is the run; HParams is told how it ended, where it did not reach its end."""
        try:
            yield
        finally:
            if self.status is not None:
                with suppress(UnwritableError):  # what is said is why the run ended
                    self._write([hparams.end(self.status)], 0)

    def _show(self, moment: Moment, due: Callable[[Part], bool], session: list[Value] | None = None) -> None:
        made = [m for part in self.parts if due(part) and part.applies(moment) for m in part.make(moment)]
        values = [m for m in made if not isinstance(m, File)]
        for m in made:
            if isinstance(m, File):
                self.folder.put(m.name, m.content)
        self._write([*(session or []), *values], moment.epoch)

    def _write(self, values: list[Value], step: int) -> None:
        """What a curve, a histogram or a picture is in words stands in its first point alone."""
        for value in values:
            if value.tag not in self.seen:
                self.seen.add(value.tag)
                if value.HasField("simple_value"):
                    value.metadata.CopyFrom(described("scalars", about(value.tag)))
            elif not value.HasField("tensor"):
                value.ClearField("metadata")
        if values:
            self.folder.add(values, step)
