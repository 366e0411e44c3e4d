"""What the benchmark leaves: a page's parts between their markers, and the raw numbers as JSON."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from race.rounds import Measured, Results, Run


def replace(path: Path, text: str) -> None:
    """Write a file whole: beside it first, then into its place."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def place(text: str, part: str, name: str) -> str:
    """`text` with what stands between the markers of `name` replaced by `part`.

    The name is a table's and a processor's, "training Intel". Where that processor has no markers yet, they
    come after the last ones of the table. Raises ValueError where markers are not there once each, in order.
    """
    begin, end = f"<!-- benchmark:{name} -->", f"<!-- /benchmark:{name} -->"
    if begin not in text and end not in text:
        last = f"<!-- /benchmark:{name.partition(' ')[0]} "
        before, found, rest = text.rpartition(last)
        if not found:
            raise ValueError(f"the page needs {begin} and, after it, {end}, or those of another processor")
        kind, close, after = rest.partition(" -->")
        text = f"{before}{last}{kind}{close}\n\n{begin}{end}{after}"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"the page needs {begin} and, after it, {end}, once each")
    before, rest = text.split(begin)
    return f"{before}{begin}\n\n{part.strip()}\n\n{end}{rest.split(end)[1]}"


def dump(results: Results, caption: str, kind: str) -> str:
    """Every run as JSON, with the caption and the kind of processor."""
    raw = {p: {name: asdict(m) for name, m in measured.items()} for p, measured in results.items()}
    return json.dumps({"kind": kind, "caption": caption, "results": raw}, indent=1)


def load(text: str) -> tuple[Results, str, str]:
    """What `dump` wrote."""

    def run(raw: dict[str, Any] | None) -> Run | None:
        return Run(**raw) if raw else None

    raw = json.loads(text)
    results = {
        p: {
            name: Measured(
                m["startup"],
                run(m["first"]),
                {int(r): Run(**one) for r, one in m["rounds"].items()},
                m["missing"],
            )
            for name, m in measured.items()
        }
        for p, measured in raw["results"].items()
    }
    return results, raw["caption"], raw["kind"]
