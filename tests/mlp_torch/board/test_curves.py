"""The curves are scikit-learn's, in the tensors that TensorBoard reads and on the figure."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from tensorboard.plugins.pr_curve import metadata
from tensorboard.util.tensor_util import make_ndarray

from mlp_torch.board.curves import compared, pr_curve, pr_curves, roc


def binary(seed, n, weighted):
    """Truth, probabilities with ties and ends, weights."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.4
    truth[:2] = True, False
    p = np.clip(rng.normal(0.4 + 0.2 * truth, 0.3).round(int(rng.integers(1, 6))), 0, 1)
    return truth, p, rng.uniform(0.01, 3, n).round(2) if weighted else np.ones(n)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 60), weighted=st.booleans())
def test_the_pr_curve_s_points_are_scikit_learn_s(seed, n, weighted):
    truth, p, w = binary(seed, n, weighted)
    *counts, precision, recall = pr_curve(truth, p, w)
    for i in range(seed % 10, 201, 10):
        decided = p >= np.linspace(0, 1, 201)[i]
        table = sk.confusion_matrix(truth, decided, sample_weight=w, labels=[False, True])
        (tn, fp), (fn, tp) = table / min(1, w.min())
        assert [c[i] for c in counts] == pytest.approx([tp, fp, tn, fn], rel=1e-9, abs=1e-9)
        one = {"sample_weight": w, "zero_division": 1}
        assert precision[i] == pytest.approx(sk.precision_score(truth, decided, **one), abs=1e-12)
        assert recall[i] == pytest.approx(sk.recall_score(truth, decided, **one), abs=1e-12)


def test_a_curve_of_other_decisions_is_another():
    truth, p, w = binary(0, 60, True)
    right = pr_curve(truth, p, w)
    for wrong in (
        pr_curve(truth, p[::-1].copy(), w),
        pr_curve(truth, p, w[::-1].copy()),
        pr_curve(~truth, p, w),
    ):
        assert np.abs(wrong[4:] - right[4:]).max() > 0.01


def many(classes, n=300, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.minimum(rng.geometric(0.15, n) - 1, classes - 1)
    scores = rng.dirichlet(np.ones(classes), n) + 0.3 * np.eye(classes)[truth]
    return truth, scores / scores.sum(axis=1, keepdims=True)


def test_the_plugin_reads_a_curve_a_class_one_against_the_rest():
    truth, p = many(4)
    summary = pr_curves(truth, p, ["a", "b/c", "$x$", 7])
    assert [v.tag for v in summary.value] == ["pr/a", "pr/b/c", "pr/$x$", "pr/7"]
    for k, value in enumerate(summary.value):
        curve = make_ndarray(value.tensor)
        assert curve == pytest.approx(pr_curve(truth == k, p[:, k], np.ones(300)), rel=1e-6)
        assert value.metadata.plugin_data.plugin_name == metadata.PLUGIN_NAME
        assert (
            metadata.parse_plugin_metadata(value.metadata.plugin_data.content).num_thresholds
            == curve.shape[1]
        )


def test_two_classes_have_one_curve_and_many_those_of_the_ten_most_frequent():
    assert compared(np.array([0, 1, 1]), 2) == [1]
    truth, _ = many(30)
    counts = np.bincount(truth, minlength=30)
    chosen = compared(truth, 30)
    assert len(chosen) == 10
    assert counts[chosen].min() >= np.delete(counts, chosen).max()
    assert compared(np.zeros(5, dtype=int), 3) == []


def test_where_there_is_one_class_alone_there_is_no_curve():
    p = np.full((4, 3), 1 / 3)
    assert len(pr_curves(np.zeros(4, dtype=int), p, "abc").value) == 0
    figure = roc(np.zeros(4, dtype=int), p, "abc")
    figure.savefig(io.BytesIO())
    assert figure.axes[0].get_title() == "One class alone: no curve"


def test_samples_that_weigh_nothing_or_have_no_number_are_left_out():
    truth, p = many(3)
    weights, odd = np.ones(300), p.copy()
    weights[:50] = 0
    odd[50:70] = np.nan
    ours, rest = pr_curves(truth, odd, "abc", weights), pr_curves(truth[70:], p[70:], "abc")
    assert ours == rest
    assert len(pr_curves(np.where(weights > 0, 0, truth), p, "abc", weights).value) == 0


def test_the_roc_curve_is_scikit_learn_s_with_the_area_in_its_legend():
    truth, p = many(3)
    rng = np.random.default_rng(1)
    weights = rng.uniform(0.5, 2, 300)
    labels = ["a", "b", "$\\c"]
    figure = roc(truth, p, labels, weights)
    figure.savefig(io.BytesIO())
    (axes,) = figure.axes
    for k, line in enumerate(axes.lines[1:]):
        fpr, tpr, _ = sk.roc_curve(truth == k, p[:, k], sample_weight=weights)
        assert (line.get_xydata() == np.stack([fpr, tpr], axis=1)).all()
        area = sk.roc_auc_score(truth == k, p[:, k], sample_weight=weights)
        assert line.get_label() == f"{labels[k]}: {area:.3f}"
    assert len(axes.lines) == 4
    assert (
        len(
            {(line.get_color(), line.get_linestyle()) for line in roc(*many(30), range(30)).axes[0].lines[1:]}
        )
        == 10
    )
