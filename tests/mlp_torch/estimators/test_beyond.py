"""What goes beyond scikit-learn, and what is saved, pickled, assigned and memory-mapped."""

import pickle

import joblib
import numpy as np
import pytest
import torch

import mlp_torch
from mlp_torch import MLPClassifier, MLPRegressor
from mlp_torch.errors import UserError
from tests.mlp_torch.estimators.data import DIGITS, MOONS

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
