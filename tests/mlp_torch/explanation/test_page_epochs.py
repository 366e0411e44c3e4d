"""The page's slider shows the weights of each epoch, of a run that is repeated to its own bits."""

import pytest

from manual.structure.fingerprint import fingerprint
from mlp_torch import artifact
from mlp_torch.__main__ import main
from mlp_torch.explanation.page import epochs
from mlp_torch.explanation.page.document import spread
from tests.mlp_torch.explanation.pages import embedded, shown, values, written


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
