"""TensorBoard as `mlp board` starts it, in a real browser: in every tab each part is drawn, and no error."""

import io
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from matplotlib.image import imread

from mlp_torch.__main__ import main
from mlp_torch.board.parts import PARTS
from tests.browser import opened
from tests.mlp_torch.running import train
from tests.signals import answered

# One row a tab: its cards, what is drawn in a card, and cards that must be there, by words of their heading.
# Of a run of classes, at the level `full`, with --verify-every.
TABS = {
    "scalars": ("tf-scalar-card", "path.line", ["accuracy/train", "accuracy/validation"]),
    "custom_scalars": (
        "tf-custom-scalar-multi-line-chart-card",
        "path.line",
        ["loss", "accuracy", "update ratio", "gradient norm", "dead units"],
    ),
    "custom_scalars, the band": ("tf-custom-scalar-margin-chart-card", "path.area", ["error over bound"]),
    "images": (
        "tf-image-loader",
        "img",
        [
            "confusion_matrix",
            "decision_boundary",
            "first_layer",
            "gradient_check",
            "roc_curves",
            "worst_mist",
        ],
    ),
    "pr_curves": ("tf-pr-curve-card", "path.line", ["1 against the rest"]),
    "histograms": (
        "tf-histogram-loader",
        "path.outline",
        ["activations/layers.0", "gradients/layers.0.weight"],
    ),
    "distributions": ("tf-distribution-loader", "path.area", ["activations/layers.0"]),
    "text": ("tf-text-loader", "p, td", ["about", "configuration"]),
    "hparams": ("tf-hparams-table-view", "vaadin-grid-cell-content", ["moons", "loss/validation", "lr"]),
}
# The cards, each with its words and how many things are drawn in it, across all shadow roots.
CARDS = """([card, drawn, turn]) => {
    const within = (node, selector) => [...node.querySelectorAll('*')].flatMap((e) => [
        ...(e.matches(selector) ? [e] : []), ...(e.shadowRoot ? within(e.shadowRoot, selector) : []),
    ]);
    const inside = (e) => [...(e.shadowRoot ? within(e.shadowRoot, drawn) : []), ...within(e, drawn)];
    const words = (e) => e.innerText + [...within(e.shadowRoot ?? e, '*')].map((n) => n.innerText).join(' ');
    const seen = (e) => {
        const box = e.getBoundingClientRect();
        return box.width > 5 && (e.tagName !== 'IMG' || e.naturalWidth > 0);
    };
    const cards = within(document, card);
    cards[turn % cards.length]?.scrollIntoView();  // what is not in sight is not drawn
    return cards.map((e) => [words(e), inside(e).filter(seen).length]);
}"""


@contextmanager
def started(runs):
    """`mlp board` in a process of its own, ended by Ctrl-C; its address."""
    command = [sys.executable, "-m", "mlp_torch", "board", str(runs)]
    with answered():
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        first = process.stdout.readline()
        yield re.search(r"http://127\.0\.0\.1:\d+/", first)[0]
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (0, "")


@pytest.fixture(scope="module")
def address(shown, tmp_path_factory):
    """Of a board on the run of classes."""
    runs = tmp_path_factory.mktemp("runs")
    shutil.copytree(shown / "moons", runs / "moons")
    with started(runs) as found:
        yield found


def missing(page, address: str, tab: str, seconds: float = 15) -> list[str]:
    """The cards of a tab that are not there, or in which nothing is drawn."""
    card, drawn, wanted = TABS[tab]
    page.goto(f"{address}#{tab.partition(',')[0]}")

    left = wanted
    for turn in range(int(seconds * 10)):
        cards = page.evaluate(CARDS, [card, drawn, turn])
        left = [words for words in left if not any(words in said and count for said, count in cards)]
        if not left:
            break
        page.wait_for_timeout(100)
    return left


def test_in_every_tab_each_part_is_drawn_and_no_error_is_said(browser, address):
    with opened(browser) as (page, errors):
        page.goto(address)
        page.wait_for_selector("line-chart canvas")
        assert [missing(page, page.url.partition("#")[0], tab) for tab in TABS] == [[] for _ in TABS]
        assert errors == []


def test_the_graph_has_the_stages_and_the_projector_the_samples_of_the_one_run(browser, address):
    with opened(browser) as (page, errors):
        page.goto(f"{address}#graphs")
        for name in ("x", "layers.0", "layers.2", "loss", "y"):
            page.wait_for_selector(f"g.node[data-name='{name}']", state="attached")
        page.goto(f"{address}#projector")
        page.reload()
        projector = page.frame_locator("iframe").frame_locator("iframe")  # the plugin in a frame in a frame
        projector.locator(".numDataPoints", has_text="100").wait_for(timeout=60_000)
        assert projector.locator("canvas").count() > 0
        assert page.evaluate("fetch('data/runs').then(answer => answer.json())") == ["moons"]
        assert errors == []


def coloured(picture: bytes) -> int:
    """The pixels of a screenshot that are no grey."""
    pixels = imread(io.BytesIO(picture))[..., :3]
    return int((np.ptp(pixels, axis=-1) > 0.1).sum())


@pytest.mark.parametrize("width", [800, 1500])
def test_the_loss_stands_first_and_its_lines_are_drawn(width, browser, address):
    with opened(browser, width) as (page, _):
        page.goto(address)
        page.wait_for_selector("scalar-card line-chart canvas")
        card = page.locator("scalar-card").first
        assert card.inner_text().replace("\n", "").startswith("loss/train")
        chart = card.locator("line-chart")
        for _ in range(50):
            if coloured(chart.screenshot()) > 100:
                break
            page.wait_for_timeout(100)
        assert coloured(chart.screenshot()) > 100


@pytest.mark.long
def test_the_check_sees_parts_that_are_left_out(browser, tmp_path, monkeypatch):
    left_out = ("layout", "weights", "gradients", "activations", "confusion matrix")
    kept = tuple(part for part in PARTS if part.name not in left_out)
    monkeypatch.setattr("mlp_torch.board.board.PARTS", kept)
    assert train(tmp_path, "--data moons --hidden 6 5 --epochs 2 --engine manual --log full", "moons") == 0
    with started(tmp_path) as address, opened(browser) as (page, _):
        page.goto(address)
        page.wait_for_selector("line-chart canvas")
        found = {tab: missing(page, page.url.partition("#")[0], tab, 1) for tab in ("images", "histograms")}
    assert found == {"images": ["confusion_matrix"], "histograms": TABS["histograms"][2]}


@pytest.mark.parametrize("what", ["nothing", "a file", "an empty folder", "a port that is taken", "no port"])
def test_what_cannot_be_shown_is_said_in_one_line(what, tmp_path, shown, capsys):
    path, flags = tmp_path / "x", []
    if what == "a file":
        path.write_text("")
    elif what == "an empty folder":
        path.mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        if "port" in what:
            path, flags = shown, ["--port", "0" if what == "no port" else str(taken.getsockname()[1])]
        assert main(["board", str(path), *flags]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    expected = {
        "nothing": f"{path}: there is no such folder",
        "a file": f"{path}: is a file",
        "an empty folder": f"{path}: holds no runs; `mlp train --runs-dir {path}` makes one",
        "a port that is taken": "is taken; choose another",
        "no port": "--port 0: must lie in 1 … 65535",
    }
    assert expected[what] in said
