"""What the check says: verdict, one row an array, the faults with their evidence, a teacher's sentence."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from manual.numbers import Array

VERDICTS = ("right", "scaled", "other_loss", "wrong", "not_comparable")


@dataclass(frozen=True)
class Fault:
    """One named mistake: a word of `KINDS`, the layer (from 1; None: several), the arrays it reaches."""

    kind: str
    layer: int | None
    arrays: tuple[str, ...]
    detail: str
    evidence: str


@dataclass(frozen=True)
class ArrayRow:
    """One array: its verdict, the worst entry with both values, ratio hand/true and its spread, the cosine.

    `ratio` is the projection h·t/t·t; `spread` the largest deviation of an entry's ratio from it, both NaN
    where the true gradient is zero; `relative` is ‖h − t‖/‖t‖.
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


@dataclass(frozen=True)
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
    runs: Mapping[str, str] = field(default_factory=dict)
    resolution: float | None = None

    @property
    def passed(self) -> bool:
        return self.verdict == "right"

    def raise_if_wrong(self) -> None:
        """Raise AssertionError with the whole report unless the verdict is right."""
        if not self.passed:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        lines = [f"{self.verdict}: {self.message}" if self.message else self.verdict]
        if self.arrays:
            head = ("array", "shape", "verdict", "worst at", "yours", "true", "ratio", "± spread", "cosine")
            table: list[Sequence[str]] = [head]
            for name, row in self.arrays.items():
                numbers = (row.value, row.truth, row.ratio, row.spread, row.cosine)
                place = ",".join(map(str, row.index)) or "–"
                cells = ["–" if math.isnan(v) else f"{v:.6g}" for v in numbers]
                table.append([name, "×".join(map(str, row.shape)) or "1", row.verdict, place, *cells])
            widths = [max(len(line[i]) for line in table) for i in range(len(head))]
            lines += [
                "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
                for line in table
            ]
        for fault in self.faults:
            lines.append(f"{fault.kind}{_where(fault)}: {fault.evidence}")
        for other in self.alternatives:
            lines.append("or: " + " and ".join(f"{f.kind}{_where(f)} ({f.detail})" for f in other))
        lines += list(self.notes)
        return "\n".join(lines)

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
            "resolution": self.resolution,
        }

    def to_json(self) -> str:
        """One JSON object; numbers that are not finite are null."""
        return json.dumps(_finite(self.to_dict()), allow_nan=False, ensure_ascii=False)


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


def row(name: str, h: Array, t: Array, right: bool) -> ArrayRow:
    """The comparison of one array in the author's shape; h may have another shape than t."""
    nan = math.nan
    if h.shape != t.shape and h.size == t.size and h.squeeze().shape == t.squeeze().shape:
        h = h.reshape(t.shape)
    if h.shape != t.shape:
        return ArrayRow(name, "wrong", h.shape, (), nan, nan, nan, nan, nan, nan)
    gap = np.abs(h - t)
    index = (
        np.unravel_index(int(np.argmax(np.where(np.isnan(gap), np.inf, gap))), gap.shape) if gap.size else ()
    )
    norm_h, norm_t = float(np.linalg.norm(h)), float(np.linalg.norm(t))
    ratio = spread = cosine = nan
    if norm_t > 0:
        ratio = float((h * t).sum()) / norm_t**2
        big = np.abs(t) > 1e-6 * np.abs(t).max()
        spread = float(np.max(np.abs(h[big] / t[big] - ratio), initial=0.0))
        cosine = float((h * t).sum()) / (norm_h * norm_t) if norm_h > 0 else nan
    relative = float(np.linalg.norm(h - t)) / norm_t if norm_t else (0.0 if norm_h == 0 else math.inf)
    place = tuple(int(i) for i in index)
    if right:
        verdict = "right"
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
