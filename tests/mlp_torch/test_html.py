"""HTML for notebooks: escaped, without scripts, in whatever colours the page has."""

import re
from html.parser import HTMLParser

import pytest

from mlp_torch import html

EVIL = '<script>alert(1)</script><img src=x onerror="alert(2)">&amp;\'"'


class Reader(HTMLParser):
    """The text and the tags of a page; raises where tags are not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.append(tag)
        assert {name for name, _ in attrs} <= {"style", "open"}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


PAGES = {
    "table": html.table([EVIL, "b"], [[EVIL, 1.5], ["c", EVIL]]),
    "paragraph": html.paragraph(EVIL),
    "fold": html.fold(EVIL, html.paragraph(EVIL), unfolded=True),
    "page": html.page(EVIL, EVIL, [html.paragraph(EVIL)]),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_string_that_would_be_markup_stays_text(name: str) -> None:
    read = Reader(PAGES[name])
    assert EVIL in read.texts
    assert not {"script", "img"} & set(read.tags)
    assert not re.search(r"<script|<img|javascript:", PAGES[name])


@pytest.mark.parametrize("name", PAGES)
def test_no_colour_is_fixed_so_that_dark_and_light_themes_show_it(name: str) -> None:
    assert not re.search(r"color|background|#[0-9a-f]{3}", PAGES[name].replace(html.escape(EVIL), ""))


def test_a_table_has_a_cell_for_every_entry_in_its_order() -> None:
    read = Reader(html.table(["name", "n"], [["a", 1], ["b", 2]]))
    assert read.texts == ["name", "n", "a", "1", "b", "2"]
    assert read.tags == ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td", "tr", "td", "td"]


def test_a_page_says_the_verdict_and_its_sentence_first() -> None:
    read = Reader(html.page("wrong", "dW1 has another sign", [html.table(["x"], [["y"]])]))
    assert "".join(read.texts).startswith("wrong: dW1 has another sign")
    assert read.tags.index("strong") < read.tags.index("table")


def test_a_part_is_folded_unless_asked() -> None:
    assert "open" not in html.fold("stages", "")
    assert html.fold("stages", "", unfolded=True).startswith("<details open>")
