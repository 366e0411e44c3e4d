"""One file out of page.html, page.css, the scripts and a scene: nothing in it is fetched from elsewhere."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from mlp_torch.explanation.page.chains import Moment, Subject
from mlp_torch.explanation.page.numbers import text
from mlp_torch.explanation.page.scene import Size, scene

LIMIT = 350_000  # bytes of numbers; the rest of the page is some 40 kB
SIZES = (
    Size(8, 1024, 1024),
    Size(8, 1024, 128),
    Size(6, 1024, 64),
    Size(6, 256, 32),
    Size(4, 256, 16),
    Size(2, 64, 16),
)
FEWEST = 8  # moments that a smaller drawing makes room for
SCRIPTS = ("parts.js", "drawing.js", "chain.js", "page.js")


def resource(name: str) -> str:
    """A file of this room."""
    return files("mlp_torch.explanation.page").joinpath(name).read_text(encoding="utf-8")


def page(title: str, body: str, data: Mapping[str, Any] | None = None, style: str = "") -> str:
    """A whole page: its title is text, its body HTML; with the script that shows the data, if there is any.

    `style` is added to page.css.

    The page's own policy allows this script alone, and nothing from the network.
    """
    hashes = "'none'"
    if data is not None:
        script = "\n".join(["'use strict';", BEGIN, *map(resource, SCRIPTS)])
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        hashes = f"'sha256-{digest}'"
        body += (
            f'\n<script type="application/json" id="data">{text(data)}</script>\n<script>{script}</script>'
        )
    values = {"hashes": hashes, "title": escape(title), "style": resource("page.css") + style, "body": body}
    return Template(resource("page.html")).substitute(values)


BEGIN = """const data = JSON.parse(document.getElementById("data").textContent);
const state = { chosen: data.open, moment: data.current };
"""


def fitting(moments: Sequence[Moment], subject: Subject, current: int, note: str = "") -> dict[str, Any]:
    """The scene of as many of the moments and as much of the network as the page's limit has room for.

    A large network is cut to fewer units a layer before moments are left out; the page says what it has not.
    """
    for size in SIZES:
        two = [current, 0 if current else -1][: len(moments)]  # the current moment has more numbers
        found = scene([moments[i] for i in two], subject, 0, size)
        bytes_ = len(text(found).encode())
        one = len(text(found["moments"][-1]).encode())
        room = max((LIMIT - bytes_) // one, 0) + len(two)
        if bytes_ <= LIMIT and room >= min(len(moments), FEWEST):
            break
    kept = spread(len(moments), room, current)
    while len(moments) > 1:
        found = scene([moments[i] for i in kept], subject, kept.index(current), size)
        if len(text(found).encode()) <= LIMIT or len(kept) == 1:
            break
        kept = spread(len(moments), len(kept) - 1, current)
    if len(kept) < len(moments):
        note += f"; {len(kept)} of them are in this page"
    return found | {"note": note, "omitted": omitted(found)}


def spread(count: int, most: int, current: int) -> list[int]:
    """At most `most` of so many indices, evenly spaced, `current` among them."""
    if most < 3:
        return [current]
    room = min(count, most - 1)
    return sorted({round(i * (count - 1) / max(room - 1, 1)) for i in range(room)} | {current})


def omitted(found: Mapping[str, Any]) -> str:
    """What the page has not, and how it is had."""
    cut = [c for c in found["columns"] if c["size"] > len(c["units"])]
    if not cut:
        return ""
    layers = ", ".join(f"{len(c['units'])} of {c['size']:,} of {c['name']}" for c in cut)
    return (
        f"The units of largest gradient are drawn: {layers}. {found['embedded']:,} of "
        f"{found['parameters']:,} parameters have their chain in this page; any other is had by "
        "mlp explain --parameter 'layers.0.weight[2,0]' with the same flags, and by --html a page of it."
    )
