"""The pictures of gradients, read from their artists: every entry is there, and a wrong one stands out."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_torch.board.pictures.gradients import PANELS, Gradient, gradients
from mlp_torch.board.pictures.style import VERMILION
from mlp_torch.model import MLP
from mlp_torch.verify import plot
from tests.mlp_torch.board.artists import drawn, texts, titles


def gradient(rng, *shape, off=()):
    """By hand and by autograd a rounding apart, but for the entries `off`, which are wrong."""
    theirs = rng.normal(0, 1, shape)
    ours, errors = theirs * (1 + 1e-16), np.full(shape, 0.01)
    for index in off:
        ours[index], errors[index] = 3 * ours[index], 1e9
    return Gradient(ours, theirs, errors, np.full(shape, 0.02))


def points(axes):
    """(by autograd, by hand) of all entries that a panel draws; the first line is y = x."""
    return np.concatenate([line.get_xydata() for line in axes.lines[1:]])


def test_every_parameter_has_its_panel_and_its_place_among_the_errors():
    rng = np.random.default_rng(0)
    names = [f"d{kind}{i}" for i in range(1, 7) for kind in "Wb"]
    figure = drawn(gradients({n: gradient(rng, 3, 2) for n in names}, "a network"))
    assert titles(figure)[:-1] == names
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == names
    assert all(len(line.get_xdata()) == len(names) for line in figure.axes[-1].lines[:2])


@settings(max_examples=4)
@given(depth=st.integers(7, 20), seed=st.integers(0, 2**32 - 1))
def test_a_deep_network_keeps_the_panels_of_what_is_nearest_to_its_bound_and_no_entry_is_lost(depth, seed):
    rng = np.random.default_rng(seed)
    found = {f"dW{i}": gradient(rng, 3, 2) for i in range(1, 2 * depth)}
    found["dW3"] = gradient(rng, 3, 2, off=[(1, 1)])
    figure = gradients(found, "a network")
    assert len(figure.axes) == PANELS + 1
    assert "dW3" in titles(figure)
    assert titles(figure)[PANELS - 1] == f"{len(found) - PANELS + 1} others"
    entries = np.concatenate([points(axes) for axes in figure.axes[:-1]])
    wanted = np.stack(
        [np.concatenate([getattr(g, side).ravel() for g in found.values()]) for side in ("theirs", "ours")]
    )
    assert sorted(map(tuple, entries)) == sorted(map(tuple, wanted.T))


@given(
    scale=st.sampled_from([1e-290, 1e-30, 1.0, 1e30, 1e290]), n=st.integers(1, 40), seed=st.integers(0, 99)
)
def test_the_axes_of_a_panel_hold_every_entry_and_are_the_same_both_ways(scale, n, seed):
    rng = np.random.default_rng(seed)
    ours = scale * rng.normal(0, 1, n) * 10.0 ** rng.integers(-9, 1, n)
    figure = gradients({"dW1": Gradient(ours, ours)}, "a network")
    low, high = figure.axes[0].get_xlim()
    assert figure.axes[0].get_ylim() == (low, high)
    assert low <= points(figure.axes[0]).min()
    assert points(figure.axes[0]).max() <= high
    assert figure.axes[0].get_xscale() == figure.axes[0].get_yscale() == "symlog"


def test_a_wrong_entry_stands_out_and_is_said():
    rng = np.random.default_rng(0)
    figure = drawn(
        gradients({"dW1": gradient(rng, 3), "dW2": gradient(rng, 4, 5, off=[(2, 3)])}, "a network")
    )
    marked = [
        line.get_xydata() for axes in figure.axes[:-1] for line in axes.lines if line.get_color() == VERMILION
    ]
    assert [len(m) for m in marked] == [0, 1]
    assert figure.texts[0].get_text() == "Beyond the bound: dW2"
    assert figure.axes[1].title.get_color() == VERMILION
    assert figure.axes[-1].lines[0].get_ydata()[1] > 1


def test_a_wrong_entry_among_a_million_is_drawn():
    rng = np.random.default_rng(0)
    figure = gradients({"dW1": gradient(rng, 1000, 1000, off=[(123, 456)])}, "a network")
    assert sum(len(line.get_xdata()) for line in figure.axes[0].lines) < 10_000
    assert len(figure.axes[0].lines[2].get_xdata()) == 1


def test_zeros_what_is_not_finite_and_what_is_not_judged_are_said():
    odd = np.array([1.0, np.nan, np.inf, 2.0])
    judged = {"db1": np.zeros(3), "dW2": np.full(5, 0.3), "db2": np.full(2, 1e-300)}
    found = {name: Gradient(g, g, 0 * g, 0 * g) for name, g in judged.items()}
    figure = drawn(gradients({"dW1": Gradient(odd, odd)} | found, "a network"))
    assert [texts(axes)[-1] for axes in figure.axes[:-1]] == ["2 not finite", "all 0", "", "all below 10⁻²⁸⁰"]
    assert texts(figure.axes[-1]) == ["?"]
    assert figure.texts[0].get_text() == "Not judged: dW1"


@pytest.mark.parametrize(
    "options", [{}, {"normalization": "batch_norm", "dropout": 0.3}, {"activation": "prelu"}]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_comparison_is_drawn_with_every_gradient_and_both_engines_errors(options, dtype):
    rng = np.random.default_rng(0)
    model = MLP((5, 7, 3), dtype=dtype, **options)
    n = 1 if "normalization" not in options else 6
    x = rng.normal(0, 1, (n, 5)).astype(str(dtype).removeprefix("torch."))
    figure = drawn(plot.draw(model, x, rng.integers(0, 3, n), "cross_entropy"))
    assert len(figure.axes) == 1 + len(list(model.parameters()))
    assert texts(figure.axes[-1]) == []  # everything was judged
    shares = [line.get_ydata() for line in figure.axes[-1].lines[:2]]
    assert np.max(shares) < 1
    assert "5-7-3" in figure.texts[1].get_text()


def test_a_pass_that_overflows_is_drawn_as_not_judged():
    model = MLP((5, 7, 3), dtype=torch.float64)
    figure = drawn(plot.draw(model, np.full((4, 5), 1e308), np.array([0, 1, 2, 0]), "cross_entropy"))
    assert figure.texts[0].get_text().startswith("Not judged: dW1")
