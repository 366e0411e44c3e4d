"""What is seen while a network trains, by where it trains: a notebook, a terminal, or a pipe.

In a notebook the bar and the curves stand in one output of the cell, which is replaced in place. It needs
no widgets and no script, so it also shows where a notebook is only read. The bar moves at most twice a
second. A picture takes some 0.1 s, and after one there is none for nineteen times as long as it took: all
but the first and the last take at most a twentieth of the time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

EVERY = 0.5  # seconds between two changes, at least
SHARE = 0.05  # of the time that pictures may take


def line(epoch: int, epochs: int, train: float, validation: float, accuracy: float | None) -> str:
    """One epoch in words."""
    width = len(str(epochs))
    known = "" if accuracy is None else f"  accuracy {accuracy:.3f}"
    return f"epoch {epoch:>{width}}/{epochs}  loss {train:.3g}  validation {validation:.3g}{known}"


class View(Protocol):
    """One way to show epochs, between `open` and `close`."""

    def open(self) -> None: ...
    def show(self, epoch: int, text: str, row: dict[str, Any]) -> None: ...
    def close(self) -> None: ...


class Lines:
    """About ten lines in all, the first and the last among them."""

    def __init__(self, epochs: int, console: Console) -> None:
        self.epochs, self.every = epochs, max(1, epochs // 10)

    def open(self) -> None:
        """Nothing is shown before the first epoch."""

    def show(self, epoch: int, text: str, row: dict[str, Any]) -> None:
        if epoch in (1, self.epochs) or epoch % self.every == 0:
            print(text, flush=True)

    def close(self) -> None:
        """The lines stay."""


class Bar:
    """A bar on the terminal's last line."""

    def __init__(self, epochs: int, console: Console) -> None:
        self.progress = Progress(
            BarColumn(bar_width=12),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=console,
        )
        self.task = self.progress.add_task("the first epoch", total=epochs)

    def open(self) -> None:
        self.progress.start()

    def show(self, epoch: int, text: str, row: dict[str, Any]) -> None:
        self.progress.update(self.task, completed=epoch, description=text)

    def close(self) -> None:
        self.progress.stop()


class Cell:
    """A bar and the curves, in one output of a notebook's cell."""

    def __init__(self, epochs: int, console: Console) -> None:
        self.epochs, self.rows = epochs, list[dict[str, Any]]()
        self.text, self.picture, self.drawn = "the first epoch", "", 0
        self.next = self.next_picture = 0.0  # seconds of the clock
        self.handle: Any = None

    def open(self) -> None:
        from IPython.display import display

        self.next = self.next_picture = time.perf_counter() + EVERY
        self.handle = display(self._bundle(), raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def show(self, epoch: int, text: str, row: dict[str, Any]) -> None:
        self.text = text
        self.rows.append(row)
        now = time.perf_counter()
        if now >= self.next_picture:
            self.draw()
        elif now >= self.next:
            self.update()

    def draw(self) -> None:
        """Put the curves so far in the place of those before, and say when the next may come."""
        from mlp_torch.notebook.curves import image

        started = time.perf_counter()
        self.picture, self.drawn = image(self.rows, self.epochs), len(self.rows)
        self.update()
        took = time.perf_counter() - started
        self.next_picture = started + max(EVERY, took / SHARE)

    def update(self) -> None:
        """Show the bar as it is now, above the last picture."""
        self.handle.update(self._bundle(), raw=True)
        self.next = time.perf_counter() + EVERY

    def close(self) -> None:
        if self.drawn < len(self.rows):
            self.draw()

    def _bundle(self) -> dict[str, str]:
        done = self.rows[-1]["epoch"] if self.rows else 0
        bar = f'<progress value="{done}" max="{self.epochs}" style="width: 12em"></progress>'
        page = f'<div>{bar} <span style="white-space: pre">{escape(self.text)}</span><br>{self.picture}</div>'
        return {"text/html": page, "text/plain": self.text}


@dataclass(frozen=True)
class Surroundings:
    """Whether this is where a network trains, and how its epochs are shown there."""

    name: str
    here: Callable[[Console], bool]
    view: Callable[[int, Console], View]


# The first row that is `here` is taken.
SURROUNDINGS = (
    Surroundings("notebook", lambda console: console.is_jupyter, Cell),
    Surroundings("terminal", lambda console: console.is_terminal, Bar),
    Surroundings("pipe", lambda console: True, Lines),
)


class Display:
    """Shows each epoch as the surroundings can."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        console = Console()
        row = next(row for row in SURROUNDINGS if row.here(console))
        self.view = row.view(epochs, console)

    def show(self, epoch: int, train: float, validation: float, accuracy: float | None) -> None:
        """The end of an epoch."""
        row = {"epoch": epoch, "loss/train": train, "loss/validation": validation}
        text = line(epoch, self.epochs, train, validation, accuracy)
        self.view.show(epoch, text, row | {"accuracy/validation": accuracy})

    def __enter__(self) -> Self:
        self.view.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.view.close()
