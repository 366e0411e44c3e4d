"""The factor that kills a gradient is named, in every format."""

import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from manual import MLP
from mlp_torch.explanation.chain import Explanation
from mlp_torch.explanation.killer import SMALL, gains
from mlp_torch.explanation.look import KILLS
from mlp_torch.explanation.markdown import markdown
from mlp_torch.explanation.picture import draw
from tests.mlp_torch.explanation.one_sample import explained, network


def planted(kind: str) -> Explanation:
    """A network in which one factor on the way to W1[0,0] is (nearly) 0."""
    model = network(
        {"saturated": "sigmoid", "off": "relu"}.get(kind, "tanh"), dropout=0.5 * (kind == "dropped")
    )
    for name in ("layers.0.bias", "layers.1.bias"):
        model.parameters[name] += {"off": 1, "saturated": 0}.get(kind, 0)
    if kind in ("saturated", "off"):
        model.parameters["layers.0.bias"][0] += 12 if kind == "saturated" else -13
        model.parameters["layers.1.weight"][:] = np.abs(model.parameters["layers.1.weight"])
    if kind == "weights":
        model.parameters["layers.1.weight"][:, 0] = 1e-4
    if kind == "right already":
        model.parameters["layers.2.bias"][:] = 9
    return explained(model, x=(0.0, -0.4) if kind == "input" else (0.7, -0.4), dropped=kind == "dropped")


KILLERS = {
    "saturated": ("dz1", r"all but kills it: sigmoid is saturated at z1\[:,0\] = 1\d"),
    "off": ("dz1", r"this factor kills it: relu is off at z1\[:,0\] = -1\d"),
    "dropped": ("da1", r"this factor kills it: dropout has set the unit to 0"),
    "weights": ("da1", r"all but kills it: the weights W2\[:,0\] are nearly 0"),
    "input": ("dW1", r"this factor kills it: the input of this weight, x\[:,0\], is 0"),
    "right already": ("dloss", r"all but kills it: the prediction is right already"),
}


@pytest.mark.parametrize("kind", KILLERS)
def test_the_factor_that_kills_a_gradient_is_named_in_text_markdown_json_notebook_and_picture(kind):
    from rich.console import Console

    from mlp_torch.explanation.text import render

    e = planted(kind)
    stage, says = KILLERS[kind]
    assert e.killer is not None
    assert e.killer.stage == stage
    console = Console(width=400, file=io.StringIO())
    console.print(render(e))
    text = console.file.getvalue()
    assert len(re.findall(says, text)) == 2  # above, and beside the factor
    assert re.search(rf"^ +factor .*\n( .*\n)?            ↑ .*{says}", text, re.M)
    assert len(re.findall(says, markdown(e))) == 2
    assert re.search(says, e._repr_html_().partition("<table")[0])
    table = e.to_dict()
    assert table["killer"]["stage"] == stage
    assert min(f["gain"] for f in table["factors"]) == table["killer"]["gain"] < SMALL
    figure = draw(e)
    assert re.search(says, figure.get_suptitle().replace("\n", " "))
    frames = [
        line
        for axes in figure.axes
        for line in axes.lines
        if to_hex(line.get_markeredgecolor()) == KILLS.lower()
    ]
    assert len(frames) >= 2  # forward and backward


def test_a_gradient_that_nothing_kills_has_no_killer():
    e = explained(network())
    assert e.killer is None
    assert e.to_dict()["killer"] is None
    assert not any(map(e.marked, e.factors))
    assert "kills" not in markdown(e)


@given(
    activation=st.sampled_from(["tanh", "sigmoid", "softplus", "silu"]),
    seed=st.integers(0, 1000),
    depth=st.integers(1, 4),
)
def test_the_gains_of_single_units_multiply_to_the_size_of_the_gradient(activation, seed, depth):
    e = explained(MLP((2, *[1] * depth, 1), activation=activation, seed=seed))
    assert np.prod(gains(e.factors)) == pytest.approx(abs(e.product), rel=1e-9)
