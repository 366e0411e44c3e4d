"""The estimators have scikit-learn's manners: its parameters, checks, pipelines and errors."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sklearn.neural_network.tests.test_mlp as their_tests
from scipy.sparse import csr_matrix
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from mlp_torch import MLPClassifier, MLPRegressor
from tests.mlp_torch.estimators.data import MOONS


def test_it_stands_in_pipelines_and_cross_validation():
    x, y = MOONS
    pipeline = make_pipeline(
        StandardScaler(), MLPClassifier((16,), max_iter=60, batch_size=20, learning_rate_init=0.01)
    )
    assert cross_val_score(pipeline, x, y, cv=3).min() > 0.9


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
