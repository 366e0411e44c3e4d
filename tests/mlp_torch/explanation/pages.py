"""A page of `mlp explain --html`: written, read back, opened, and looked at for what overlaps."""

import json
import re
from contextlib import contextmanager

from mlp_torch.__main__ import main, parse
from mlp_torch.explanation.choice import choose
from mlp_torch.explanation.source import source, traces
from tests.browser import opened

XOR = "--data xor --hidden 3 --activation tanh --sample 1"
PARTS = "--data iris --hidden 4 3 --activation prelu --normalization batch_norm --dropout 0.2"
LARGEST = 500_000  # bytes of a whole page


def written(folder, flags, code=0):
    """The page of these flags."""
    path = folder / "page.html"
    assert main(["explain", *flags.split(), "--html", str(path)]) == code
    return path


def embedded(path):
    """The table of numbers inside a page."""
    return json.loads(re.search(r'id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.S)[1])


def found(flags):
    """The trace by hand and autograd's, of the same flags."""
    config = parse(["explain", *flags.split()])
    config.check()
    return traces(choose(source(config)).found)


@contextmanager
def shown(browser, path, width=1500, height=1000, scheme="light"):
    """The page in the browser; fails if it says an error or asks for anything but itself."""
    with opened(browser, width, height) as (page, errors):
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.emulate_media(color_scheme=scheme)
        page.goto(path.as_uri())
        yield page
        assert errors == []
        assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]


def values(page, selector):
    """Every number inside, with all its digits."""
    return [float(v) for v in page.eval_on_selector_all(f"{selector} data", "all => all.map((d) => d.value)")]


OVERLAPS = """() => [...document.querySelectorAll("figure svg")].flatMap((svg) => {
  const texts = [...svg.querySelectorAll("text")].map((t) => [t.textContent, t.getBoundingClientRect()]);
  const apart = (a, b) => a.right - 1 <= b.left || a.bottom - 3 <= b.top;
  const over = ([, a], [, b]) => !apart(a, b) && !apart(b, a);
  return texts.flatMap((t, i) => texts.slice(i + 1).filter((u) => over(t, u)).map((u) => [t[0], u[0]]));
})"""
OUTSIDE = """() => [...document.querySelectorAll("figure svg")].flatMap((svg) => {
  const s = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter((t) => {
    const r = t.getBoundingClientRect();
    return r.left < s.left || r.right > s.right || r.top < s.top || r.bottom > s.bottom;
  }).map((t) => t.textContent);
})"""
UNITS_CUT = """() => [...document.querySelectorAll("figure .unit")].filter((g) => {
  const box = g.querySelector("rect").getBoundingClientRect();
  return g.querySelector("text").getBoundingClientRect().width > box.width;
}).map((g) => g.dataset.id)"""
