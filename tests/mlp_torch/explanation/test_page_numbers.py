"""The numbers on the page are the trace's, to every bit, and what is wrong or kills a gradient is marked."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manual import ACTIVATIONS
from manual.structure.architecture import NORMALIZATIONS
from mlp_torch.__main__ import main
from mlp_torch.explanation.chain import contract
from mlp_torch.explanation.page.chains import Moment, Subject
from mlp_torch.explanation.page.document import fitting
from mlp_torch.explanation.page.mathml import mathml
from mlp_torch.explanation.page.numbers import array, number, pair, text
from mlp_torch.explanation.source import traces
from mlp_torch.model import to_torch
from mlp_torch.trace import trace
from tests.mlp_torch.explanation.pages import PARTS, UNITS_CUT, XOR, embedded, shown, written
from tests.problems import DTYPES, faulty, problems


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
