"""What a report shows in a notebook: a sentence and tables, escaped, without scripts or colours of its own.

Text and lines take the page's colours, so that a dark theme and a light one show both.
"""

import base64
import struct
from collections.abc import Iterable, Sequence
from html import escape

CELL = "padding: 0.1em 0.6em; white-space: nowrap; text-align: "


def _row(cells: Iterable[object], tag: str) -> str:
    inner = "".join(
        f'<{tag} style="{CELL}{"right" if i else "left"}">{escape(str(cell))}</{tag}>'
        for i, cell in enumerate(cells)
    )
    return f"<tr>{inner}</tr>"


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A compact table; the first column is text, the others stand to the right. Every cell is escaped."""
    body = "".join(_row(row, "td") for row in rows)
    return f"<table><thead>{_row(head, 'th')}</thead><tbody>{body}</tbody></table>"


def paragraph(text: str) -> str:
    """A line of text, escaped."""
    return f"<p>{escape(text)}</p>"


def preformatted(text: str) -> str:
    """Lines of text as they stand, escaped."""
    return f'<pre style="font-family: monospace; white-space: pre; overflow-x: auto">{escape(text)}</pre>'


def image(png: bytes, words: str, scale: float = 1.0) -> str:
    """A picture, `scale` times as wide as its pixels where there is room; `words` say what it shows."""
    width = round(scale * struct.unpack(">I", png[16:20])[0])  # where a PNG has it
    data = base64.b64encode(png).decode("ascii")
    style = "max-width: 100%; height: auto; background: white"
    return f'<img alt="{escape(words)}" width="{width}" style="{style}" src="data:image/png;base64,{data}">'


def fold(title: str, part: str, *, unfolded: bool = False) -> str:
    """A part (HTML) under a title (text), which a click folds and unfolds without a script."""
    return f"<details{' open' * unfolded}><summary>{escape(title)}</summary>{part}</details>"


def page(verdict: str, sentence: str, parts: Iterable[str]) -> str:
    """The verdict and its sentence (text, escaped) first, then the parts (HTML, made by what is above)."""
    first = f"<p><strong>{escape(verdict)}</strong>: {escape(sentence)}</p>"
    return f'<div style="overflow-x: auto">{first}{"".join(parts)}</div>'
