"""What a comparison found, as a table, as JSON, as an exception."""

import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlp_torch import html
from mlp_torch.terminal import Terminal
from mlp_torch.verify.certificate import SEVERITY, Verdict
from mlp_torch.verify.local import NO_TRUTH
from mlp_torch.verify.row import ComparisonRow

STYLES = {"exact": "green", "certified": "cyan", "undecided": "yellow", "wrong": "bold red"}
TEXT_COLUMNS = ("gradient", "stage", "at", "verdict")


class WrongGradientError(AssertionError):
    """A gradient or stage is proven wrong, or could not be judged; the text names it with the evidence."""


@dataclass(frozen=True)
class ComparisonReport:
    """Two engines on the same network, weights and batch.

    `parameters` and `stages` map names to rows; `verdict` is the worst of them; `passed` means that
    nothing is `wrong`, everything could be judged for which there is a truth, and where there is none both
    engines agree with the plain formula to half of their digits. `twin` is the report of the dyadic twin,
    where it was asked for, and `twin_note` says what the twin differs in, or why there is none. `engines`
    names the two sides.
    """

    parameters: Mapping[str, ComparisonRow]
    stages: Mapping[str, ComparisonRow]
    dtype: str
    loss: str
    reduction: str
    samples: int
    twin: "ComparisonReport | None" = None
    twin_note: str = ""
    engines: tuple[str, str] = ("manual", "autograd")
    title: str = ""

    @property
    def verdict(self) -> Verdict:
        verdicts = [row.verdict for row in (*self.parameters.values(), *self.stages.values())]
        if self.twin is not None:
            verdicts.append(self.twin.verdict)
        return max(verdicts, key=SEVERITY.index)

    @property
    def passed(self) -> bool:
        """Nothing is wrong, and everything could be judged that has a truth, but for units at a kink."""
        if self.verdict == "wrong" or self.unjudged or self.apart:
            return False
        return self.twin is None or self.twin.passed

    @property
    def agreement(self) -> str:
        """What a check that passed has found, in words."""
        if self.unknown:
            return "nothing is wrong, and not all could be proven right"
        return "by hand and by autograd agree within rounding"

    @property
    def unknown(self) -> dict[str, list[ComparisonRow]]:
        """The stages that apply a row without a truth, by that row."""
        found: dict[str, list[ComparisonRow]] = {}
        for row in self.stages.values():
            if row.note.startswith(NO_TRUTH):
                found.setdefault(row.note.removeprefix(NO_TRUTH).strip(), []).append(row)
        return found

    @property
    def apart(self) -> list[ComparisonRow]:
        """Of these the stages where an engine differs from the plain formula by more than half its digits."""
        limit = math.sqrt(np.finfo(self.dtype).eps)
        return [r for rows in self.unknown.values() for r in rows if max(r.apart.values()) > limit]

    @property
    def unjudged(self) -> list[ComparisonRow]:
        """The stages of which nothing is known: not finite, overflown, or narrower than their enclosure."""
        return [row for row in self.stages.values() if row.unjudged()]

    @property
    def wrong(self) -> list[ComparisonRow]:
        """The stages that are wrong, first in the order of computation, then the parameters."""
        rows = [*self.stages.values(), *self.parameters.values()]
        return [row for row in rows if row.verdict == "wrong"]

    def raise_if_wrong(self) -> None:
        """Raise WrongGradientError with the guilty stages and their evidence, where `passed` is false."""
        if self.twin is not None:
            self.twin.raise_if_wrong()
        if not self.passed:
            raise WrongGradientError(self.summary() + "\n" + "\n".join(self._accusations()))

    def _accusations(self) -> list[str]:
        named: dict[str, list[str]] = {}  # a stage and the gradient that it makes are one line
        for row in self.wrong:
            named.setdefault(row.blame() or row.note, []).append(row.name)
        wrong = [f"{', '.join(names)}: {blame}" for blame, names in named.items()]
        wrong += [
            f"{row.name}: {engine} differs from the plain formula by {gap:.2g} of its norm on the same "
            f"inputs, and there is {row.note} to say who is right"
            for row in self.apart
            for engine, gap in row.apart.items()
            if gap == max(row.apart.values())
        ]
        return wrong or [f"{row.name} was not judged: {row.unjudged()}" for row in self.unjudged[:3]]

    def _kinks(self) -> list[str]:
        return [
            f"{row.name}: undecided at {', '.join(f'{name}{list(unit)}' for name, unit in row.units[:6])}"
            for row in self.parameters.values()
            if row.verdict == "undecided" and row.units
        ]

    def _unknown(self) -> list[str]:
        lines = []
        for name, rows in self.unknown.items():
            stages, gap = ", ".join(r.name for r in rows), max(max(r.apart.values()) for r in rows)
            remedy = f"add a row for {name} to mlp_torch/verify/truth.py"
            within = f"within {gap:.1e} of the plain formula"
            lines.append(f"{stages}: undecided, {NO_TRUTH} {name} ({within}): {remedy}")
        return lines

    def summary(self) -> str:
        """One line: the verdict, how many arrays are bit-equal, the largest share of a bound used."""
        rows = list(self.parameters.values())
        exact = sum(row.equal == row.size for row in rows)
        worst = max((row.ratio for row in rows if math.isfinite(row.ratio)), default=0.0)
        text = f"{self.verdict}: {len(rows)} gradients in {self.dtype}, {exact} bit-equal"
        if self.verdict == "wrong":
            text += f"; wrong: {', '.join(dict.fromkeys(row.name for row in self.wrong))}"
        elif self.apart:
            text += f"; engines differ, and {self.apart[0].note}: {', '.join(row.name for row in self.apart)}"
        elif self.unjudged:
            text += f"; not judged: {', '.join(row.name for row in self.unjudged)}"
        elif self.unknown:
            text += "".join(f"; {NO_TRUTH} {name}" for name in self.unknown)
        elif exact < len(rows):
            text += f", the others within {worst:.2g} of their rounding bound"
        if self.twin is not None:
            entries = sum(row.size for row in self.twin.parameters.values())
            text += f"; dyadic twin {self.twin.verdict}: {entries:,} gradient entries"
        elif self.twin_note:
            text += f"; {self.twin_note}"
        return text

    def to_json(self) -> str:
        """One JSON object with `passed`, `verdict`, `parameters`, `stages`; non-finite numbers are null."""
        return json.dumps(_plain(self.to_dict()), allow_nan=False)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dicts and lists."""
        rows = {
            kind: {name: asdict(row) for name, row in getattr(self, kind).items()}
            for kind in ("parameters", "stages")
        }
        head = {"passed": self.passed, "verdict": self.verdict, "dtype": self.dtype, "loss": self.loss}
        tail = {"reduction": self.reduction, "samples": self.samples, "engines": list(self.engines)}
        twin = None if self.twin is None else self.twin.to_dict()
        return {**head, **tail, **rows, "twin": twin, "twin_note": self.twin_note}

    def table(self) -> RenderableType:
        """For rich: what is wrong or at a kink, the twin's too, then tables of parameters and stages."""
        return Group(*(Text(line, style=style) for line, style in self._told()), *self._tables())

    def _told(self) -> list[tuple[str, str]]:
        """The lines about what is wrong or at a kink, the twin's too, each with its style."""
        told = [(line, "red") for line in self._accusations()] + [(line, "yellow") for line in self._kinks()]
        told += [(line, "yellow") for line in self._unknown()]
        if self.twin is not None:
            told += [(f"dyadic twin, {line}", style) for line, style in self.twin._told()]
        return told

    def _tables(self) -> list[RenderableType]:
        parts: list[RenderableType] = [
            self._rows("gradient", self.parameters),
            self._rows("stage", self.stages),
        ]
        if self.twin is not None:
            parts += [Text(""), Text(f"The dyadic twin: {self.twin_note}"), *self.twin._tables()]
        elif self.twin_note:
            parts.append(Text(self.twin_note))
        return parts

    def head(self, kind: str) -> list[str]:
        """The headings over `ComparisonRow.cells`; `kind` is what a row is."""
        left, right = self.engines
        return [kind, "shape", "equal", "max |Δ|", "at", left, right, "‖Δ‖/‖g‖", "of bound", "verdict"]

    def _rows(self, kind: str, rows: Mapping[str, ComparisonRow]) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
        for name in self.head(kind):
            table.add_column(name, no_wrap=True, justify="left" if name in TEXT_COLUMNS else "right")
        for row in rows.values():
            *cells, verdict = row.cells()
            table.add_row(*(Text(cell) for cell in cells), Text(verdict, style=STYLES[row.verdict]))
        return table

    def __str__(self) -> str:
        """The summary and what is wrong, a line each, then the tables."""
        console = Terminal(file=io.StringIO(), width=118, no_color=True)
        console.print(Group(*self._tables()))
        file = console.file
        assert isinstance(file, io.StringIO)
        told = [self.summary(), *(line for line, _ in self._told())]
        return "\n".join(line.rstrip() for line in [*told, *file.getvalue().splitlines()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The report for a notebook: verdict and sentence, the gradients, the stages folded below."""
        return html.page(self.verdict, self.summary().removeprefix(f"{self.verdict}: "), self._parts())

    def _parts(self) -> list[str]:
        tables = {
            kind: html.table(self.head(kind), [row.cells() for row in rows.values()])
            for kind, rows in (("gradient", self.parameters), ("stage", self.stages))
        }
        parts = [html.paragraph(line) for line in (*self._accusations(), *self._kinks(), *self._unknown())]
        stages = html.fold(f"{len(self.stages)} stages", tables["stage"], unfolded=not self.passed)
        parts += [tables["gradient"], stages]
        if self.twin is not None:
            parts.append(html.paragraph(f"The dyadic twin: {self.twin_note}"))
            parts += self.twin._parts()
        return parts


def _plain(value: Any) -> Any:
    """JSON has no NaN or infinity: null."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
