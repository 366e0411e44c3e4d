"""The page's looks: nothing overlaps or is cut off, both schemes are readable, and it asks for nothing."""

import re
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

from mlp_torch.__main__ import main
from mlp_torch.explanation.page.chains import Moment, Subject
from mlp_torch.explanation.page.document import LIMIT, fitting
from mlp_torch.explanation.page.numbers import text
from mlp_torch.model import to_torch
from mlp_torch.trace import trace
from tests.mlp_torch.explanation.pages import (
    LARGEST,
    OUTSIDE,
    OVERLAPS,
    PARTS,
    UNITS_CUT,
    XOR,
    embedded,
    found,
    shown,
    written,
)
from tests.problems import Problem


@pytest.mark.parametrize("flags", [XOR, PARTS, ""], ids=["small", "batch_norm", "digits"])
def test_nothing_overlaps_or_is_cut_off_from_a_phone_to_a_projector(browser, tmp_path, flags):
    path = written(tmp_path, flags)
    assert path.stat().st_size < LARGEST
    with shown(browser, path) as page:
        for width in (375, 800, 1500):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(50)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(OVERLAPS) == []
            assert page.evaluate(OUTSIDE) == []
            assert page.evaluate(UNITS_CUT) == []


def test_the_page_is_dark_where_the_reader_wants_it_never_on_paper_and_readable_in_both(browser, xor):
    papers = []
    with shown(browser, xor) as page:
        for scheme, media in (("light", "screen"), ("dark", "screen"), ("dark", "print")):
            page.emulate_media(color_scheme=scheme, media=media)
            papers.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert papers == ["rgb(255, 255, 255)", "rgb(22, 24, 28)", "rgb(255, 255, 255)"]
    css = files("mlp_torch.explanation.page").joinpath("page.css").read_text(encoding="utf-8")
    schemes = re.findall(r":root \{(.*?)\}", css, re.S)[:2]
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        for ink in ("ink", "soft", "positive", "negative", "own", "focus", "good", "doubt", "bad"):
            for paper in ("paper", "panel"):
                assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)


def contrast(a, b):
    """WCAG's ratio of two colours."""

    def luminance(colour):
        parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_a_large_network_is_cut_to_its_largest_units_and_the_page_says_so(browser, tmp_path):
    path = written(tmp_path, "")
    with shown(browser, path) as page:
        said = page.locator("#omitted").text_content()
        assert "8 of 128 of a1" in said
        assert "of 17,226 parameters" in said
        assert "mlp explain --parameter" in said
        assert page.locator("#forward text", has_text="… 120 more").count() == 1
    table = embedded(path)
    ours, _ = found("")
    units = set(table["columns"][2]["units"])
    largest = np.argsort(-np.abs(ours["dz2"][0]))[:8]
    assert set(largest.tolist()) <= units
    assert table["open"] == "W1[" + table["open"].partition("[")[2]
    assert any(c["id"] == table["open"] for c in table["chains"])


def test_many_moments_of_a_large_network_stay_within_the_limit():
    problem = Problem(2, (40, 60, 30, 10), seed=1)
    x, y = problem.batch("cross_entropy", np.float64)
    moments = []
    for seed in range(12):
        model = replace(problem, seed=seed).model(np.float64)
        moments.append(
            Moment(
                f"epoch {seed}",
                model.trace(x, y, "cross_entropy"),
                trace(to_torch(model), x, y, "cross_entropy"),
            )
        )
    table = fitting(moments, Subject("t", entry=("layers.0.weight", (3, 4))), 5, "12 epochs")
    assert len(text(table).encode()) <= LIMIT
    assert table["moments"][table["current"]]["label"] == "epoch 5"
    assert 4 <= len(table["moments"]) < 12
    assert table["note"].endswith("of them are in this page")


def test_a_column_named_like_markup_stays_a_name(browser, tmp_path):
    evil = "<img src=x onerror=document.title='taken'></script><b>"
    rows = "\n".join(f"{i},{i * i % 7},{i % 2}" for i in range(40))
    (tmp_path / "t.csv").write_text(f"{evil},other,class\n{rows}\n")
    path = written(tmp_path, f"--data {tmp_path / 't.csv'} --target class --hidden 3")
    with shown(browser, path) as page:
        assert page.locator("img").count() == 0
        assert page.title().startswith("∂L/∂W1[")
        page.locator('#forward [data-id="x[0]"]').dispatch_event("click")
        assert evil in page.locator('#forward [data-id="x[0]"]').get_attribute("aria-label")
        assert page.locator("main b:not([class])").count() == 0


def test_the_page_may_run_its_own_script_and_load_nothing(xor):
    text_ = xor.read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text_)[1]
    assert policy.startswith("default-src 'none'; ")
    assert re.search(r"script-src 'sha256-[\w+/=]+'$", policy)
    assert not re.search(r"(src|href)=\"(?!data:)", text_)
    for name in (
        "page.html",
        "page.css",
        "explanation.html",
        "parts.js",
        "drawing.js",
        "chain.js",
        "page.js",
    ):
        assert files("mlp_torch.explanation.page").joinpath(name).is_file()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--html a.txt", "--html a.txt: the name must end in .html"),
        ("--html no/where/a.html", "there is no folder no/where"),
        ("--html {folder}/a.html", "cannot be written"),
    ],
)
def test_a_page_that_cannot_be_written_is_one_line(flags, says, tmp_path, capfd):
    (tmp_path / "a.html").mkdir()
    flags = flags.replace("{folder}", str(tmp_path))
    capfd.readouterr()
    assert main(["explain", *XOR.split(), *flags.split()]) == 2
    assert says in capfd.readouterr().err
