"""The console that commands print through, and how they count."""

from typing import Any

from rich.console import Console


def counted(n: int, what: str) -> str:
    """`1 row`, `1,200 rows`; `what` is the plural."""
    return f"{n:,} {what.removesuffix('s') if n == 1 else what}"


class Terminal(Console):
    """rich's Console, which prints as print does: plain text in a notebook, where rich makes a page of
    every call; a closed pipe (`mlp compare | head`) is left to `main`.
    """

    def __init__(self, **options: Any) -> None:
        if Console().is_jupyter:
            options |= {"force_jupyter": False, "force_terminal": False}  # the kernel sets FORCE_COLOR
        super().__init__(**options)

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError, where rich would end the program as if it had failed."""
        raise BrokenPipeError
