"""A step's page: its text, tables and slips as HTML, its figure inside, its network to click on."""

import base64
import tempfile
from collections.abc import Callable, Collection, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from mlp_torch.errors import UnwritableError
from mlp_torch.explanation.page.document import fitting, page
from mlp_torch.explanation.page.document import resource as of_explanation
from mlp_torch.files import replace
from mlp_torch.lecture.drawing import save
from mlp_torch.lecture.html.networks import EXPLAINED
from mlp_torch.lecture.page import Page, Slip, Table
from mlp_torch.lecture.steps import STEPS, LectureStep
from mlp_torch.lecture.walk import Walk

KINDS = {"svg": "svg+xml", "png": "png"}
LARGEST = 200_000  # bytes of a figure that is drawn in lines; a larger one is drawn in dots


class Pages:
    """A folder that is filled step by step; the index has the steps that are there."""

    def __init__(self, folder: Path, steps: Sequence[LectureStep], walk: Walk) -> None:
        self.folder, self.walk = folder, walk
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnwritableError(
                folder, error, "--html {path}: no folder can be made there ({why})"
            ) from None
        self.there = {s.name for s in STEPS if s in steps or (folder / f"{s.name}.html").is_file()}

    def add(self, step: LectureStep, said: Page) -> Path:
        """Write a step's page. Raises UserError where it cannot be written."""
        values = {
            "links": links(step, self.there),
            "number": str(STEPS.index(step) + 1),
            "title": escape(step.title),
            "slides": escape(" · ".join(step.slides)),
            "blocks": "\n".join(map(block, said.blocks)),
            "figure": "" if said.draw is None else figure(said.draw),
            "explanation": "",
        }
        data = None
        if step.name in EXPLAINED:
            e = EXPLAINED[step.name](self.walk)
            data = fitting(e.moments, e.subject, e.current, e.note)
            values["explanation"] = of_explanation("explanation.html")
        body = Template(resource("step.html")).substitute(values)
        return self._write(step.name, page(step.title, body, data, resource("step.css")))

    def index(self, command: str) -> Path:
        """Write index.html, with the line that made the pages."""
        rows = [
            f'<li value="{i}"><a href="{s.name}.html">{escape(s.title)}</a></li>'
            for i, s in enumerate(STEPS, start=1)
            if s.name in self.there
        ]
        body = Template(resource("index.html")).substitute(steps="\n".join(rows), command=escape(command))
        return self._write("index", page("The lecture, in ten steps", body, None, resource("step.css")))

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / f"{name}.html"
        try:
            replace(path, text.encode())
        except OSError as error:
            raise UnwritableError(path, error, "--html {path}: cannot be written ({why})") from None
        return path


def resource(name: str) -> str:
    """A file of this room."""
    return files("mlp_torch.lecture.html").joinpath(name).read_text(encoding="utf-8")


def links(step: LectureStep, there: Collection[str]) -> str:
    """To the steps before and after, where they are there, and to the index."""
    i = STEPS.index(step)
    found = ["<span></span>", '<a href="index.html">all steps</a>', "<span></span>"]
    if i > 0 and STEPS[i - 1].name in there:
        before = STEPS[i - 1]
        found[0] = f'<a rel="prev" href="{before.name}.html">← {i} {escape(before.title)}</a>'
    if i + 1 < len(STEPS) and STEPS[i + 1].name in there:
        after = STEPS[i + 1]
        found[2] = f'<a rel="next" href="{after.name}.html">{i + 2} {escape(after.title)} →</a>'
    return f'<nav aria-label="Steps">{"".join(found)}</nav>'


def block(said: str | Table | Slip) -> str:
    """A paragraph, a table or a slip."""
    if isinstance(said, Table):
        return table(said)
    return slip(said) if isinstance(said, Slip) else f"<p>{escape(said)}</p>"


def table(said: Table) -> str:
    """With its title as caption; numbers stand to the right."""
    kinds = [' class="n"' if numeric else "" for numeric in said.numeric]
    head = "".join(f'<th scope="col"{k}>{escape(c)}</th>' for c, k in zip(said.columns, kinds, strict=True))
    rows = []
    for first, *rest in said.rows:
        cells = "".join(f"<td{k}>{escape(c)}</td>" for c, k in zip(rest, kinds[1:], strict=True))
        rows.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    body = (
        f"<caption>{escape(said.title)}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    )
    return f'<div class="wide"><table>{body}</table></div>'


def slip(said: Slip) -> str:
    """What the slide says beside what is right, and the proof."""
    return (
        f'<section class="slip"><h2>A slip, on the slide “{escape(said.slide)}”</h2><div>'
        f'<div class="before"><h3>✗ The slide says</h3><p>{escape(said.says)}</p></div>'
        f'<div class="after"><h3>✓ Right</h3><p>{escape(said.right)}</p></div></div>'
        f"<p><strong>Proof:</strong> {escape(said.proof)}</p></section>"
    )


def figure(draw: Callable[[Any], None]) -> str:
    """The step's figure inside the page, its panels' titles and axes as the text in its place."""
    words: list[str] = []

    def described(drawn: Any) -> None:
        draw(drawn)
        words.extend(
            f"{axes.get_title() or 'panel'} ({axes.get_xlabel()}; {axes.get_ylabel()})"
            for axes in drawn.axes
            if axes.get_title() or axes.get_xlabel()
        )

    with tempfile.TemporaryDirectory() as folder:
        for kind in ("svg", "png"):
            path = Path(folder) / f"figure.{kind}"
            words.clear()
            save(described, path)
            content = path.read_bytes()
            if len(content) <= LARGEST:
                break
    alternative = escape("Figure: " + "; ".join(" ".join(w.split()) for w in words), quote=True)
    source = f"data:image/{KINDS[kind]};base64,{base64.b64encode(content).decode()}"
    return f'<figure class="figure"><img alt="{alternative}" src="{source}"></figure>'
