"""`mlp explain --html`: a click shows what the trace holds, by mouse, by keyboard, by screen reader."""

import re
from itertools import pairwise

import numpy as np
import pytest

from tests.mlp_torch.explanation.pages import XOR, embedded, found, shown, values


def test_a_click_on_a_weight_shows_its_chain_and_both_engines_gradient(browser, xor):
    ours, theirs = found(XOR)
    with shown(browser, xor) as page:
        page.locator('#forward [data-id="W1[2,1]"]').dispatch_event("click")
        assert page.locator("#chain-title").text_content() == "∂L/∂W1[2,1]"
        assert values(page, "#gradient")[:2] == [ours["dW1"][2, 1], theirs["dW1"][2, 1]]
        stages = page.eval_on_selector_all("#answer li", "all => all.map((li) => li.dataset.stage)")
        assert stages == ["dloss", "dz2", "da1", "dz1", "dW1"]
        factors = [v for i in range(5) for v in values(page, f"#answer li >> nth={i} >> .factor")]
        assert np.prod(factors) == pytest.approx(ours["dW1"][2, 1], rel=1e-12)
        assert page.locator("#answer li.reused").count() == 2
        lines = page.locator("#answer li >> nth=3 >> code").all_text_contents()
        assert lines == ["a1 = tanh(z1)", "dz1 = da1 · f′(z1), f′ = 1 − a²"]


def test_the_mouse_reaches_a_line_a_unit_and_a_stage(browser, xor):
    with shown(browser, xor) as page:
        line = page.locator('#backward [data-id="W2[0,1]"] .hit')
        box = line.bounding_box()
        page.mouse.click(box["x"] + box["width"] * 0.3, box["y"] + box["height"] / 2)
        assert page.locator("#chain-title").text_content() == "∂L/∂W2[0,1]"
        page.click('#forward [data-id="a1[2]"]')
        assert page.locator("#chain-title").text_content() == "∂L/∂z1[2]"
        page.get_by_role("button", name="b1[2]").first.click()
        assert page.locator("#chain-title").text_content() == "∂L/∂b1[2]"
        page.click("#stages button[data-choose=dz1]")
        assert page.locator("#chain-title").text_content() == "Stage dz1, backward"


def test_the_keyboard_alone_reaches_every_weight_and_unit_and_the_answer_is_announced(browser, xor):
    table = embedded(xor)
    drawn = {c["id"] for c in table["chains"] if c["kind"] in ("weight", "unit")} | {"loss"}
    with shown(browser, xor) as page:
        page.keyboard.press("Tab")
        where = "document.activeElement.closest('svg').id + ' ' + document.activeElement.dataset.id"
        assert page.evaluate(where) == "forward W1[0,1]"  # the entry that the page opens with
        page.keyboard.press("Home")
        reached = set()
        for _ in range(6):  # x, W1, a1, W2, a2, the loss
            for _ in range(6):
                page.keyboard.press("ArrowUp")
            for _ in range(6):
                reached.add(page.evaluate("document.activeElement.dataset.id"))
                page.keyboard.press("ArrowDown")
            page.keyboard.press("ArrowRight")
        assert reached == drawn
        page.keyboard.press("Home")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        assert page.locator("#chain-title").text_content() == "∂L/∂x[1]"
        assert page.evaluate("document.activeElement.dataset.id") == "x[1]"
        assert page.locator("#said").text_content().startswith("∂L/∂x[1]")
        assert page.locator("#said").get_attribute("aria-live") == "polite"
        outline = page.locator('#forward [data-id="x[1]"] rect').evaluate(
            "e => getComputedStyle(e).strokeWidth"
        )
        assert outline == "5px"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('svg').id") == "backward"


def test_a_screen_reader_finds_headings_in_order_a_name_everywhere_and_a_table_of_all_entries(browser, xor):
    with shown(browser, xor) as page:
        levels = page.eval_on_selector_all("h1,h2,h3,h4", "all => all.map((h) => Number(h.tagName[1]))")
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(b - a <= 1 for a, b in pairwise(levels))
        names = page.eval_on_selector_all(
            "[role=option],button", "all => all.map((e) => e.getAttribute('aria-label') || e.textContent)"
        )
        assert all(names)
        assert page.locator("html").get_attribute("lang") == "en"
        assert page.locator("[role=option][aria-selected=true]").count() == 2
        page.click("#entries summary")
        ours, theirs = found(XOR)
        for i, c in enumerate(c for c in embedded(xor)["chains"] if c["name"]):
            stage, index = re.fullmatch(r"(\w+)\[(.*)\]", c["id"]).groups()
            at = tuple(map(int, index.split(",")))
            row = values(page, f"#entries table >> nth=0 >> tr >> nth={i + 1} >> td")
            assert row == [ours[stage][at], ours[f"d{stage}"][at], theirs[f"d{stage}"][at]]
