"""The classifier has scikit-learn's manners and learns what scikit-learn's learns."""

import inspect
import pickle
import re
import subprocess
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
import sklearn.neural_network.tests.test_mlp as their_tests
import torch
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.datasets import load_digits, make_moons
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier as Theirs
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import mlp_torch
from mlp_torch import MLPClassifier, MLPRegressor
from mlp_torch.config import ENGINES
from mlp_torch.errors import UserError

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


def test_data_that_cannot_be_is_named():
    x, y = MOONS
    with pytest.raises(ValueError, match="NaN"):
        MLPClassifier().fit(np.where(x == x[3, 1], np.nan, x), y)
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(x)
    with pytest.raises(ValueError, match="X has 3 features, but MLPClassifier is expecting 2"):
        MLPClassifier((3,), max_iter=1).fit(x, y).predict(np.ones((1, 3)))


@pytest.mark.parametrize("ours", [MLPClassifier, MLPRegressor])
def test_weights_that_sum_to_less_than_0_are_named(ours):
    x = np.random.default_rng(0).normal(size=(31, 3))
    with pytest.raises(ValueError, match="the sample weights sum to -31; the sum must be above 0"):
        ours(hidden_layer_sizes=(5,), max_iter=2).fit(x, x[:, 0] > 0, sample_weight=-np.ones(31))


