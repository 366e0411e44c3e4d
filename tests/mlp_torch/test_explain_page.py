"""`mlp explain --html`: a click shows what the trace holds, on any screen, by mouse and by keyboard."""

import json
import re
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manual import ACTIVATIONS
from manual.numbers import fingerprint
from manual.structure.architecture import NORMALIZATIONS
from mlp_torch import artifact
from mlp_torch.__main__ import main, parse
from mlp_torch.explanation.chain import contract
from mlp_torch.explanation.choice import choose
from mlp_torch.explanation.page import epochs
from mlp_torch.explanation.page.chains import Moment, Subject
from mlp_torch.explanation.page.document import LIMIT, fitting, spread
from mlp_torch.explanation.page.mathml import mathml
from mlp_torch.explanation.page.numbers import array, number, pair, text
from mlp_torch.explanation.source import source, traces
from mlp_torch.model import to_torch
from mlp_torch.trace import trace
from tests.browser import opened
from tests.problems import DTYPES, Problem, faulty, problems

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


@pytest.fixture(scope="module")
def xor(tmp_path_factory):
    return written(tmp_path_factory.mktemp("xor"), XOR)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained run, whose rate does not depend on how long it goes on."""
    folder = tmp_path_factory.mktemp("runs")
    train(folder, "r", 12)
    return folder / "r"


def train(folder, name, count):
    flags = f"--data xor --hidden 3 --activation tanh --schedule constant --lr 0.05 --epochs {count}"
    flags += f" --engine manual --seed 4 --runs-dir {folder} --name {name}"
    assert main(["train", *flags.split()]) == 0


# ------------------------------------------------------------------ a click


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


# ------------------------------------------------------------------ the numbers


@pytest.mark.parametrize("flags", [XOR, PARTS, "--hidden 30 20 --output-activation softmax --loss mse"])
def test_every_embedded_chain_multiplies_to_the_gradient_of_the_trace(flags, tmp_path, monkeypatch):
    made = []  # the traces themselves: torch's sums may fall otherwise in another run
    monkeypatch.setattr(
        "mlp_torch.explanation.command.traces", lambda at: made.append(traces(at)) or made[-1]
    )
    table = embedded(written(tmp_path, flags))
    ((ours, theirs),) = made
    (now,) = table["moments"]
    chosen = 0
    for chain, numbers in zip(table["chains"], now["chains"], strict=True):
        factors = [(table["factors"][i]["rule"], now["factors"][i][0]) for i in chain["factors"]]
        if chain["kind"] == "unit":
            column = table["columns"][chain["column"]]
            at = chain["stages"].index(column["gradient"])
            assert numbers[at][0] == ours[column["gradient"]][:, chain["to"]].tolist()
            assert (
                numbers[at][-1 if len(numbers[at]) == 1 else 1]
                == theirs[column["gradient"]][:, chain["to"]].tolist()
            )
        elif chain["name"]:
            name, index = re.fullmatch(r"(.*)\[(.*)\]", chain["name"]).groups()
            at = tuple(map(int, index.split(",")))
            _, manual, autograd, product, tolerance, gap, multiplies, *_ = numbers
            assert (manual, autograd) == (ours.gradients[name][at], theirs.gradients[name][at])
            assert multiplies
            assert abs(product - manual) == gap <= tolerance
            if all(not isinstance(v, dict) for _, v in factors):
                assert contract(factors) == product
                chosen += 1
    assert chosen >= 13
    assert {s["name"] for s in table["stages"]} == {c["id"] for c in table["chains"] if c["kind"] == "stage"}


@given(
    problem=problems(),
    activation=st.sampled_from(list(ACTIVATIONS)),
    output_activation=st.sampled_from(["identity", "softmax", "prelu"]),
    normalization=st.sampled_from(NORMALIZATIONS),
    dropout=st.sampled_from([0.0, 0.4]),
    dtype=st.sampled_from(list(DTYPES)),
)
def test_any_network_becomes_a_page_whose_chains_hold(
    problem, activation, output_activation, normalization, dropout, dtype
):
    rows = {"activation": activation, "output_activation": output_activation}
    model = problem.model(DTYPES[dtype], **rows, normalization=normalization, dropout=dropout)
    x, y = problem.batch("mse", DTYPES[dtype])
    masks = model.draw_masks(len(x))
    ours = model.trace(x, y, "mse", masks=masks)
    moment = Moment("now", ours, trace(to_torch(model), x, y, "mse", masks=masks))
    table = json.loads(text(fitting([moment], Subject("any"), 0)))
    (now,) = table["moments"]
    entries = [n for c, n in zip(table["chains"], now["chains"], strict=True) if c["name"]]
    assert all(multiplies for _, _, _, _, _, _, multiplies, *_ in entries)
    assert not now["notes"]
    assert len(now["factors"]) == len(table["factors"])
    path = [tuple(p) for c in table["chains"] for p in c["path"]]
    assert all(unit in table["columns"][column]["units"] for column, unit in path)
    if table["embedded"] == table["parameters"]:
        assert table["omitted"] == ""


def test_numbers_keep_every_bit_and_json_can_hold_them_all():
    odd = [0.1, -1e-300, 5e-324, -0.0, np.nan, np.inf, -np.inf]
    back = json.loads(text(array(np.array(odd), 10)))
    assert back[:4] == odd[:4]
    assert np.signbit(back[3])
    assert back[4:] == ["NaN", "Infinity", "-Infinity"]
    assert number(np.float32(0.1)) == float(np.float32(0.1))
    assert pair([1.0, 2.0], [1.0, 2.5], 4) == [[1.0, 2.0], [1.0, 2.5], 0.5]
    assert pair([np.nan], [np.nan], 4) == [["NaN"]]
    large = array(np.arange(6.0).reshape(2, 3), 5)
    assert large == {"shape": [2, 3], "norm": 55**0.5, "at": [1, 2], "largest": 5.0}
    assert "<" not in text({"</script>": "<!--"})
    assert json.loads(text({"</script>": "<!--"})) == {"</script>": "<!--"}


def test_a_planted_fault_is_shown_as_wrong_at_its_stage(browser, tmp_path, monkeypatch):
    monkeypatch.setitem(ACTIVATIONS, "tanh", faulty(ACTIVATIONS, "tanh"))
    path = written(tmp_path, XOR, code=1)
    with shown(browser, path) as page:
        guilty = page.eval_on_selector_all("#answer li.wrong", "all => all.map((li) => li.dataset.stage)")
        assert guilty == ["dz1"]
        assert "proven to be" in page.locator("#answer li.wrong .blame").text_content()
        rows = (
            page.locator("#stages tr", has=page.locator(".verdict.wrong")).locator("th").all_text_contents()
        )
        assert rows == ["dz1"]
        assert page.locator("#gradient .verdict").text_content() == "✗ wrong"


@pytest.fixture(scope="module")
def saturated(tmp_path_factory):
    """A run in which a sample saturates some units and not others."""
    folder = tmp_path_factory.mktemp("runs")
    flags = "--data moons --hidden 8 --activation sigmoid --optimizer sgd --lr 10 --epochs 4 --engine manual"
    assert main(["train", *flags.split(), "--runs-dir", str(folder), "--name", "r"]) == 0
    return folder / "r"


def test_the_factor_that_kills_a_gradient_is_named_as_the_text_names_it_and_marked_where_it_stands(
    browser, saturated, tmp_path, capsys
):
    flags = f"--run {saturated} --sample 0"
    path = written(tmp_path, flags)
    table = embedded(path)
    entries = [c["name"] for c in table["chains"] if c["kind"] == "weight" and c["column"] == 1]
    marked = 0
    with shown(browser, path) as page:
        for name in entries[::2]:
            capsys.readouterr()
            assert main(["explain", *flags.split(), "--parameter", name]) == 0
            line = capsys.readouterr().out.splitlines()[2]
            line_of = name.replace("layers.0.weight", "W1")
            page.locator(f'#forward [data-id="{line_of}"]').dispatch_event("click")
            found = page.locator(".kills").all_text_contents()
            assert found == ([line, line.partition(": ")[2]] if line else [])
            assert line in page.locator("#said").text_content()
            marked += bool(line)
    assert 0 < marked < len(entries[::2])


def test_the_smallest_gradients_fit_into_their_units(browser, tmp_path):
    flags = "--data moons --hidden 8 --activation sigmoid --optimizer sgd --lr 30 --epochs 10 --engine manual"
    assert main(["train", *flags.split(), "--runs-dir", str(tmp_path), "--name", "r"]) == 0
    path = written(tmp_path, f"--run {tmp_path / 'r'} --sample 0")
    with shown(browser, path, 800) as page:
        texts = page.locator("#backward .unit text").all_text_contents()
        assert any(re.fullmatch(r"−\de-\d\d", text) for text in texts), texts
        assert page.evaluate(UNITS_CUT) == []


def test_an_input_that_is_0_is_marked_at_its_factor(browser, xor):
    with shown(browser, xor) as page:
        page.locator('#forward [data-id="W1[2,0]"]').dispatch_event("click")  # x[0] is 0
        said = page.locator("li[data-stage=dW1] .kills").text_content()
        assert said == "this factor kills it: the input of this weight, x[:,0], is 0"
        page.locator('#forward [data-id="W1[0,1]"]').dispatch_event("click")
        assert page.locator(".kills").count() == 0


def test_formulas_are_mathml_without_what_a_browser_would_take_for_markup():
    line = mathml(r"\frac{\partial L}{\partial z_{2}} \odot f'(z_{2}),\quad f' = [z > 0]")
    assert line.startswith("<mrow><mfrac>")
    assert "&gt;" in line or "&#x0003E;" in line
    assert "′" in line


# ------------------------------------------------------------------ epochs


def test_the_slider_shows_the_weights_of_each_epoch(browser, run, tmp_path, capsys):
    train(tmp_path, "short", 3)
    _, third = artifact.read(tmp_path / "short")
    _, last = artifact.read(run)
    path = written(tmp_path, f"--run {run}")
    assert "trained again to the same bits" in embedded(path)["note"]
    with shown(browser, path) as page:
        page.locator('#forward [data-id="W1[2,1]"]').dispatch_event("click")
        kept = values(page, "#answer > p")[0]
        assert kept == last["layers.0.weight"][2, 1]
        assert page.locator("#when").text_content().startswith("epoch 12, L = ")
        page.focus("#moment")
        page.keyboard.press("Home")
        assert page.locator("#when").text_content().startswith("the initial weights")
        start = values(page, "#answer > p")[0]
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        assert page.locator("#moment").get_attribute("aria-valuetext").startswith("epoch 3")
        assert values(page, "#answer > p")[0] == third["layers.0.weight"][2, 1]
        assert len({kept, start, values(page, "#answer > p")[0]}) == 3
        unit = page.locator('#forward [data-id="a2[0]"]').get_attribute("aria-label")
        page.keyboard.press("End")
        assert page.locator('#forward [data-id="a2[0]"]').get_attribute("aria-label") != unit


def test_a_run_is_repeated_to_its_own_bits_and_nothing_is_left_behind(run, capsys):
    before = sorted(p.name for p in run.parent.iterdir())
    again = epochs.repeat(run, 5)
    assert list(again.weights) == [0, 4, 8, 12]
    kept, arrays = artifact.read(run)
    assert fingerprint(again.weights[kept.epoch]) == fingerprint(arrays)
    assert capsys.readouterr().out == ""
    assert sorted(p.name for p in run.parent.iterdir()) == before


def test_a_repetition_that_comes_to_other_bits_is_said(run, tmp_path):
    kept, arrays = artifact.read(run)
    other = {name: value + 1 for name, value in arrays.items()}
    (tmp_path / "model.safetensors").write_bytes(
        artifact.content(other, {"epoch": str(kept.epoch), **kept.metadata()})
    )
    (tmp_path / "metrics.jsonl").write_bytes((run / "metrics.jsonl").read_bytes())
    again = epochs.repeat(tmp_path, 5)
    assert "came to other bits" in again.note
    assert fingerprint(again.weights[kept.epoch]) == fingerprint(other)


@pytest.mark.parametrize(
    ("limit", "line", "says"),
    [
        (0.0, None, "and at most 0 s are repeated"),
        (60.0, "", "the run has finished none"),
    ],
)
def test_a_run_that_cannot_be_repeated_has_no_slider_and_one_line_says_why(
    browser, run, tmp_path, monkeypatch, limit, line, says
):
    monkeypatch.setattr(epochs, "LONGEST", limit)
    copy = tmp_path / "r"
    copy.mkdir()
    for file in ("model.safetensors", "metrics.jsonl"):
        (copy / file).write_bytes((run / file).read_bytes() if line is None or file[1] == "o" else b"")
    path = written(tmp_path, f"--run {copy}")
    with shown(browser, path) as page:
        assert says in page.locator("#note").text_content()
        assert not page.locator("#moment").is_visible()


def test_the_epochs_of_a_slider_are_spaced_evenly_with_the_first_last_and_kept_ones():
    assert epochs.spaced(12, 25, 7) == list(range(13))
    assert epochs.spaced(300, 7, 111) == [0, 60, 111, 120, 180, 240, 300]
    for last in (1, 2, 30, 999):
        for most in (3, 10, 25):
            chosen = epochs.spaced(last, most, last // 2)
            assert {0, last, last // 2} <= set(chosen)
            assert len(chosen) <= most
    assert spread(25, 7, 3) == [0, 3, 5, 10, 14, 19, 24]
    assert spread(25, 1, 3) == [3]
    assert spread(2, 9, 1) == [0, 1]


# ------------------------------------------------------------------ how it looks


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
