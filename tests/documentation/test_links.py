"""Every page can be walked: no link leads nowhere, and the first page is short."""

import pytest

from tests.documentation.pages import ROOT, anchors, broken, links, pages

NAMES = [path.relative_to(ROOT).as_posix() for path in pages()]


@pytest.mark.parametrize("name", NAMES)
def test_every_link_of_a_page_leads_somewhere(name):
    page = ROOT / name
    assert broken(page, page.read_text(encoding="utf-8")) == []


def test_the_readme_has_at_most_a_hundred_and_fifty_lines():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_from_the_readme_every_other_page_is_reached():
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        named = [link.partition("#")[0] for link in links(page.read_text(encoding="utf-8"))]
        ahead += [(page.parent / name).resolve() for name in named if name and "://" not in name]
    assert [name for name in NAMES if ROOT / name not in reached] == []


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("[a](gone.md)", "there is no"),
        ("![a](figures/gone.png)", "there is no"),
        ("[a](manual/README.md#gone)", "no heading of README.md is gone"),
        ("[a](#gone)", "no heading of README.md is gone"),
        ("[a](manual/network.py#MLP)", "a line of a file"),
    ],
)
def test_a_link_that_leads_nowhere_is_seen(link, said):
    (found,) = broken(ROOT / "README.md", f"# Here\n\n{link}, and [right](manual/README.md#the-slides)\n")
    assert said in found


def test_a_heading_is_found_as_github_writes_it_and_a_comment_in_a_block_is_none():
    text = '## What "exactly" means here\n\n```\n# no heading\n```\n'
    assert anchors(text) == {"what-exactly-means-here"}
    assert links("`[a](b)` and [c](d)\n\n```\n[e](f)\n```\n") == ["d"]
