"""Steps 8 to 10: saturation, comparisons, XOR, and depth at equal parameter count."""

import math
from dataclasses import replace

import numpy as np
import pytest

from manual import MLP, Architecture
from mlp_torch.lecture import (
    depth,
    experiments,
    hyperparameters,
    xor,
)
from mlp_torch.lecture.walk import Walk
from tests.mlp_torch.lecture.opened import QUICK


def test_larger_weights_saturate_more_sigmoid_and_tanh_units():
    rows = {(n, s): share for n, s, share, _ in hyperparameters.measure_saturation(QUICK, (1, 64))}
    for name in ("sigmoid", "tanh"):
        assert rows[name, 1] == 0
        assert rows[name, 64] > 0.3


def test_a_unit_is_dead_exactly_if_no_sample_reaches_it():
    model = MLP((2, 8, 1), dtype=np.float32)
    model.parameters["layers.0.bias"][:] = 0  # a line through the middle of the data: half the samples
    assert hyperparameters.dead_units(model, QUICK, seed=0) == 0
    model.parameters["layers.0.bias"][:3] = -1e6
    assert hyperparameters.dead_units(model, QUICK, seed=0) == 3
    model.parameters["layers.0.bias"][:] = -1e6
    assert hyperparameters.dead_units(model, QUICK, seed=0) == 8
    leaky = MLP((2, 8, 1), dtype=np.float32, activation="leaky_relu")
    leaky.parameters["layers.0.bias"][:] = -1e6
    assert hyperparameters.dead_units(leaky, QUICK, seed=0) == 0


def test_every_comparison_differs_from_its_neighbours_and_passes_the_trainers_checks():
    for data in ("digits", "moons"):
        for settings, _ in hyperparameters.comparisons(Walk(data=data)).values():
            assert len(settings) >= 2
            assert len({repr(s) for s in settings.values()}) == len(settings)
            for setting in settings.values():
                replace(setting, data=data).check()


def test_early_stopping_keeps_the_weights_of_the_lowest_validation_loss():
    setting = replace(experiments.BASE, data="moons", lr=0.1, schedule="constant", epochs=30)
    outcome = experiments.train(replace(setting, early_stopping=3), samples=60)
    assert outcome.epochs < 30
    data = experiments.read("moons", None, 0)
    kept, _ = data.score(outcome.model.predict(data.validation.x), data.validation)
    assert kept == pytest.approx(min(outcome.curve), rel=1e-5)


def test_one_perceptron_never_gets_all_of_xor_right_and_two_layers_by_hand_do():
    tried = xor.measure_xor(Walk(seeds=3))
    assert max(tried[()].right) <= 3
    assert tried[()].loss == pytest.approx(math.log(2), abs=1e-3)
    assert tried[(8,)].solved == 3
    assert np.array_equal(xor.by_hand().predict(xor.X), xor.Y)


@pytest.mark.parametrize("layers", depth.DEPTHS)
@pytest.mark.parametrize(("budget", "ends"), [(5000, (64, 10)), (300, (1, 1))])
def test_no_other_width_is_nearer_to_the_budget(layers, budget, ends):
    width = depth.width_for(budget, layers, *ends)

    def off(w: int) -> int:
        return abs(Architecture((ends[0], *(w,) * layers, ends[1])).counts().parameters - budget)

    assert off(width) <= min(off(width - 1), off(width + 1))
    assert off(width) < 0.1 * budget


def test_three_relu_layers_of_two_units_are_exactly_the_sawtooth():
    x = np.arange(0, 1025)[:, None] / 1024  # dyadic: no operation rounds
    assert np.array_equal(depth.by_hand().predict(x), depth.sawtooth(x))
    peaks = np.flatnonzero(depth.sawtooth(x)[:, 0] == 1)
    assert len(peaks) == 2 ** (depth.FOLDS - 1)


def test_the_interval_of_a_gain_is_students():
    from scipy import stats

    rng = np.random.default_rng(0)
    better, plain = rng.normal(0.9, 0.02, 5), rng.normal(0.88, 0.02, 5)
    low, high = stats.ttest_rel(better, plain).confidence_interval()
    mean, half = experiments.gain(list(better), list(plain))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert experiments.gain([1.0], [0.5]) == (0.5, math.inf)


def test_the_verdict_follows_the_numbers_whichever_way_they_come_out():
    flat = depth.ShapeResult((9,), 300, [0.9, 0.8, 0.85])
    steep = depth.ShapeResult((5, 5), 300, [0.99, 0.9, 0.94])
    noisy = depth.ShapeResult((5, 5), 300, [0.7, 0.99, 0.95])  # a higher mean, by chance
    assert "depth pays" in depth.verdict("x", [flat, steep])
    assert "+0.093 ± 0.014, better in 3 of 3 seeds" in depth.verdict("x", [flat, steep])
    assert "does not pay" in depth.verdict("x", [flat, noisy])
    assert "does not pay" in depth.verdict("x", [steep, flat])
