"""What the pictures show, read from their artists: no pixel is looked at."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_torch.board.pictures import boundary as boundaries
from mlp_torch.board.pictures.confusion import confusion
from mlp_torch.board.pictures.gradients import PANELS, Gradient, gradients
from mlp_torch.board.pictures.images import pixels
from mlp_torch.board.pictures.mistakes import Decisions, as_columns, as_images, regression, worst
from mlp_torch.board.pictures.style import VERMILION, shown
from mlp_torch.board.pictures.weights import first_weights
from mlp_torch.data.sets import DATASETS
from mlp_torch.model import MLP
from mlp_torch.verify import plot

SQUARE = [f"pixel_{i}_{j}" for i in range(4) for j in range(4)]


def titles(figure):
    return [axes.get_title() or axes.get_title("left") for axes in figure.axes]


def texts(axes):
    return [t.get_text() for t in axes.texts]


def drawn(figure):
    """The figure, after it was drawn: a warning would be an error."""
    figure.draw_without_rendering()
    return figure


# ------------------------------------------------------------------ gradients


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


# ------------------------------------------------------------------ confusion and mistakes


def test_the_confusion_matrix_says_its_numbers_and_tells_right_from_wrong():
    matrix = np.array([[5, 1, 0], [0, 4, 0], [2, 0, 3]])
    figure = drawn(confusion(matrix, ["a", "b", "c"], "kind"))
    (axes,) = figure.axes
    assert sorted(texts(axes)) == ["1", "2", "3", "4", "5"]
    assert axes.get_title() == "12 of 15 right"
    right, wrong = (image.get_array() for image in axes.images)
    assert (~right.mask == np.eye(3, dtype=bool)).all()
    assert (wrong.mask == np.eye(3, dtype=bool)).all()
    assert wrong[2, 0] == pytest.approx(np.sqrt(2 / 5))


def test_a_hundred_classes_carry_few_labels_and_the_most_frequent_mistake_is_named():
    matrix = 9 * np.eye(100, dtype=int)
    matrix[34, 35] = 7
    figure = drawn(confusion(matrix, [f"kind {i}" for i in range(100)], "kind"))
    (axes,) = figure.axes
    assert len(axes.get_xticks()) == len(axes.get_yticks()) == 20
    assert texts(axes) == []
    assert figure.texts[0].get_text() == "most often: kind 34 for kind 35 7×"
    assert "no mistakes" in confusion(np.eye(30), range(30), "kind").texts[0].get_text()


@pytest.mark.parametrize("labels", [["$\\x$", "$10-$20"], ["日本", "a\tb"], []])
def test_dollars_are_dollars_and_no_sign_is_beyond_the_font(labels):
    if labels:
        drawn(confusion(np.eye(2, dtype=int), labels, "$\\y$"))
    else:
        drawn(regression(np.arange(2.0), np.arange(2.0), "$\\日$"))
    assert shown("日本") == "□□"
    assert len(shown("x" * 99)) == 12


@given(losses=st.lists(st.floats(allow_nan=True), min_size=1, max_size=30), most=st.integers(1, 12))
def test_a_mistake_that_is_worse_comes_first(losses, most):
    losses = np.array(losses)
    rows = worst(losses, most)
    key = np.where(np.isnan(losses), np.inf, losses)
    assert len(set(rows.tolist())) == len(rows) == min(most, len(losses))
    assert (np.diff(key[rows]) <= 0).all()
    left = np.delete(key, rows)
    assert not left.size or left.max() <= key[rows[-1]]


def decisions(n, p=True):
    rng = np.random.default_rng(0)
    truth, decision, losses = rng.integers(0, 3, n), rng.integers(0, 3, n), rng.exponential(1, n)
    return Decisions(truth, decision, losses, ["ant", "bee", "cat"], rng.uniform(0, 1, n) if p else None)


def test_the_worst_images_are_drawn_with_what_they_were_taken_for():
    found, x = decisions(50), np.arange(50 * 16).reshape(50, 16)
    figure = drawn(as_images(x, pixels(SQUARE), found))
    order = np.argsort(-found.losses)[:12]
    assert len(figure.axes) == 12
    for axes, i in zip(figure.axes, order, strict=True):
        assert (axes.images[0].get_array() == x[i].reshape(4, 4)).all()
        truth, taken = found.labels[found.truth[i]], found.labels[found.decision[i]]
        assert axes.get_xlabel().replace("\n", "  ") == f"{truth} → {taken}  {100 * found.p[i]:.0f} %"
        assert (axes.xaxis.label.get_color() == VERMILION) == (truth != taken)


def test_the_worst_rows_of_a_table_are_drawn_with_the_inputs_that_stand_out():
    rng = np.random.default_rng(0)
    found, x = decisions(50, p=False), rng.normal(0, 1, (50, 40))
    x[:, 33] = 9
    axes, _ = drawn(as_columns(x, [f"column {i}" for i in range(40)], found)).axes
    order = np.argsort(-found.losses)[:10]
    labels = [t.get_text() for t in axes.get_xticklabels()]
    assert len(labels) == 20
    assert "column 33" in labels
    columns = [int(label.split()[1]) for label in labels]
    assert (axes.images[0].get_array() == x[np.ix_(order, columns)]).all()
    assert axes.get_yticklabels()[0].get_text().endswith(f", loss {found.losses.max():.2g}")


def test_few_samples_and_no_mistake_are_drawn_too():
    found = decisions(2)
    right = Decisions(found.truth, found.truth, found.losses, found.labels)
    figure = drawn(as_images(np.zeros((2, 16)), pixels(SQUARE), right))
    assert figure.get_suptitle() == "0 of 2 wrong; nearest to it:"
    assert len(figure.axes) == 2


def test_of_a_regression_the_furthest_off_are_marked():
    truth = np.arange(30.0)
    found = truth.copy()
    found[[3, 7]] += 10, -20
    found[9] = np.nan
    (axes,) = drawn(regression(truth, found, "price")).axes
    assert texts(axes)[:2] == ["7", "3"]
    assert (axes.collections[1].get_offsets()[:2] == [[7, -13], [3, 13]]).all()


# ------------------------------------------------------------------ two inputs, first layer, pixels


def test_the_boundary_s_axes_limits_and_colours_do_not_depend_on_the_network():
    rng = np.random.default_rng(0)
    x, truth = rng.normal(0, 1, (60, 2)), rng.integers(0, 2, 60)
    around = boundaries.limits(x)

    def picture(slope):
        def predict(at):
            p = 1 / (1 + np.exp(-slope * at[:, :1]))
            return np.hstack([1 - p, p])

        return drawn(boundaries.boundary(predict, x, truth, around, ["a", "b"], ["no", "yes"]))

    one, two = picture(3.0).axes[0], picture(-0.1).axes[0]
    assert one.get_xlim() == two.get_xlim() == around[:2]
    assert one.get_ylim() == two.get_ylim() == around[2:]
    points = [[c for c in axes.collections if len(c.get_offsets()) > 1] for axes in (one, two)]
    for a, b in zip(*points, strict=True):
        assert (a.get_offsets() == b.get_offsets()).all()
        assert (a.get_facecolor() == b.get_facecolor()).all()
    assert [t.get_text() for t in one.get_legend().get_texts()] == ["no", "yes"]
    assert sum(len(c.get_offsets()) for c in points[0]) == 60
    assert around[0] < x[:, 0].min()
    assert x[:, 0].max() < around[1]


def test_the_line_lies_where_the_decision_changes():
    x, truth = np.array([[-1.0, 0.0], [1.0, 0.0]]), np.array([0, 1])

    def predict(at):
        right = at[:, 0] > 0.25
        return np.stack([~right, right], axis=1).astype(float)

    (axes,) = drawn(boundaries.boundary(predict, x, truth, (-2, 2, -2, 2), ["a", "b"], [0, 1])).axes
    lines = [path.vertices for c in axes.collections for path in c.get_paths() if len(path.vertices) > 50]
    assert np.concatenate(lines)[:, 0] == pytest.approx(0.25, abs=4 / boundaries.SIDE)


def test_many_classes_and_numbers_and_one_sided_decisions_are_drawn():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (90, 2))
    truth = rng.integers(0, 9, 90)
    drawn(
        boundaries.boundary(
            lambda at: np.eye(9)[[0] * len(at)], x, truth, boundaries.limits(x), ["a", "b"], range(9)
        )
    )
    figure = drawn(boundaries.boundary(lambda at: at.sum(1), x, x.sum(1), boundaries.limits(x), ["a", "b"]))
    image, samples = figure.axes[0].images[0], figure.axes[0].collections[0]
    assert image.get_clim() == samples.get_clim() == (x.sum(1).min(), x.sum(1).max())
    one = np.zeros((1, 2))
    drawn(boundaries.boundary(lambda at: at[:, 0], one, one[:, 0], boundaries.limits(one), ["a", "b"]))


def test_the_first_layer_has_a_tile_a_unit_on_one_scale_around_0():
    w = np.arange(5 * 16.0).reshape(5, 16) - 60
    axes, bar = drawn(first_weights(w, SQUARE, pixels(SQUARE))).axes
    image = axes.images[0].get_array()
    assert axes.images[0].get_clim() == (-60, 60)
    for i in range(5):
        down, across = divmod(i, 3)
        assert (image[5 * down : 5 * down + 4, 5 * across : 5 * across + 4] == w[i].reshape(4, 4)).all()
    assert np.isnan(np.ma.filled(image, np.nan)[:, 4]).all()
    assert [t.get_text() for t in bar.get_yticklabels()] == ["−60", "0", "60"]
    axes, _ = drawn(first_weights(w[:, :3], ["a", "$\\b", "c"], limit=2.0)).axes
    assert (axes.images[0].get_array() == w[:, :3]).all()
    assert axes.images[0].get_clim() == (-2, 2)
    assert [t.get_text() for t in axes.get_xticklabels()] == ["a", "$\\b", "c"]


def test_of_many_units_and_inputs_some_are_drawn_and_it_is_said():
    rng = np.random.default_rng(0)
    figure = drawn(first_weights(rng.normal(0, 1, (200, 100)), [f"c{i}" for i in range(100)]))
    assert figure.get_suptitle() == "First layer: 64 of 200 units, 40 of 100 inputs"
    drawn(first_weights(np.full((2, 3), np.nan), ["a", "b", "c"]))
    drawn(first_weights(np.zeros((1, 1)), ["a"]))


def test_pixels_are_known_by_their_names():
    *_, names = DATASETS["digits"].read(0)
    found = pixels(names)
    assert (found.height, found.width) == (8, 8)
    x = np.arange(64.0)[None]
    assert (found.images(x)[0] == x.reshape(8, 8)).all()
    ones = pixels([f"pixel{i}" for i in range(1, 785)])
    assert (ones.height, ones.width, ones.at[0]) == (28, 28, 0)
    bordered = pixels([f"pixel{i}" for i in range(13, 780)])  # a border that is always white is no input
    assert (bordered.height, bordered.width, bordered.at[0]) == (28, 28, 12)
    assert (bordered.images(np.ones((1, 767))).reshape(-1)[[11, 12, 778, 779]] == [0, 1, 1, 0]).all()


@pytest.mark.parametrize(
    "names",
    [
        ["a", "b"] * 8, ["pixel1", "pixel2"], ["pixel1"] * 16, [f"pixel{1000 * i}" for i in range(20)],
        [*SQUARE[:-1], "age"], [*SQUARE[:-1], "pixel7"],
    ],
)  # fmt: skip
def test_other_columns_are_no_image(names):
    assert pixels(names) is None
