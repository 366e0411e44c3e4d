"""TensorBoard itself, in a browser, on a run's folder: the tabs PR Curves, Graphs and Projector."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

import manual
from manual.activations import softmax
from mlp_torch.board import embedding
from mlp_torch.board.curves import pr_curves
from mlp_torch.board.graph import graph
from mlp_torch.board.pictures.mistakes import Decisions
from mlp_torch.events import Events
from tests.browser import opened

BOARD = """
import sys
from tensorboard import program
board = program.TensorBoard()
board.configure(argv=[None, "--logdir", sys.argv[1], "--host", "127.0.0.1", "--port", "0"])
print(board.launch(), flush=True)
sys.stdin.read()
"""
SAMPLES = 100


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """The address of a TensorBoard on a folder with one run."""
    runs = tmp_path_factory.mktemp("runs")
    run = runs / "digits"
    run.mkdir()
    x, y = (part[:SAMPLES] for part in load_digits(return_X_y=True))
    model = manual.MLP((64, 16, 10), normalization="batch_norm", dropout=0.1)
    trace = model.trace(x / 16, y, "cross_entropy")
    p = softmax(trace["a2"])
    events = Events(run)
    events.add(pr_curves(y, p, range(10)), 1)
    events.add(graph(model.architecture, "cross_entropy"))
    events.close()
    found = Decisions(y, p.argmax(axis=1), -np.log(p[np.arange(SAMPLES), y]), range(10))
    embedding.write(run, trace["a1"], embedding.known(found), x.reshape(-1, 8, 8))
    command = [sys.executable, "-c", BOARD, str(runs)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def test_the_curves_the_graph_and_the_embedding_are_drawn_and_the_run_is_one_entry(board, browser):
    with opened(browser) as (page, errors):
        page.goto(f"{board}#pr_curves")
        for i in range(10):
            page.get_by_text(f"{i} against the rest").first.wait_for(state="attached")
        page.wait_for_selector("tf-pr-curve-card path.line[d*=L]", state="attached")
        assert page.evaluate("fetch('data/runs').then(answer => answer.json())") == ["digits"]

        page.goto(f"{board}#graphs")
        page.reload()
        for name in ("x", "layers.0", "layers.1", "loss", "y"):
            page.wait_for_selector(f"g.node[data-name='{name}']", state="attached")
        page.locator("g.node[data-name='layers.0']").dblclick(force=True)
        for name in ("z1", "n1", "a1", "h1", "mask1", "W1", "b1", "gamma1", "beta1"):
            page.wait_for_selector(f"g.node[data-name='layers.0/{name}']", state="attached")

        page.goto(f"{board}#projector")
        page.reload()
        projector = page.frame_locator("iframe").frame_locator("iframe")  # the plugin in a frame in a frame
        projector.locator(".numDataPoints", has_text=str(SAMPLES)).wait_for(timeout=60_000)
        assert projector.locator("canvas").count() > 0
        assert errors == []
