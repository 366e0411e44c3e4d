"""The picture of `mlp explain`: the whole path is drawn, no text is cut off and no two overlap."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.text import Annotation

from mlp_torch.explanation.chain import explain
from mlp_torch.explanation.choice import choose
from mlp_torch.explanation.config import Explain
from mlp_torch.explanation.labels import HEIGHT, place
from mlp_torch.explanation.look import ENTRY
from mlp_torch.explanation.picture import draw
from mlp_torch.explanation.source import source, traces
from mlp_torch.explanation.units import path
from tests.mlp_torch.explanation.one_sample import explained, network

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
