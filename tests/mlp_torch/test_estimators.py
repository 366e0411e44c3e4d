"""The classifier has scikit-learn's manners and learns what scikit-learn's learns."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, make_moons
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier as Theirs
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlp_torch import MLPClassifier
from mlp_torch.config import ENGINES

DIGITS = train_test_split(*load_digits(return_X_y=True), random_state=0, test_size=0.25)
MOONS = make_moons(400, noise=0.2, random_state=0)


@pytest.fixture(autouse=True)
def _short_runs():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


@pytest.mark.parametrize("engine", sorted(set(ENGINES) - {"both"}))
def test_every_engine_learns_the_digits_as_well_as_scikit_learn(engine):
    x, x_test, y, y_test = DIGITS
    options = {"hidden_layer_sizes": (64, 32), "max_iter": 30, "random_state": 1}
    ours = MLPClassifier(engine=engine, **options).fit(x / 16, y)
    theirs = Theirs(**options).fit(x / 16, y)
    assert ours.score(x_test / 16, y_test) >= theirs.score(x_test / 16, y_test) - 0.02
    assert ours.score(x_test / 16, y_test) > 0.93
    assert ours.engine_ in set(ENGINES) - {"auto", "both"}
    assert len(ours.loss_curve_) == ours.n_iter_ == 30
    assert ours.loss_ == ours.loss_curve_[-1] < ours.loss_curve_[0]


def test_its_parameters_and_attributes_are_scikit_learns():
    x, y = MOONS
    ours, theirs = (kind((7, 5), max_iter=3).fit(x, y) for kind in (MLPClassifier, Theirs))
    names = set(ours.get_params()) - {"engine", "dtype", "device"}
    assert names <= set(theirs.get_params())
    for name in names:
        assert ours.get_params()[name] == theirs.get_params()[name]
    assert [c.shape for c in ours.coefs_] == [c.shape for c in theirs.coefs_]
    assert [b.shape for b in ours.intercepts_] == [b.shape for b in theirs.intercepts_]
    assert ours.n_features_in_ == 2
    assert clone(ours).get_params() == ours.get_params()


def test_its_output_is_the_network_of_its_attributes():
    x, y = MOONS
    ours = MLPClassifier((7,), activation="tanh", dtype="float64", max_iter=5, random_state=0).fit(x, y)
    z = np.tanh(x @ ours.coefs_[0] + ours.intercepts_[0]) @ ours.coefs_[1] + ours.intercepts_[1]
    np.testing.assert_allclose(ours.predict_proba(x)[:, 1], 1 / (1 + np.exp(-z[:, 0])), rtol=1e-12)
    assert np.array_equal(ours.predict(x), (z[:, 0] > 0).astype(int))


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_may_be_words_and_probabilities_sum_to_1(classes):
    x, y = MOONS
    words = np.array(["no", "yes", "perhaps"])[np.where(x[:, 0] > 1.5, classes - 1, y)]
    ours = MLPClassifier((16,), max_iter=100, batch_size=20, learning_rate_init=0.01, random_state=0).fit(
        x, words
    )
    assert set(ours.predict(x)) == set(words) == set(ours.classes_)
    p = ours.predict_proba(x)
    assert p.shape == (400, classes)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    assert np.array_equal(ours.classes_[p.argmax(axis=1)], ours.predict(x))
    assert ours.score(x, words) > 0.9


def test_it_stands_in_pipelines_and_cross_validation():
    x, y = MOONS
    pipeline = make_pipeline(
        StandardScaler(), MLPClassifier((16,), max_iter=60, batch_size=20, learning_rate_init=0.01)
    )
    assert cross_val_score(pipeline, x, y, cv=3).min() > 0.9


def test_the_random_state_settles_everything():
    x, y = MOONS
    a, b, c = (MLPClassifier((8,), max_iter=3, random_state=seed).fit(x, y) for seed in (1, 1, 2))
    assert np.array_equal(a.predict_proba(x), b.predict_proba(x))
    assert not np.array_equal(a.predict_proba(x), c.predict_proba(x))


def test_it_stops_when_the_loss_falls_no_more():
    x, y = MOONS
    ours = MLPClassifier((4,), tol=10.0, n_iter_no_change=3, max_iter=50).fit(x, y)
    assert ours.n_iter_ == 5
    with pytest.warns(ConvergenceWarning, match="max_iter = 2"):
        MLPClassifier((4,), max_iter=2).fit(x, y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_layer_sizes": (3, 0)}, r"^hidden_layer_sizes 3 0: every layer needs at least 1 neuron"),
        ({"activation": "rely"}, r"^activation: unknown activation 'rely': did you mean 'relu'"),
        ({"solver": "lbfgs"}, r"^solver: unknown optimizer 'lbfgs'"),
        ({"learning_rate_init": 0}, r"^learning_rate_init 0: must be a finite number above 0"),
        ({"alpha": -1.0}, r"^alpha -\d"),
        ({"batch_size": "many"}, r"^batch_size is 'auto' or a number of samples, not 'many'"),
        ({"max_iter": 0}, r"^max_iter 0: must be at least 1"),
        ({"engine": "quick"}, r"^engine: unknown engine 'quick'"),
        (
            {"learning_rate_init": 1e30, "solver": "sgd"},
            r"the loss became .* try a smaller learning_rate_init",
        ),
    ],
)
def test_a_parameter_that_cannot_be_is_named(options, message):
    x, y = MOONS
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**options).fit(x, y)


def test_data_that_cannot_be_is_named():
    x, y = MOONS
    with pytest.raises(ValueError, match="NaN"):
        MLPClassifier().fit(np.where(x == x[3, 1], np.nan, x), y)
    with pytest.raises(ValueError, match="y has one class only"):
        MLPClassifier().fit(x, np.zeros(400))
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(x)
    with pytest.raises(ValueError, match="X has 3 features, but MLPClassifier is expecting 2"):
        MLPClassifier((3,), max_iter=1).fit(x, y).predict(np.ones((1, 3)))
