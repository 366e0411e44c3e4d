"""What the check says: verdict, one row an array, the faults with their evidence, a teacher's sentence."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch import html
from mlp_torch.check.kinds import FAULTS
from mlp_torch.check.lines.line import GuiltyLine

HEAD = ("array", "shape", "verdict", "worst at", "yours", "true", "ratio", "± spread", "cosine")
VERDICTS = ("right", "scaled", "other_loss", "wrong", "not_comparable")


@dataclass(frozen=True)
class Fault:
    """One named mistake: a word of `FAULTS`, the layer (from 1; None: several), the arrays it reaches."""

    kind: str
    layer: int | None
    arrays: tuple[str, ...]
    detail: str
    evidence: str

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise ValueError(f"{self.kind!r} is no kind of fault: it needs a row in check/kinds.py")


@dataclass(frozen=True)
class ArrayRow:
    """One array: its verdict, the worst entry with both values, ratio hand/true and its spread, the cosine.

    The worst entry is the one farthest beyond its own rounding. `ratio` is the projection h·t/t·t; `spread`
    the largest deviation of an entry's ratio from it, both NaN where the true gradient is zero; `relative` is
    ‖h − t‖/‖t‖.
    """

    name: str
    verdict: str
    shape: tuple[int, ...]
    index: tuple[int, ...]
    value: float
    truth: float
    ratio: float
    spread: float
    cosine: float
    relative: float


@dataclass(frozen=True, repr=False)
class CheckReport:
    """The verdict on a hand-written backward pass.

    `arrays` maps names to rows; `faults` is the preferred set, ordered from the output down, empty when
    right or unexplained; `alternatives` are the other sets that fit as well. `first_wrong` is the layer where
    an unexplained gradient first goes wrong. `message` is what a teacher would write.
    """

    verdict: str
    arrays: Mapping[str, ArrayRow]
    faults: list[Fault] = field(default_factory=list)
    alternatives: list[list[Fault]] = field(default_factory=list)
    message: str = ""
    notes: tuple[str, ...] = ()
    first_wrong: int | None = None
    method: str = ""
    resolution: float = math.nan  # the smallest relative slip that the method sees, where it is known
    runs: Mapping[str, str] = field(default_factory=dict)  # what was run, and how each ended
    lines: tuple[GuiltyLine, ...] = ()  # of the author's source, in the order in which they are run

    @property
    def passed(self) -> bool:
        return self.verdict == "right"

    def raise_if_wrong(self) -> None:
        """Raise AssertionError with the whole report unless the verdict is right."""
        if not self.passed:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        """The verdict, the guilty lines, what else it may be; then the table of arrays, then the notes."""
        first, *others = f"{self.verdict}: {self.message}".removesuffix(": ").split("\n")
        lines = [first + self._seen(), *self._blamed(), *others, *self._further()]
        if self.arrays:
            table = [HEAD, *self._rows()]
            widths = [max(len(line[i]) for line in table) for i in range(len(HEAD))]
            lines += [
                "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
                for line in table
            ]
        return "\n".join([*lines, *self.notes])

    __repr__ = __str__  # what a REPL shows

    def _repr_html_(self) -> str:
        """The report for a notebook: verdict and sentence, guilty lines, other faults, table, notes."""
        first, *more = (self.message or "").split("\n")
        parts = [html.preformatted("\n".join(self._blamed()))] if self.lines else []
        parts += [html.paragraph(line) for line in (*more, *self._further())]
        parts += [html.table(HEAD, self._rows())] if self.arrays else []
        parts += [html.paragraph(note) for note in self.notes]
        return html.page(self.verdict, first + self._seen(), parts)

    def _blamed(self) -> list[str]:
        return [text for line in self.lines for text in (line.where, *line.text())]

    def _seen(self) -> str:
        """How small a slip the method sees, beside the verdict."""
        known = self.method and self.resolution > 0
        return f" (judged by {self.method}, slips down to {self.resolution:.0e} seen)" if known else ""

    def _rows(self) -> list[Sequence[str]]:
        rows: list[Sequence[str]] = []
        for name, row in self.arrays.items():
            numbers = (row.value, row.truth, row.ratio, row.spread, row.cosine)
            place = ",".join(map(str, row.index)) or "–"
            cells = [_cell(v, known=i < 2 and bool(row.index)) for i, v in enumerate(numbers)]
            rows.append([name, "×".join(map(str, row.shape)) or "1", row.verdict, place, *cells])
        return rows

    def _further(self) -> list[str]:
        """The faults and their alternatives, where the message has not told them already."""
        if all(f"[{fault.kind}]" in self.message for fault in self.faults):
            return []
        lines = [f"{fault.kind}{_where(fault)}: {fault.evidence}" for fault in self.faults]
        for other in self.alternatives:
            lines.append("or: " + " and ".join(f"{f.kind}{_where(f)} ({f.detail})" for f in other))
        return lines

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dicts and lists."""
        return {
            "verdict": self.verdict,
            "message": self.message,
            "arrays": {name: asdict(row) for name, row in self.arrays.items()},
            "faults": [asdict(fault) for fault in self.faults],
            "alternatives": [[asdict(fault) for fault in other] for other in self.alternatives],
            "first_wrong": self.first_wrong,
            "notes": list(self.notes),
            "method": self.method,
            "runs": dict(self.runs),
            "lines": [asdict(line) for line in self.lines],
            "resolution": self.resolution,
        }

    def to_json(self) -> str:
        """One JSON object; numbers that are not finite are null."""
        return json.dumps(_finite(self.to_dict()), allow_nan=False, ensure_ascii=False)


