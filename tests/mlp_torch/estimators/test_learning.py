"""The estimators learn what scikit-learn's learn, and their epochs move the weights as its own do."""

import inspect

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier as Theirs
from sklearn.neural_network import MLPRegressor as TheirRegressor

from mlp_torch import MLPClassifier, MLPRegressor
from mlp_torch.config import ENGINES
from tests.mlp_torch.estimators.data import DIGITS, MOONS


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


@pytest.mark.parametrize(("ours", "theirs"), [(MLPClassifier, Theirs), (MLPRegressor, TheirRegressor)])
def test_every_parameter_and_attribute_is_scikit_learns(ours, theirs):
    x, y = MOONS
    a, b = ours(max_iter=3).fit(x, y), theirs(max_iter=3).fit(x, y)
    names = [list(inspect.signature(k).parameters) for k in (theirs, ours)]
    assert names[0] == names[1][: len(names[0])]
    for name, value in b.get_params().items():
        assert a.get_params()[name] == value
    fitted = [n for n in vars(b) if n.endswith("_") and not n.startswith("_")]
    assert {"t_", "best_loss_", "n_layers_", "out_activation_", "n_outputs_"} <= set(fitted)
    for name in fitted:
        assert isinstance(getattr(a, name), type(getattr(b, name)) | float), name
    assert [c.shape for c in a.coefs_] == [c.shape for c in b.coefs_]
    assert clone(a).get_params() == a.get_params()


PROBLEMS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05},
    "plain sgd": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1},
    "alpha": {"solver": "sgd", "alpha": 3.0, "learning_rate_init": 0.02},
    "betas": {"beta_1": 0.7, "beta_2": 0.9},
    "tanh": {"activation": "tanh"},
    "logistic": {"activation": "logistic"},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0.0},
}


@pytest.mark.parametrize("engine", ["manual", "compiled"])
@pytest.mark.parametrize("target", ["binary", "classes", "multilabel", "real", "several reals"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_an_epoch_moves_the_weights_as_scikit_learns_own(problem, target, engine):
    """With sample weights, from the same start; ε, elsewhere in our Adam, is next to nothing."""
    g = np.random.default_rng(5)
    x, w = g.normal(size=(47, 5)), g.uniform(0.5, 2, size=47)
    score = x @ g.normal(size=(5, 3))
    y = {
        "binary": (score[:, 0] > 0).astype(int), "classes": score.argmax(axis=1),
        "multilabel": (score > 0).astype(int), "real": score[:, 0], "several reals": score,
    }[target]  # fmt: skip
    kinds = (MLPRegressor, TheirRegressor) if "real" in target else (MLPClassifier, Theirs)
    options = {
        "hidden_layer_sizes": (7, 3),
        "max_iter": 2,
        "random_state": 3,
        "batch_size": 47,
        "epsilon": 1e-15,
    }
    options |= PROBLEMS[problem]
    ours = kinds[0](engine=engine, **options).fit(x, y, sample_weight=w)
    theirs = kinds[1](**options).fit(x, y, sample_weight=w)
    loose = 1e-6 if theirs.solver == "adam" else 1e-9
    for a, b in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(a, b, rtol=loose, atol=loose * np.abs(b).max())
    np.testing.assert_allclose(ours.loss_curve_[0], theirs.loss_curve_[0], rtol=1e-9)


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


def test_the_random_state_settles_everything():
    x, y = MOONS
    a, b, c = (MLPClassifier((8,), max_iter=3, random_state=seed).fit(x, y) for seed in (1, 1, 2))
    assert np.array_equal(a.predict_proba(x), b.predict_proba(x))
    assert not np.array_equal(a.predict_proba(x), c.predict_proba(x))


def test_it_stops_when_the_loss_falls_no_more():
    x, y = MOONS
    ours = MLPClassifier((4,), tol=10.0, n_iter_no_change=3, max_iter=50).fit(x, y)
    assert ours.n_iter_ == 5
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        MLPClassifier((4,), max_iter=2).fit(x, y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_layer_sizes": (3, 0)}, r"hidden_layer_sizes must be > 0"),
        ({"activation": "rely"}, r"The 'activation' parameter of MLPClassifier must be a str among"),
        ({"solver": "newton"}, r"The 'solver' parameter of MLPClassifier must be a str among"),
        ({"learning_rate_init": 0}, r"The 'learning_rate_init' parameter"),
        ({"alpha": -1.0}, r"The 'alpha' parameter"),
        ({"batch_size": "many"}, r"The 'batch_size' parameter"),
        ({"max_iter": 0}, r"The 'max_iter' parameter"),
        ({"engine": "quick"}, r"The 'engine' parameter"),
        ({"dropout": 1.0}, r"The 'dropout' parameter"),
        ({"normalization": "group_norm"}, r"The 'normalization' parameter"),
        ({"solver": "lbfgs", "dropout": 0.5}, r"lbfgs' is scikit-learn's"),
        ({"engine": "compiled", "normalization": "layer_norm"}, r"engine compiled: .*no layer_norm"),
        ({"learning_rate_init": 1e30, "solver": "sgd"}, r"non-finite .*learning_rate_init is too large"),
    ],
)
def test_a_parameter_that_cannot_be_is_named(options, message):
    x, y = MOONS
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**options).fit(x, y)
