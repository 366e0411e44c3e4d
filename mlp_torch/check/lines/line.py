"""GuiltyLine: what is said of a line of the author's; the lines that mend as a patch, shown or written."""

import difflib
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mlp_torch.errors import UserError
from mlp_torch.notebook import cells

KEPT = ".orig"


@dataclass(frozen=True)
class GuiltyLine:
    """A line of the author's whose repair makes gradients right.

    `file`, `line` (from 1), `column` (from 0), `function`, `code`: the author's line, or all lines that
    `mended` replaces. `stands_for`: the forward quantity whose gradient it should be, with the line that
    defines it. `explanation`: what is wrong with it. `arrays`: the gradients that it spoils. `proof`: with
    the true gradient (or the line `mended`) in its place, all of these came out right on every draw of the
    data. `mended`: the line that makes them right, or None. `alternatives`: other lines that mend as well.
    `resolution`: relative, what "right" means where the truth is by differences; 0 where it is torch's.
    """

    file: str
    line: int
    column: int
    function: str
    code: str
    stands_for: str
    explanation: str
    arrays: tuple[str, ...]
    proof: bool
    mended: str | None = None
    alternatives: tuple["GuiltyLine", ...] = ()
    end: int = field(default=0, compare=False)
    draws: int = field(default=2, compare=False)
    resolution: float = 0.0
    mark: str = field(default="d", compare=False)  # what stands before an array's name: of its gradient
    joint: bool = False  # whether that takes the other lines mended, too
    kernel: str = ""  # which output of which call, where it is the kernel that is to blame

    @property
    def where(self) -> str:
        return f"{cells.name(self.file)}:{self.line} in {self.function}"

    def by_differences(self, resolution: float) -> "GuiltyLine":
        """The same, with how exactly its proof is known."""
        others = tuple(a.by_differences(resolution) for a in self.alternatives)
        return replace(self, resolution=resolution, alternatives=others)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def text(self, others: bool = True) -> list[str]:
        """The line as a compiler shows it, its mark, its proof, and the line that mends it."""
        number = f"{self.line:>5} | "
        code = next(iter(self.code.splitlines()), "").rstrip()
        lines = [number + code.replace("\t", " ")]
        marks = "^" * max(1, min(self.end, len(code)) - self.column)
        here = (
            ""
            if self.mended is not None or self.kernel
            else "here, or where what it is made from comes from: "
        )
        left = " " * (len(number) - 2) + "| " + " " * self.column
        lines.append(f"{left}{marks} {here}{self.explanation}".rstrip(": "))
        if self.proof:
            count = {1: "one draw", 2: "two draws", 3: "three draws"}.get(self.draws, f"{self.draws} draws")
            names = _names(self.arrays, self.mark)
            verb = "is" if len(self.arrays) == 1 else "are"
            how = f"with {self.stands_for} in its place" if self.stands_for else "with the line below"
            how += " and the other lines mended" if self.joint else ""
            known = f"; by differences, resolution {self.resolution:.1g}" if self.resolution else ""
            lines.append(f"  {how}, {names} {verb} right ({count} of the data{known})")
        if self.mended is not None:
            shown = [part.strip() for part in self.mended.splitlines()]
            lines.append("  mends it:  " + shown[0])
            lines += [" " * 13 + part for part in shown[1:]]
        if others:
            for other in self.alternatives:
                mended = f", as {other.mended.strip()}" if other.mended else ""
                if other.mended and other.code in other.mended.split("\n"):  # beside it, one is missing
                    mended = f" ({other.explanation})"
                lines.append(f"  or {other.where}: {other.code.strip()}{mended}")
        return lines


def _names(arrays: tuple[str, ...], mark: str) -> str:
    names = [f"{mark}{a}" for a in arrays]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def patched(lines: Sequence[GuiltyLine]) -> dict[str, tuple[list[str], list[str]]]:
    """(lines before, lines after) of every file that a mended line is in."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for line in sorted(lines, key=lambda g: (g.file, -g.line)):
        if line.mended is None:
            continue
        if line.file not in found:
            text = Path(line.file).read_text(encoding="utf-8").splitlines(keepends=True)
            found[line.file] = text, list(text)
        after = found[line.file][1]
        count = len(line.code.splitlines())
        after[line.line - 1 : line.line - 1 + count] = [f"{part}\n" for part in line.mended.splitlines()]
    return found


def diff(lines: Sequence[GuiltyLine]) -> str:
    """The unified diff of all mended lines; empty where none is."""
    return "".join(
        part
        for file, (before, after) in patched(lines).items()
        for part in difflib.unified_diff(before, after, file, file)
    )


def write(lines: Sequence[GuiltyLine]) -> list[str]:
    """Apply them; the names of the files written. The original stays beside each as FILE.orig.

    Raises UserError where a file cannot be written; what was not written is as it was.
    """
    written = []
    for file, (before, after) in patched(lines).items():
        try:
            _replace(file + KEPT, "".join(before))
            _replace(file, "".join(after))
        except OSError as error:
            raise UserError(f"{file}: cannot be written ({error.strerror}); the diff is in --fix") from None
        written.append(file)
    return written


def _replace(file: str, text: str) -> None:
    """Write a file whole or not at all."""
    folder = Path(file).resolve().parent
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=folder, delete=False) as out:
        out.write(text)
    mode = Path(file).stat().st_mode if Path(file).exists() else 0o644
    Path(out.name).chmod(mode & 0o777)
    Path(out.name).replace(file)
