"""What reports and results show of themselves: text in a REPL, a page in a real notebook, each once."""

import re

import numpy as np
import pytest
import torch

from mlp_torch import MLP, check_gradients, compare, explain

CELLS = (
    """
import numpy as np
import torch
from mlp_torch import MLP, check_autograd_function, check_function, check_gradients, check_step
from mlp_torch import compare, explain

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
    """check_step({"W": np.ones((3, 1))}, {"W": np.ones((3, 1))}, 0.1, x, y,
activations=["identity"], loss="squared_error")""",
    "explain(MLP((3, 5, 2)).double(), x[:2], y[:2].astype(int) % 2, loss='cross_entropy')",
)
VERDICTS = ("wrong", "wrong", "right", "certified", "wrong", "exact|certified")


@pytest.fixture(scope="module")
def shown(kernel):
    """The HTML and the text that every cell but the first shows, and nothing besides."""
    kernel("%reset -f")
    assert kernel(CELLS[0]) == []
    outputs = [kernel(cell) for cell in CELLS[1:]]
    assert [len(found) for found in outputs] == [1] * len(outputs)
    return [found[0].data for found in outputs]


def test_every_report_is_a_table_in_a_notebook_with_the_verdict_first(shown):
    for data, verdict in zip(shown, VERDICTS, strict=True):
        page = data["text/html"]
        first = re.sub(r"<[^>]+>", " ", page).split()[0]
        assert re.fullmatch(verdict, first), page
        assert "<table>" in page
        assert "<script" not in page


def test_every_report_is_text_in_a_terminal(shown):
    for data, verdict in zip(shown, VERDICTS, strict=True):
        first, *_, last = data["text/plain"].splitlines()
        assert re.match(f"{verdict}: ", first) or (first.startswith("∂L/∂") and re.search(verdict, last))
        assert "\x1b" not in data["text/plain"]


def test_a_guilty_line_is_named_by_its_cell(shown):
    for kind in ("text/html", "text/plain"):
        assert re.search(r"In\[\d+\]:\d+ in line", shown[0][kind])


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


def test_an_explanation_shows_each_factor_with_both_engines_numbers_and_their_product():
    model = MLP((2, 3, 1), activation="tanh", seed=1).double()
    found = explain(model, [[0.0, 1.0]], [[1.0]], loss="bce_with_logits", parameter="layers.0.weight[2,1]")
    page = found._repr_html_()
    assert page.count("<tr>") == 1 + len(found.factors)
    for factor in found.factors:
        for number in (factor.values, factor.manual, factor.autograd):
            assert f">{number.item():.6g}</td>" in page
    assert f"{found.product:.10g}" in page
    assert found.holds
    assert repr(found).splitlines()[0].startswith("∂L/∂W1[2,1]")


def test_an_explanation_of_a_wrong_factor_says_wrong_first(monkeypatch):
    from manual.layers import Linear

    right = Linear.backward_weight
    monkeypatch.setattr(Linear, "backward_weight", staticmethod(lambda dz, a: 1.001 * right(dz, a)))
    model = MLP((2, 3, 1), activation="tanh", seed=1).double()
    found = explain(model, [[0.0, 1.0]], [[1.0]], loss="bce_with_logits", parameter="layers.0.weight[2,1]")
    page = found._repr_html_()
    assert "<strong>wrong</strong>" in page
    assert "NOT the gradient" in page