def _cell(value: float, known: bool) -> str:
    """A number of the table; NaN is shown where it is the author's own."""
    return ("NaN" if known else "–") if math.isnan(value) else f"{value + 0.0:.6g}"


def _where(fault: Fault) -> str:
    return f" at layer {fault.layer}" if fault.layer else ""


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def length(v: Array) -> float:
    """‖v‖, also where its square underflows."""
    top = float(np.abs(v).max(initial=0.0))
    return top * float(np.linalg.norm(v / top)) if 0 < top < math.inf else top


def row(
    name: str, h: Array, t: Array, right: bool, undecided: bool = False, allowed: Array | None = None
) -> ArrayRow:
    """The comparison of one array in the author's shape; h may have another shape than t. `allowed`: how far
    each entry may be off; the worst is the one farthest beyond its own, else the one with the largest gap.
    """
    nan = math.nan
    if h.shape != t.shape and h.size == t.size and h.squeeze().shape == t.squeeze().shape:
        h = h.reshape(t.shape)
    if h.shape != t.shape:
        return ArrayRow(name, "wrong", h.shape, (), nan, nan, nan, nan, nan, nan)
    gap = np.abs(h - t)
    if allowed is not None:
        with np.errstate(all="ignore"):
            gap = np.where(gap > 0, gap / allowed, 0.0) if np.isfinite(gap).all() else gap
    index = (
        np.unravel_index(int(np.argmax(np.where(np.isnan(gap), np.inf, gap))), gap.shape) if gap.size else ()
    )
    norm_h, norm_t = length(h), length(t)
    ratio = spread = cosine = nan
    if norm_t > 0:
        unit_t, share = t / norm_t, h / norm_t  # of length 1: the square of 1e-200 is 0
        ratio = float((share * unit_t).sum())
        big = np.abs(unit_t) > 1e-6 * np.abs(unit_t).max()
        spread = float(np.max(np.abs(share[big] / unit_t[big] - ratio), initial=0.0))
        beside = float(np.abs(share[~big]).max(initial=0.0))  # where the true gradient is 0, no factor of it
        if beside > 1.000001e-6 * abs(ratio) * float(np.abs(unit_t).max()):
            spread = math.inf
        cosine = ratio / (norm_h / norm_t) if norm_h > 0 else nan
    relative = length(h - t) / norm_t if norm_t else (0.0 if norm_h == 0 else math.inf)
    place = tuple(int(i) for i in index)
    if right:
        verdict = "right"
    elif undecided:
        verdict = "not_comparable"
    elif norm_h == 0:
        verdict = "zero"
    elif norm_t and abs(ratio - 1) >= 1e-6 and spread <= 1e-6 * abs(ratio):
        verdict = "scaled"
    else:
        verdict = "wrong"
    return ArrayRow(
        name, verdict, h.shape, place, float(h[place]), float(t[place]), ratio, spread, cosine, relative
    )


def sentence(names: Sequence[str]) -> str:
    """dW1, dW2 and db2."""
    marked = [f"gradient[{name}]" if name.isdigit() else f"d{name}" for name in names]
    return marked[0] if len(marked) == 1 else ", ".join(marked[:-1]) + " and " + marked[-1] if marked else ""
