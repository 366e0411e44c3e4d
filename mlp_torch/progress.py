"""What is seen while a network trains: a bar on a terminal, a plain line now and then off one."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


def line(epoch: int, epochs: int, train: float, validation: float, accuracy: float | None) -> str:
    """One epoch in words."""
    width = len(str(epochs))
    known = "" if accuracy is None else f"  accuracy {accuracy:.3f}"
    return f"epoch {epoch:>{width}}/{epochs}  loss {train:.3g}  validation {validation:.3g}{known}"


class Display:
    """Shows each epoch; off a terminal about ten lines in all, the first and the last among them."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.every = max(1, epochs // 10)
        console = Console()
        self.bar: Progress | None = None
        if console.is_terminal:
            self.bar = Progress(
                BarColumn(bar_width=12),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
                console=console,
            )
            self.task = self.bar.add_task("the first epoch", total=epochs)

    def show(self, epoch: int, train: float, validation: float, accuracy: float | None) -> None:
        """The end of an epoch."""
        text = line(epoch, self.epochs, train, validation, accuracy)
        if self.bar is not None:
            self.bar.update(self.task, completed=epoch, description=text)
        elif epoch in (1, self.epochs) or epoch % self.every == 0:
            print(text, flush=True)

    def __enter__(self) -> Self:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()
