"""`mlp lecture --html`: each step as a page that asks for nothing and explains its own network."""

import re
from html import unescape
from itertools import pairwise

import numpy as np
import pytest

from manual import MLP
from mlp_torch.__main__ import main
from mlp_torch.explanation.page.document import LIMIT
from mlp_torch.lecture import chain, smallest, xor
from mlp_torch.lecture.command import open_page
from mlp_torch.lecture.html.networks import EXPLAINED, four_parameters
from mlp_torch.lecture.html.pages import LARGEST, Pages, figure, slip, table
from mlp_torch.lecture.page import Page, Slip, Table
from mlp_torch.lecture.steps import STEPS
from mlp_torch.lecture.walk import Walk
from mlp_torch.verify.verdicts import compare_traces
from tests.mlp_torch.explanation.pages import OUTSIDE, OVERLAPS, embedded, shown, values

QUICK = Walk(seed=0, data="moons", seeds=2, effort=0.05)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The step `chain`, as the command writes it."""
    path = tmp_path_factory.mktemp("lecture")
    assert main(["lecture", "chain", "--html", str(path)]) == 0
    return path


def test_a_steps_page_shows_its_text_tables_slips_and_figure(browser, folder):
    said = open_page(next(s for s in STEPS if s.name == "chain"), Walk())
    with shown(browser, folder / "chain.html") as page:
        text = " ".join(page.locator("main").text_content().split())
        for block in said.blocks:
            if isinstance(block, Table):
                assert all(cell in text for row in block.rows for cell in row)
            elif isinstance(block, Slip):
                assert page.locator(".before p").text_content() == block.says
                assert page.locator(".after p").text_content() == block.right
                assert block.proof in text
            else:
                assert block in text
        assert page.evaluate("document.querySelector('img').naturalWidth") > 700
        assert "product so far" in page.locator("img").get_attribute("alt")


def test_the_steps_own_network_is_explained_beside_its_tables(browser, folder):
    by_hand = chain.NETWORK.gradients(*chain.SAMPLE)
    names = {"w1": "W1[0,0]", "b1": "b1[0]", "w2": "W2[0,0]", "w3": "W3[0,0]"}
    with shown(browser, folder / "chain.html") as page:
        for name, entry in names.items():
            page.locator("#entries summary").evaluate("e => { e.parentNode.open = true; }")
            page.locator(f'#entries button[data-choose="{entry}"]').click()
            assert values(page, "#gradient")[0] == pytest.approx(by_hand[name], rel=1e-12)
        assert page.locator('#entries button[data-choose="b2[0]"]').count() == 0  # the network has no b2


def test_a_page_of_one_step_is_readable_from_a_phone_to_a_projector_in_light_and_dark(browser, folder):
    for scheme in ("light", "dark"):
        with shown(browser, folder / "chain.html", scheme=scheme) as page:
            for width in (375, 800, 1500):
                page.set_viewport_size({"width": width, "height": 900})
                page.wait_for_timeout(50)
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                assert page.evaluate(OVERLAPS) == []
                assert page.evaluate(OUTSIDE) == []


# The share of each drawn line between two units that no number hides.
IN_SIGHT = """() => [...document.querySelectorAll("figure svg")].flatMap((svg) => {
  const boxes = (of) => [...svg.querySelectorAll(of)].map((e) => e.getBoundingClientRect());
  const pills = boxes(".unit rect"), numbers = boxes("text.number");
  return boxes("line.seen").map((line) => {
    const y = (line.top + line.bottom) / 2;
    const hides = (x) => (r) => r.left < x && x < r.right && r.top < y && y < r.bottom;
    const open = [...Array(400).keys()].map((i) => line.left + line.width * (i + 0.5) / 400)
      .filter((x) => !pills.some(hides(x)));
    return open.filter((x) => !numbers.some(hides(x))).length / open.length;
  });
})"""


def test_no_number_hides_the_line_that_it_belongs_to(browser, folder):
    with shown(browser, folder / "chain.html") as page:
        for width in (375, 800, 1500):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(50)
            found = page.evaluate(IN_SIGHT)
            assert len(found) == 6
            assert min(found) > 1 / 3


def test_links_lead_only_to_steps_that_are_there(folder, tmp_path):
    index = (folder / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'href="(?!data:)([^"]*)"', index) == ["chain.html"]
    assert "mlp lecture chain --html" in index
    (tmp_path / "losses.html").touch()
    pages = Pages(tmp_path, STEPS[4:6], QUICK)
    text = pages.add(STEPS[4], Page()).read_text(encoding="utf-8")
    assert re.findall(r'rel="(\w+)" href="([^"]*)"', text)[1:] == [
        ("prev", "losses.html"), ("next", "chain.html"), ("prev", "losses.html"), ("next", "chain.html"),
    ]  # fmt: skip
    assert 'href="index.html"' in text


@pytest.mark.parametrize("name", EXPLAINED)
def test_both_engines_agree_on_every_network_of_the_lecture(name):
    explained = EXPLAINED[name](QUICK)
    for moment in explained.moments:
        assert compare_traces(moment.ours, moment.theirs).verdict in ("exact", "certified"), moment.label
    assert 0 <= explained.current < len(explained.moments)


def test_the_networks_are_those_of_the_steps():
    x, y = chain.SAMPLE
    t = four_parameters().trace(np.array([[x]]), np.array([[y]]), "half_squared_error")
    forward = chain.NETWORK.forward(x, y)
    ours = [float(np.squeeze(t[name])) for name in ("z1", "a1", "z2", "a2", "z3", "a3", "loss")]
    assert ours == pytest.approx([forward[n] for n in ("a1", "f1", "a2", "f2", "a3", "f3", "L")], rel=1e-12)
    path = [float(m.ours["W1"][0, 0]) for m in EXPLAINED["smallest"](QUICK).moments]
    assert path == [float(w) for w in smallest.measure_smallest().two_passes[:-1]]
    (second,) = EXPLAINED["second"](QUICK).moments
    assert second.ours["dW1"][0].tolist() == pytest.approx(list(smallest.measure_second().by_hand))
    last = EXPLAINED["xor"](QUICK).moments[-1].ours
    model, _ = xor.trained((2,), QUICK.seed + 1, QUICK.epochs(300))
    first, _ = xor.trained((2,), QUICK.seed, QUICK.epochs(300))
    assert any(np.array_equal(last["W1"], m.parameters["layers.0.weight"]) for m in (model, first))
    start = EXPLAINED["xor"](QUICK).moments[0].ours["W1"]
    assert any(
        np.array_equal(start, MLP((2, 2, 1), activation="tanh", seed=s).parameters["layers.0.weight"])
        for s in QUICK.repetitions
    )


EVIL = "<img src=x onerror=alert(1)>"


def test_what_a_step_says_is_text_and_no_markup():
    for made in (
        slip(Slip(EVIL, EVIL, EVIL, EVIL)),
        table(Table(EVIL, (EVIL, "b"), ((EVIL, EVIL), ("c", "−1")))),
    ):
        assert "<img" not in made
        assert EVIL in unescape(made)
    assert 'class="n"' not in table(Table("t", ("a", "b"), (("1", "x"),)))
    assert '<td class="n">−1</td>' in table(Table("t", ("a", "b"), (("1", "−1"),)))


def test_a_figure_of_many_lines_is_drawn_in_dots():
    def many(drawn):
        axes = drawn.subplots()
        axes.scatter(*np.random.default_rng(0).normal(size=(2, 5000)))
        axes.set(title='a "title"', xlabel="x", ylabel="y")

    made = figure(many)
    assert "data:image/png" in made
    assert 'alt="Figure: a &quot;title&quot; (x; y)"' in made
    assert len(made) < 2 * LARGEST


def test_a_folder_that_cannot_be_is_one_line(tmp_path, capfd):
    (tmp_path / "file").touch()
    for path, says in (("file", "is a file; name a folder"), ("file/a", "no folder can be made there")):
        assert main(["lecture", "chain", "--html", str(tmp_path / path)]) == 2
        out, err = capfd.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert says in err
    (tmp_path / "chain.html").mkdir()
    assert main(["lecture", "chain", "--html", str(tmp_path)]) == 2
    assert "cannot be written" in capfd.readouterr().err


@pytest.mark.long
def test_all_ten_pages_show_themselves_without_an_error(browser, tmp_path):
    pages = Pages(tmp_path, STEPS, QUICK)
    for step in STEPS:
        path = pages.add(step, open_page(step, QUICK))
        assert path.stat().st_size < LIMIT + 2 * LARGEST
    pages.index("mlp lecture --html pages")
    for i, step in enumerate(STEPS):
        with shown(browser, tmp_path / f"{step.name}.html", width=375) as page:
            assert page.evaluate("document.documentElement.scrollWidth") <= 375
            assert page.locator("h1").text_content() == f"{i + 1} {step.title}"
            assert page.locator("#explanation").count() == (step.name in EXPLAINED)
            assert page.locator("a[rel=next]").count() == 2 * (i < 9)
            levels = page.eval_on_selector_all("h1,h2,h3,h4", "all => all.map((h) => Number(h.tagName[1]))")
            assert all(b - a <= 1 for a, b in pairwise(levels))
    assert {c["name"] for c in embedded(tmp_path / "chain.html")["chains"]} >= {"layers.0.bias[0]"}
    assert (tmp_path / "index.html").read_text(encoding="utf-8").count("<li value") == 10
