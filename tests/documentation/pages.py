"""What the README of every folder holds: its links, its headings' anchors, its blocks and commands."""

import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = ("mlp", "python", "torchrun", "jupyter")


def pages() -> list[Path]:
    """Every README.md of the checkout, and what stands beside them to be read."""
    done = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False)
    listed = [ROOT / name for name in done.stdout.splitlines()]
    folders = ("manual", "mlp_torch", "tests", "runs", ".github")  # no git: an unpacked sdist
    found = listed or [ROOT / "README.md", *(p for f in folders for p in (ROOT / f).rglob("*.md"))]
    return sorted(path for path in found if path.exists())


def prose(text: str) -> str:
    """The text without its fenced blocks and without code."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def links(text: str) -> list[str]:
    """The targets of all links and pictures."""
    return re.findall(r"\]\(([^()\s]+)\)", prose(text))


def anchors(text: str) -> set[str]:
    """What `#…` may name: the headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path, text: str) -> list[str]:
    """The links of a page at this place that lead nowhere, each with what is missing."""
    found = []
    for link in links(text):
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists():
            found.append(f"{link}: there is no {target}")
        elif anchor and target.suffix == ".md":
            there = anchors(text if target == page else target.read_text(encoding="utf-8"))
            if anchor not in there:
                found.append(f"{link}: no heading of {target.name} is {anchor}; there are {sorted(there)}")
        elif anchor and not re.fullmatch(r"L\d+", anchor):
            found.append(f"{link}: a line of a file is #L and its number")
    return found


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language; "" is a block without one."""
    return [body for kind, body in FENCE.findall(text) if kind == language]


@dataclass(frozen=True)
class Typed:
    """One command as it is typed: its words, without assignments before it.

    `whole`: nothing was left out; a sentence may name a command alone, or one of its flags.
    """

    words: tuple[str, ...]
    whole: bool = True

    def __str__(self) -> str:
        return shlex.join(self.words)


def _split(line: str, in_block: bool) -> Iterator[Typed]:
    for part in re.split(r"\s(?:&&|\|)\s", line.removeprefix("$ ")):
        try:
            words = shlex.split(part, comments=True)
        except ValueError:  # a sentence with an apostrophe
            continue
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        said = tuple(word for word in words if word != "…")
        if len(said) < 2 or said[0] not in PROGRAMS:
            continue
        named = len(said) == 2 or said[-1].startswith("--")
        yield Typed(said, whole=len(said) == len(words) and (in_block or not named))


def commands(text: str) -> list[Typed]:
    """Every command: the lines of blocks, and code within sentences that begins with a program's name."""
    shown = [line for body in blocks(text, "") for line in body.splitlines()]
    inline = re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    found = [typed for line in shown for typed in _split(line, in_block=True)]
    found += [typed for code in inline for typed in _split(code, in_block=False)]
    return list(dict.fromkeys(found))


def rows(text: str, header: str) -> list[list[str]]:
    """The cells of the table that begins with that header line, row by row. Raises LookupError without it."""
    _, there, rest = text.partition(f"{header}\n")
    if not there:
        raise LookupError(f"no table begins with {header}")
    table = rest.partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table]


def codes(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def words_of(cells: Iterable[str]) -> list[str]:
    """The flags that cells name, each without its value."""
    return [code.split()[0] for cell in cells for code in codes(cell) if code.startswith("--")]
