"""What the benchmark leaves: the README's parts between their markers, and the raw numbers as JSON."""

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


def place(text: str, part: str, name: str = "training") -> str:
    """`text` with what stands between the markers of that name replaced by `part`.

    Raises ValueError where the markers are not there once each, in this order.
    """
    begin, end = f"<!-- benchmark:{name} -->", f"<!-- /benchmark:{name} -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"the README needs {begin} and, after it, {end}, once each")
    before, rest = text.split(begin)
    return f"{before}{begin}\n\n{part.strip()}\n\n{end}{rest.split(end)[1]}"


def dump(results: Results, caption: str) -> str:
    """Every run as JSON."""
    raw = {p: {name: asdict(m) for name, m in measured.items()} for p, measured in results.items()}
    return json.dumps({"caption": caption, "results": raw}, indent=1)


def load(text: str) -> tuple[Results, str]:
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
    return results, raw["caption"]
