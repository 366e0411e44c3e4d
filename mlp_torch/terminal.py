"""The console that commands print through, and how they count."""

from rich.console import Console


def counted(n: int, what: str) -> str:
    """`1 row`, `1,200 rows`; `what` is the plural."""
    return f"{n:,} {what.removesuffix('s') if n == 1 else what}"


class Terminal(Console):
    """rich's Console, which leaves a closed pipe (`mlp compare | head`) to `main`, as print does."""

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError, where rich would end the program as if it had failed."""
        raise BrokenPipeError