def test_what_numpy_trains_never_waits_for_torch():
    code = (
        "import sys; from mlp_torch import MLPClassifier; "
        "MLPClassifier((3,), max_iter=1, tol=0, engine='manual', device='cpu').fit([[0.0], [1.0]], [0, 1]); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("engine", ["manual"])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_scikit_learns_checks_of_an_estimator_all_pass(kind, engine):
    found = check_estimator(kind(engine=engine, max_iter=100), on_fail=None, on_skip=None)
    assert len(found) > 50
    assert [r["check_name"] for r in found if r["status"] not in ("passed", "skipped")] == []


@pytest.mark.long
@pytest.mark.parametrize("engine", ["auto", "compiled", "torch", "autograd", "both"])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_scikit_learns_checks_pass_with_every_engine(kind, engine):
    test_scikit_learns_checks_of_an_estimator_all_pass(kind, engine)


@pytest.mark.long
def test_scikit_learns_own_tests_of_its_network_pass(tmp_path):
    """Its file, read where it is installed, with our classes imported in the place of its."""
    text = Path(their_tests.__file__).read_text(encoding="utf-8")
    line = "from sklearn.neural_network import MLPClassifier, MLPRegressor\n"
    assert line in text
    own = tmp_path / "test_their_network.py"
    own.write_text(
        text.replace(line, "from mlp_torch import MLPClassifier, MLPRegressor\n"), encoding="utf-8"
    )
    (tmp_path / "conftest.py").write_text("from sklearn.conftest import *\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", str(own)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 50


MORE = [
    {"normalization": "batch_norm"},
    {"normalization": "layer_norm", "activation": "gelu"},
    {"dropout": 0.3, "schedule": "cosine"},
    {"activation": "prelu", "solver": "adamw"},
    {"activation": "silu", "solver": "rmsprop"},
    {"class_weight": "balanced"},
]


@pytest.mark.parametrize("options", MORE, ids=[" ".join(map(str, o.values())) for o in MORE])
@pytest.mark.parametrize("engine", ["manual", "torch"])
def test_what_goes_beyond_scikit_learn_is_learnt_saved_and_pickled(tmp_path, options, engine):
    x, y = MOONS
    words = np.where(y == 1, "up", "down")
    ours = MLPClassifier(
        (16,), max_iter=80, batch_size=20, learning_rate_init=0.01, random_state=0, engine=engine, **options
    )
    ours.fit(x, words)
    assert ours.score(x, words) > 0.85
    ours.save(tmp_path / "m.safetensors")
    again = MLPClassifier.load(tmp_path / "m.safetensors")
    assert again.get_params() == ours.get_params()
    for other in (again, pickle.loads(pickle.dumps(ours))):
        np.testing.assert_array_equal(other.predict_proba(x), ours.predict_proba(x))
    run = mlp_torch.load_run(tmp_path / "m.safetensors")
    np.testing.assert_allclose(run.predict_proba(x), ours.predict_proba(x), atol=1e-6)
    assert list(run.predict(x)) == list(ours.predict(x))
    logits = ours.to_torch()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(1 / (1 + np.exp(-logits[:, 0])), ours.predict_proba(x)[:, 1], atol=1e-6)


def test_a_regressor_is_saved_and_loaded(tmp_path):
    x, _ = MOONS
    ours = MLPRegressor(hidden_layer_sizes=(9,), max_iter=20, random_state=0).fit(x, x[:, 0] * 3 - x[:, 1])
    ours.save(tmp_path / "m.safetensors")
    again = MLPRegressor.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.predict(x), ours.predict(x))
    with pytest.raises(UserError, match="holds a MLPRegressor, no MLPClassifier"):
        MLPClassifier.load(tmp_path / "m.safetensors")


def test_balanced_classes_count_alike():
    g = np.random.default_rng(1)
    x = np.concatenate([g.normal(0, 1, (950, 2)), g.normal(1.5, 1, (50, 2))])
    y = np.repeat([0, 1], [950, 50])
    options = {"hidden_layer_sizes": (8,), "max_iter": 60, "random_state": 0}
    plain = MLPClassifier(**options).fit(x, y)
    balanced = MLPClassifier(class_weight="balanced", **options).fit(x, y)
    assert balanced.predict(x)[y == 1].mean() > plain.predict(x)[y == 1].mean() + 0.2
    weighted = MLPClassifier(**options).fit(x, y, sample_weight=np.where(y == 1, 10.0, 1000 / 1900))
    np.testing.assert_allclose(weighted.predict_proba(x), balanced.predict_proba(x), atol=1e-9)


@pytest.mark.parametrize("engine", ["manual", "compiled", "torch"])
def test_a_pickle_holds_weights_and_no_buffers(engine):
    x, x_test, y, _ = DIGITS
    ours = MLPClassifier((32,), max_iter=2, engine=engine, dtype="float32").fit(x, y)
    weights = sum(a.nbytes for a in ours.coefs_ + ours.intercepts_)
    assert len(pickle.dumps(ours)) < 3.5 * weights  # the best weights beside the last ones, as scikit-learn's
    again = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(again.predict(x_test), ours.predict(x_test))
    again.partial_fit(x, y)


def test_weights_that_are_assigned_change_predictions():
    x, y = MOONS
    ours = MLPClassifier((5,), max_iter=3).fit(x, y)
    before = ours.predict_proba(x)
    ours.coefs_[1] = -ours.coefs_[1]
    ours.intercepts_[1] = -ours.intercepts_[1]
    np.testing.assert_allclose(ours.predict_proba(x), before[:, ::-1], rtol=1e-9)


def test_read_only_memory_mapped_weights_predict(tmp_path):
    x, y = MOONS
    ours = MLPClassifier((5,), max_iter=3).fit(x, y)
    joblib.dump(ours, tmp_path / "m.joblib")
    mapped = joblib.load(tmp_path / "m.joblib", mmap_mode="r")
    assert not mapped.coefs_[0].flags.writeable
    np.testing.assert_array_equal(mapped.predict(x), ours.predict(x))


def test_sparse_rows_are_those_of_the_dense_matrix():
    x, y = MOONS
    x = np.where(np.abs(x) < 0.5, 0, x)
    a, b = (MLPClassifier((7,), max_iter=5, random_state=0).fit(m, y) for m in (x, csr_matrix(x)))
    np.testing.assert_allclose(a.predict_proba(x), b.predict_proba(csr_matrix(x)), rtol=1e-9)


def test_a_grid_is_searched_by_several_processes():
    x, y = MOONS
    search = GridSearchCV(
        MLPClassifier((8,), max_iter=20, random_state=0), {"alpha": [1e-4, 1e-2]}, n_jobs=2, cv=3
    ).fit(x, y)
    assert search.best_score_ > 0.8
