"""`mlp explain` shows something: which sample and entry, which factor kills a gradient, the picture."""

import io
import itertools
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.text import Annotation

from manual import MLP
from mlp_torch.__main__ import main
from mlp_torch.explanation.chain import Explanation, explain
from mlp_torch.explanation.choice import choose
from mlp_torch.explanation.config import Explain
from mlp_torch.explanation.killer import SMALL, gains
from mlp_torch.explanation.labels import HEIGHT, place
from mlp_torch.explanation.look import ENTRY, KILLS
from mlp_torch.explanation.markdown import markdown
from mlp_torch.explanation.picture import draw
from mlp_torch.explanation.source import our_trace, source, traces
from mlp_torch.explanation.units import path
from mlp_torch.model import to_torch
from mlp_torch.trace import trace

# ---- what is chosen --------------------------------------------------------------------------------


def chosen(**flags):
    found = source(Explain(**flags))
    return choose(found), found


@pytest.mark.parametrize("data", ["xor", "moons", "digits", "iris"])
@pytest.mark.parametrize("more", [{}, {"hidden": (3,)}, {"hidden": (1, 1), "activation": "sigmoid"}])
def test_with_nothing_named_the_entry_is_not_0_and_the_title_says_which_and_why(data, more, capsys):
    flags = [f"--{k} {' '.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in more.items()]
    assert main(f"explain --data {data} --json {' '.join(flags)}".split()) == 0
    table = json.loads(capsys.readouterr().out)
    assert abs(table["product"]) > 1e-8
    assert re.search(
        r"sample \d+ of .*; chosen: the largest entry of \S+( over the first \d+ samples|, )", table["title"]
    )


def test_the_sample_is_the_one_of_the_largest_entry_among_the_first_and_always_the_same():
    choice, found = chosen(data="moons", hidden=(5,))
    largest = [
        np.abs(our_trace(replace(found, config=replace(found.config, sample=i)))["dW1"]).max()
        for i in range(16)
    ]
    assert choice.found.config.sample == int(np.argmax(largest))
    assert chosen(data="moons", hidden=(5,))[0].index == choice.index


def test_where_the_sample_is_named_the_parameter_is_chosen_for_it():
    choice, _ = chosen(data="xor", hidden=(3,), activation="tanh", sample=0)  # its inputs are 0
    assert choice.found.config.sample == 0
    assert choice.parameter == "layers.0.bias"
    assert "the first parameter whose gradient is not 0" in choice.why
    assert our_trace(choice.found).gradients["layers.0.bias"][choice.index] != 0


def test_where_the_entry_is_named_the_sample_is_chosen_for_it():
    choice, _ = chosen(data="xor", hidden=(3,), activation="tanh", parameter="layers.0.weight[0,0]")
    assert (choice.parameter, choice.index) == ("layers.0.weight", (0, 0))
    assert choice.found.config.sample in (2, 3)  # of the others the input is 0
    assert "chosen: the sample of the largest such entry over the first 4 samples" in choice.why


def test_where_both_are_named_nothing_is_chosen():
    choice, _ = chosen(data="xor", hidden=(3,), sample=0, parameter="layers.0.weight[0,0]")
    assert (choice.found.config.sample, choice.index, choice.why) == (0, (0, 0), "")


@pytest.mark.parametrize(
    ("parameter", "says"),
    [
        (None, "the largest entry of layers.1.bias, the first parameter whose gradient is not 0"),
        ("layers.0.weight", "layers.0.weight is 0 over the first 4 samples"),
        ("layers.0.weight[1,1]", "this entry is 0 over the first 4 samples"),
    ],
)
def test_a_dead_layer_is_said_to_be_dead(parameter, says):
    found = source(Explain(data="xor", hidden=(3,), parameter=parameter))
    found.model.parameters["layers.0.bias"] -= 100  # relu is off for every sample
    assert says in choose(found).why


@pytest.mark.parametrize("normalization", ["none", "batch_norm"])
def test_the_masks_that_a_sample_is_chosen_by_are_those_it_is_explained_with(normalization):
    flags = {"data": "moons", "hidden": (4, 3), "dropout": 0.5, "normalization": normalization}
    choice, _ = chosen(**flags)
    before = our_trace(choice.found)
    ours, theirs = traces(choice.found)
    assert np.array_equal(before["mask1"], ours["mask1"])
    assert np.array_equal(before["dW1"], ours["dW1"])
    assert ours.gradients[choice.parameter][choice.index] != 0 or not ours["dW1"].any()
    assert np.allclose(theirs["dW1"], ours["dW1"])


# ---- what kills it ---------------------------------------------------------------------------------


def explained(
    model: MLP, parameter="layers.0.weight", index=(0, 0), x=(0.7, -0.4), dropped=False
) -> Explanation:
    x, y = np.array([x]), np.array([[1.0]])
    masks = {"mask1": np.zeros((1, 3)), "mask2": np.ones((1, 2))} if dropped else model.draw_masks(1)
    ours = model.trace(x, y, "bce_with_logits", masks=masks)
    theirs = trace(to_torch(model), x, y, "bce_with_logits", masks=masks)
    return explain(ours, theirs, parameter, index, "one sample")


def network(activation="tanh", **rows) -> MLP:
    return MLP((2, 3, 2, 1), activation=activation, seed=1, **rows)


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


# ---- the picture -----------------------------------------------------------------------------------

PICTURES = [
    "--data xor --hidden 3",
    "--data moons --hidden 5 4 3",
    "--data moons --hidden 3 3 --activation tanh",
    "--data moons --hidden 1 1 1 --activation sigmoid",
    "--data xor --hidden 6 6 6",
]


def pictured(flags: str):
    words = flags.split()
    hidden = tuple(
        int(word) for word in itertools.takewhile(str.isdigit, words[words.index("--hidden") + 1 :])
    )
    activation = words[words.index("--activation") + 1] if "--activation" in words else "relu"
    choice = choose(source(Explain(data=words[1], hidden=hidden, activation=activation)))
    e = explain(*traces(choice.found), choice.parameter, choice.index, choice.why)
    return e, draw(e)


def black_arrows(figure):
    return [
        text
        for axes in figure.axes
        for text in axes.texts
        if isinstance(text, Annotation) and to_hex(text.arrow_patch.get_edgecolor()) == ENTRY
    ]


@pytest.mark.parametrize("flags", PICTURES)
def test_the_whole_path_is_black_from_the_loss_to_the_weight(flags):
    e, figure = pictured(flags)
    on, depth = path(e), len([s for s in e.traces[0] if s.kind == "linear"])
    assert all(on.units[layer] for layer in range(depth + 1))
    edges = [
        (layer, j, k)
        for layer in range(1, depth + 1)
        for j, k in np.ndindex(e.traces[0][f"W{layer}"].shape)
        if on.edge(layer, j, k)
    ]
    to_loss = len(on.units[depth])
    assert len(black_arrows(figure)) == 2 * (len(edges) + to_loss)
    assert [edge for edge in edges if edge[0] == 1] == [(1, *e.index)]
    # the gradient that the black units alone hand down is all of it
    for layer in range(2, depth + 1):
        dz, w = e.traces[0][f"dz{layer}"], e.traces[0][f"W{layer}"]
        through = dz[:, list(on.units[layer])] @ w[list(on.units[layer])]
        below = list(on.units[layer - 1])
        np.testing.assert_allclose(through[:, below], (dz @ w)[:, below], rtol=1e-12, atol=1e-15)


def test_a_unit_that_passes_nothing_on_is_not_on_the_path():
    model = network("relu")
    model.parameters["layers.0.bias"] += 1
    model.parameters["layers.1.bias"][:] = (1, -20)
    e = explained(model)
    assert path(e).units[2] == (0,)


def boxes(figure):
    """The boxes of all texts, in pixels; and the figure's size."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    texts = [t for axes in figure.axes for t in [*axes.texts, axes.title] if t.get_text()]
    found = [(t.get_text(), t.get_window_extent(renderer)) for t in [*texts, figure._suptitle]]
    return found, canvas.get_width_height()


@pytest.mark.parametrize("flags", [*PICTURES, "--data digits --hidden 20 10"])
def test_no_text_is_cut_off_and_no_two_overlap(flags):
    found, (width, height) = boxes(pictured(flags)[1])
    for text, box in found:
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0, text
    for (one, a), (other, b) in itertools.combinations(found, 2):
        overlap = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(overlap) <= 2, (one, other)


@given(left=st.integers(1, 4), right=st.integers(1, 3), gap=st.integers(130, 320), seed=st.integers(0, 99))
def test_numbers_stand_on_their_own_edge_and_off_each_other_and_the_units(left, right, gap, seed):
    a = [np.array([50.0, 82 * ((left - 1) / 2 - i)]) for i in range(left)]
    b = [np.array([50.0 + gap, 82 * ((right - 1) / 2 - i)]) for i in range(right)]
    ends = np.array([[p, q] for p in a for q in b])
    texts = [f"{v:.2g}" for v in np.random.default_rng(seed).normal(0, 0.5, len(ends))]
    points = place(ends, texts, np.array([*a, *b]))
    for point, (start, end) in zip(points, ends, strict=True):
        along = (point - start) @ (end - start) / ((end - start) @ (end - start))
        np.testing.assert_allclose(start + along * (end - start), point, atol=1e-9)
    for p, q in itertools.combinations(points, 2):
        assert abs(p[1] - q[1]) >= 1.2 * HEIGHT or abs(p[0] - q[0]) >= 24, (p, q)


def test_in_the_middle_of_their_edges_the_numbers_of_crossing_edges_would_overlap():
    a, b = np.array([[0.0, 0], [0, 82]]), np.array([[200.0, 0], [200, 82]])
    ends = np.array([[a[0], b[1]], [a[1], b[0]]])
    assert np.array_equal(ends.mean(axis=1)[0], ends.mean(axis=1)[1])
    points = place(ends, ["0.12", "0.34"], np.array([*a, *b]))
    assert np.abs(points[0] - points[1]).max() > 2 * HEIGHT


# ---- where a gradient dies that is not shown -------------------------------------------------------


@pytest.mark.parametrize("flags", ["--data moons", "--data digits --hidden 8 5", "--data xor"])
def test_with_nothing_named_the_last_line_names_an_entry_that_dies_and_it_does(flags, capsys):
    assert main(["explain", *flags.split()]) == 0
    said = capsys.readouterr().out
    assert "kills it" not in said
    last = said.splitlines()[-1]
    assert last.startswith("a gradient dies elsewhere: relu is off in ")
    sample, name = re.search(r"to see one: --sample (\d+) --parameter '(\S+)'$", last).groups()
    assert main(["explain", *flags.split(), "--sample", sample, "--parameter", name]) == 0
    named = capsys.readouterr().out
    assert "this factor kills it: relu is off at z" in named.splitlines()[2]
    assert "elsewhere" not in named


def test_where_nothing_dies_nothing_is_said_of_it(capsys):
    for flags in ("--data line --hidden", "--data moons --hidden 3 --activation softplus"):
        assert main(["explain", *flags.split()]) == 0
        assert "elsewhere" not in capsys.readouterr().out
