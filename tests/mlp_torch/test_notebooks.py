"""What reports show of themselves: text in a REPL, a table in a real notebook."""

import re

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from mlp_torch import MLP, check_gradients, compare

CELLS = (
    """
import numpy as np
import torch
from mlp_torch import MLP, check_autograd_function, check_function, check_gradients, compare

x, y = np.random.default_rng(0).normal(size=(7, 3)), np.arange(7.0)

def line(p, x, y):
    e = x @ p["w"] - y
    return (e**2).mean(), {"w": -2 * x.T @ e / len(y)}
""",
    'check_function(line, {"w": np.array([0.3, -0.2, 0.5])}, x, y)',
    """check_gradients({"W": np.ones((3, 1))}, {"W": np.ones((3, 1))}, x, y,
activations=["identity"], loss="squared_error")""",
    "check_autograd_function(torch.sin, torch.sin, [torch.tensor([0.1, 0.7])])",
    "compare(MLP((3, 5, 2)).double(), torch.tensor(x), torch.tensor(y).long() % 2, loss='cross_entropy')",
)


@pytest.fixture(scope="module")
def shown():
    """The HTML and the text of every cell's output but the first's."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return [cell.outputs[-1].data for cell in notebook.cells[1:]]


def test_every_report_is_a_table_in_a_notebook(shown):
    for data, verdict in zip(shown, ("wrong", "wrong", "right", "certified"), strict=True):
        page = data["text/html"]
        assert re.search(rf"<strong>{verdict}</strong>", page), page
        assert "<table>" in page
        assert "<script" not in page


def test_every_report_is_text_in_a_terminal(shown):
    for data, verdict in zip(shown, ("wrong", "wrong", "right", "certified"), strict=True):
        assert data["text/plain"].startswith(f"{verdict}: ")


def test_what_the_author_wrote_is_escaped():
    name = "<script>alert(1)</script>"
    report = check_gradients(
        {name: np.ones((3, 1))}, {name: np.ones((3, 1))}, np.eye(3), np.ones(3),
        activations=["identity"], loss="squared_error",
    )  # fmt: skip
    assert "<script" not in report._repr_html_()
    assert "&lt;script&gt;" in report._repr_html_()
    assert repr(report) == str(report)


def test_a_comparisons_repr_is_its_text():
    report = compare(
        MLP((3, 5, 2)).double(), torch.eye(3).double(), torch.arange(3) % 2, loss="cross_entropy"
    )
    assert repr(report) == str(report)
