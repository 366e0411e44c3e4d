"""A page of the walk: what a step says, as data, and how it is shown on a terminal or down a pipe.

A step fills a `Page` with text, tables and slips, and may leave a function that draws its figure;
only this room knows about rich.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table as RichTable
from rich.text import Text

from mlp_torch.pager import Paged
from mlp_torch.terminal import Terminal


@dataclass(frozen=True)
class Table:
    """Rows of cells under a title; the first column is text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers, and so stand to the right."""
        columns = list(zip(*self.rows, strict=True)) or [() for _ in self.columns]
        return tuple(
            i > 0 and any(c[:1].isdigit() or c[:1] in "+-−" for c in cells if c)
            for i, cells in enumerate(columns)
        )


@dataclass(frozen=True)
class Slip:
    """A slide's mistake: the slide, what it says, what is right, and the numbers that prove it."""

    slide: str
    says: str
    right: str
    proof: str


@dataclass
class Page:
    """What one step says, in order, and how its figure is drawn (`draw(figure)`), if it has one."""

    blocks: list[str | Table | Slip] = field(default_factory=list)
    draw: Callable[[Any], None] | None = None

    def say(self, *sentences: str) -> None:
        """A paragraph."""
        self.blocks.append(" ".join(sentences))

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table; floats are shown with four digits."""
        cells = tuple(tuple(cell(value) for value in row) for row in rows)
        self.blocks.append(Table(title, tuple(columns), cells))

    def slip(self, slide: str, says: str, right: str, proof: str) -> None:
        """A slide's mistake, put right."""
        self.blocks.append(Slip(slide, says, right, proof))


def cell(value: object) -> str:
    """A number with four digits, anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Mean ± standard deviation over the seeds."""
    from statistics import fmean, stdev

    deviation = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{deviation}"


class Printer:
    """Shows pages: colours and frames on a terminal, plain lines (at most 100 columns) off one."""

    def __init__(self) -> None:
        if hasattr(sys.stdout, "reconfigure"):  # a terminal that knows no ∂ shows a ?
            sys.stdout.reconfigure(errors="replace")
        console = Terminal(highlight=False)
        self.plain = not console.is_terminal
        width = 100 if self.plain else min(100, console.width)
        self.console = Terminal(highlight=False, width=width)

    def heading(self, text: str, slides: Sequence[str]) -> None:
        """The step's title, and the slides that it walks through."""
        self.console.print()
        if self.plain:
            self.console.print(f"== {text}", soft_wrap=True, markup=False)
        else:
            self.console.rule(Text(text, style="bold"), align="left")
        self._print(Text("slides: " + " · ".join(slides), style="dim"))

    def show(self, page: Page) -> None:
        """Every block of the page, in order."""
        for block in page.blocks:
            self.console.print()
            if isinstance(block, Table):
                self._table(block)
            elif isinstance(block, Slip):
                self._slip(block)
            else:
                self._print(Text(block))

    def measuring(self) -> AbstractContextManager[object]:
        """Around a step's measurements: a sign of life on a terminal, nothing off one or beside a pager."""
        paging = isinstance(sys.stdout, Paged) and sys.stdout.pager is not None
        return nullcontext() if self.plain or paging else Terminal(stderr=True).status("measuring …")

    def line(self, text: str) -> None:
        """One line as it is, however long."""
        self.console.print(Text(text), soft_wrap=True)

    def _print(self, block: Any) -> None:
        """Off a terminal without the spaces that fill a line."""
        if not self.plain:
            self.console.print(block)
            return
        with self.console.capture() as capture:
            self.console.print(block)
        for line in capture.get().splitlines():
            self.line(line.rstrip())

    def _table(self, block: Table) -> None:
        self._print(Text(block.title, style="italic"))
        table = RichTable(box=None if self.plain else box.SIMPLE_HEAD, pad_edge=False)
        for column, numeric in zip(block.columns, block.numeric, strict=True):
            table.add_column(Text(column), justify="right" if numeric else "left")
        for row in block.rows:
            table.add_row(*map(Text, row))
        self._print(Padding(table, (0, 0, 0, 2)))

    def _slip(self, block: Slip) -> None:
        says = Text.assemble((f"the slide “{block.slide}” says: ", "bold"), block.says)
        right = Text.assemble(("right: ", "bold"), block.right)
        proof = Text.assemble(("proof: ", "bold"), block.proof)
        if self.plain:
            self._print(Text("SLIP: ") + says)
            self._print(Padding(right, (0, 0, 0, 2)))
            self._print(Padding(proof, (0, 0, 0, 2)))
        else:
            body = Text("\n").join([says, right, proof])
            self._print(Panel(body, title="slip", title_align="left", border_style="yellow"))
