"""The lines that mend as a patch: a unified diff, or written into the file, the original kept beside it."""

import difflib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mlp_torch.check.lines.line import GuiltyLine
from mlp_torch.errors import UserError

KEPT = ".orig"


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
