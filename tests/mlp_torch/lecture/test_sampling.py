"""Step 7: the noise of batches is the predicted one, and what it does to the end of training."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from manual import MLP
from mlp_torch.lecture import (
    descent,
    experiments,
    sampling,
)
from tests.mlp_torch.lecture.opened import QUICK


@pytest.mark.parametrize("batch", [1, 2, 3, 6])
def test_the_mean_over_all_batches_is_exactly_the_gradient_of_the_sum_over_n(batch):
    exact = sampling.measure_unbiased(seed=1, batch=batch)
    assert (exact.batches, exact.entries, exact.mismatches) == (math.comb(6, batch), 32, 0)
    assert exact.nonzero > 20  # zeros would prove nothing


def test_a_batch_of_its_own_is_not_the_whole_gradient():
    """The check can fail: two of the six samples in place of all."""
    model = MLP((3, 5, 2), seed=3)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    whole = model.loss_and_gradients(x, y, "mse")[1]["layers.0.weight"]
    assert not np.allclose(model.loss_and_gradients(x[:2], y[:2], "mse")[1]["layers.0.weight"], whole)


def test_the_measured_noise_is_the_predicted_one_and_0_for_all_samples():
    measured, predicted = sampling.measure_noise(QUICK, batch=16, draws=400)
    assert measured == pytest.approx(predicted, rel=0.1)
    assert sampling.measure_noise(QUICK, batch=10**6, draws=2)[1] == 0
    assert sampling.measure_noise(QUICK, batch=10**6, draws=2)[0] < 1e-6


def test_all_samples_reach_the_best_weight_and_one_at_a_time_with_a_constant_rate_does_not():
    full, constant, decayed = descent.measure_convergence(QUICK, (10, 100, 400)).values()
    assert full[1] < 1e-14
    assert min(constant) > 1e-4
    assert decayed[2] < decayed[1] < decayed[0] < 1e-1
    assert decayed[2] > 1e-8


def test_a_plus_in_the_update_climbs():
    setting = replace(
        experiments.BASE, data="moons", optimizer="sgd", schedule="constant", batch_size=10**6, epochs=5
    )
    down = experiments.train(replace(setting, lr=0.5), until=-1.0).curve
    up = experiments.train(replace(setting, lr=-0.5), until=-1.0).curve
    assert all(b < a for a, b in pairwise(down))
    assert all(b > a for a, b in pairwise(up))


def test_a_run_stops_at_the_training_loss_that_it_was_given():
    setting = replace(experiments.BASE, data="moons", epochs=50)
    outcome = experiments.train(setting, until=0.3)
    assert outcome.epochs == len(outcome.curve) < 50
    assert outcome.curve[-1] <= 0.3 < outcome.curve[-2]
