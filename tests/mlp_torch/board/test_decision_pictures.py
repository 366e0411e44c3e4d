"""The pictures of decisions, read from their artists: confusion, mistakes, the boundary of two inputs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp_torch.board.pictures import boundary as boundaries
from mlp_torch.board.pictures.confusion import confusion
from mlp_torch.board.pictures.images import pixels
from mlp_torch.board.pictures.mistakes import Decisions, as_columns, as_images, regression, worst
from mlp_torch.board.pictures.style import VERMILION, shown
from tests.mlp_torch.board.artists import SQUARE, drawn, texts

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
