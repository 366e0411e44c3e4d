"""The console that commands print through."""

from rich.console import Console


class Terminal(Console):
    """rich's Console, which leaves a closed pipe (`mlp compare | head`) to `main`, as print does."""

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError, where rich would end the program as if it had failed."""
        raise BrokenPipeError
