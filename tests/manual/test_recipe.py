"""Weighted samples, penalties, clipping and accumulation: what they mean; all NumPy engines agree."""

import copy
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manual import LOSSES, MLP, OPTIMIZERS, Recipe, fit
from manual.buffered import BufferedEngine
from manual.compiled import CompiledEngine
from manual.numbers import Array
from manual.training.batches import batch_counts, first_batch, pieces
from manual.training.engine import ManualEngine
from tests.problems import Problem, near_kink, problems

RECIPES = st.builds(
    Recipe,
    l1=st.sampled_from([0.0, 0.01]),
    l2=st.sampled_from([0.0, 0.1]),
    clip_norm=st.sampled_from([None, 1e-3, 0.3, 1e6]),
    accumulate=st.sampled_from([1, 1, 2, 3]),
) | st.builds(Recipe, l2=st.sampled_from([0.0, 0.1]), clip_value=st.sampled_from([1e-3, 0.05, 1e3]))


def drawn_weights(problem: Problem, n: int) -> Array:
    """Weights that differ by a factor of ten."""
    return np.random.default_rng([problem.seed, 4]).uniform(0.3, 3.0, n)


def trained(kind: Any, model: MLP, loss: str, recipe: Recipe, *data: Any, **more: Any) -> dict[str, Array]:
    """The weights after two epochs of that engine, and its gradients of the last update."""
    model = copy.deepcopy(model)
    engine = kind(model, loss, OPTIMIZERS["sgd"](model.parameters, momentum=0.9), recipe, **more)
    x, y, weights = data
    list(fit(engine, x, y, epochs=2, batch_size=3, lr=0.05, weights=weights))
    last = {f"gradient of {n}": g.copy() for n, g in engine.gradients.items()}
    return engine.parameters() | last


@given(problems(), st.sampled_from(list(LOSSES)), RECIPES, st.booleans(), st.sampled_from([1, 2]), st.data())
@settings(max_examples=60)
def test_the_fast_engines_train_as_the_plain_one(
    problem: Problem, loss: str, recipe: Recipe, weighted: bool, threads: int, data: st.DataObject
) -> None:
    model = problem.model(activation="tanh", dropout=data.draw(st.sampled_from([0.0, 0.4])))
    probabilities = loss == "cross_entropy" and data.draw(st.booleans())
    x, y = replace(problem, n=11).batch(loss, probabilities=probabilities)
    weights = drawn_weights(problem, len(x)) if weighted else None
    if LOSSES[loss].kinks or recipe.l1:  # a sign is a kink, too
        recipe = replace(recipe, accumulate=1)
    plain = trained(ManualEngine, model, loss, recipe, x, y, weights)
    others: list[tuple[Any, dict[str, Any]]] = [(BufferedEngine, {})]
    if recipe.accumulate == 1:
        others.append((CompiledEngine, {"threads": threads}))
    for kind, more in others:
        ours = trained(kind, model, loss, recipe, x, y, weights, **more)
        for name, value in plain.items():
            np.testing.assert_allclose(ours[name], value, rtol=1e-8, atol=1e-10, err_msg=name)


@given(problems(), st.sampled_from(list(LOSSES)))
def test_a_whole_weight_is_as_many_copies_of_the_sample(problem: Problem, loss: str) -> None:
    model, (x, y) = problem.model(activation="tanh"), problem.batch(loss)
    counts = np.random.default_rng(problem.seed).integers(1, 4, len(x))
    often = np.repeat(np.arange(len(x)), counts)
    loss_of, weighted = model.loss_and_gradients(x, y, loss, weights=counts.astype(float))
    same, repeated = model.loss_and_gradients(x[often], y[often], loss)
    assert loss_of == pytest.approx(same, rel=1e-12)
    for name, gradient in repeated.items():
        np.testing.assert_allclose(weighted[name], gradient, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_equal_weights_change_nothing_and_an_unequal_one_does(loss: str, reduction: Any) -> None:
    p = Problem(7, (5, 3, 2), 0)
    output, y = np.random.default_rng(0).normal(size=(7, 2)), p.batch(loss)[1]
    row, ones = LOSSES[loss], np.ones(7)
    assert row.value(output, y, reduction, ones) == pytest.approx(row.value(output, y, reduction), rel=1e-14)
    np.testing.assert_allclose(
        row.gradient(output, y, reduction, ones), row.gradient(output, y, reduction), rtol=1e-14
    )
    ones[3] = 5
    assert row.value(output, y, reduction, ones) != pytest.approx(row.value(output, y, reduction), rel=1e-3)


def test_a_weighted_mean_is_exact_in_fractions() -> None:
    def fractions(*values: int) -> Array:
        return np.array([Fraction(v) for v in values], dtype=object)

    output, y = fractions(1, 2, 4).reshape(3, 1), fractions(0, 0, 0).reshape(3, 1)
    w = fractions(1, 1, 2)
    assert LOSSES["mse"].value(output, y, "mean", w) == Fraction(1 + 4 + 2 * 16, 4)
    assert LOSSES["mse"].gradient(output, y, "mean", w)[2, 0] == Fraction(2 * 2 * 4, 4)


@pytest.mark.parametrize("kind", [ManualEngine, BufferedEngine])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_mean_of_equal_batches_is_the_step_of_one_large_batch(kind: Any, optimizer: str) -> None:
    p = Problem(12, (5, 3, 2), 1)
    x, y = p.batch("mse")
    found = []
    for batch_size, accumulate in ((2, 3), (6, 1)):
        model = p.model(activation="tanh")
        engine = kind(
            model, "mse", OPTIMIZERS[optimizer](model.parameters), Recipe(0, 0.1, 0.5, None, accumulate)
        )
        epochs = list(fit(engine, x, y, epochs=3, batch_size=batch_size, lr=0.1))
        found.append((engine.parameters(), [e.loss for e in epochs]))
    np.testing.assert_allclose(found[0][1][0], found[1][1][0], rtol=0.2)
    for name, value in found[1][0].items():
        np.testing.assert_allclose(found[0][0][name], value, rtol=1e-9, atol=1e-12)


def test_the_last_update_is_the_mean_of_the_batches_that_are_left() -> None:
    recipe = Recipe(accumulate=3)
    assert [recipe.batches(i, 8) for i in range(8)] == [0, 0, 3, 0, 0, 3, 0, 2]
    assert [Recipe().batches(i, 3) for i in range(3)] == [1, 1, 1]


def test_samples_that_weigh_nothing_are_as_good_as_absent() -> None:
    x, y, w = np.arange(20.0)[:, None], np.arange(20.0)[:, None], np.ones(20)
    w[[2, 3, 7, 19]] = 0
    (visited,) = pieces(x, y, 0, 1, 4, w)
    assert sorted(visited[-1].tolist()) == [i for i in range(20) if w[i]]
    assert batch_counts(x, 4, w) == 4
    assert batch_counts(x, 4) == 5
    batch = first_batch(x, y, 0, 4, w)
    assert batch[2] is not None
    assert (batch[2] > 0).all()


class Parts:
    """Samples that are read in parts of four rows, as those on disk are."""

    def __init__(self, x: Array) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, start: int, stop: int) -> Array:
        return self.x[start:stop]

    def slices(self, batch_size: int) -> Any:
        return (slice(i, min(i + 4, len(self.x))) for i in range(0, len(self.x), 4))


def test_weighted_samples_in_parts_are_each_visited_once_and_counted_by_weight() -> None:
    x, w = np.arange(14.0)[:, None], np.ones(14)
    w[[4, 5, 6, 7, 13]] = 0  # a part of which nothing weighs
    w[0] = 5
    visited = [rows[i] for rows, _, _, i in pieces(Parts(x), x, 0, 1, 3, w)]
    assert sorted(np.concatenate(visited).ravel().tolist()) == [i for i in range(14) if w[i]]
    assert batch_counts(Parts(x), 3, w) == 2 + 0 + 2 + 1
    model = MLP((1, 1))
    engine = ManualEngine(model, "mse", OPTIMIZERS["sgd"](model.parameters))
    before = engine.parameters()
    (epoch,) = fit(engine, Parts(x), x, epochs=1, batch_size=3, lr=1e-30, weights=w)
    engine.load(before)
    assert epoch.steps == 5
    assert epoch.loss == pytest.approx(LOSSES["mse"].value(model.predict(x), x, weights=w), rel=1e-12)


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        (np.ones(3), "one a sample, shape"),
        (-np.ones(4), "the weight of sample 0 is -1.0"),
        (np.array([1, np.nan, 1, 1]), "the weight of sample 1 is nan"),
        (np.zeros(4), "nothing to learn from"),
    ],
)
def test_weights_that_cannot_be_are_refused(weights: Array, text: str) -> None:
    model, x = MLP((1, 1)), np.ones((4, 1))
    engine = ManualEngine(model, "mse", OPTIMIZERS["sgd"](model.parameters))
    with pytest.raises(ValueError, match=text):
        list(fit(engine, x, x, epochs=1, batch_size=2, lr=0.1, weights=weights))


def test_penalties_leave_biases_alone_and_are_the_gradient_of_their_value() -> None:
    p = Problem(7, (5, 3, 2), 0)
    model, (x, y) = p.model(activation="tanh"), p.batch("mse")
    recipe = Recipe(l1=0.03, l2=0.2)
    objective, found = model.loss_and_gradients(x, y, "mse", recipe=recipe)
    loss, plain = model.loss_and_gradients(x, y, "mse")
    weights = [model.parameters[f"layers.{i}.weight"] for i in range(2)]
    penalty = sum(0.03 * np.abs(w).sum() + 0.1 * (w * w).sum() for w in weights)
    assert objective == pytest.approx(loss + penalty, rel=1e-14)
    for i, w in enumerate(weights):
        name = f"layers.{i}.weight"
        np.testing.assert_allclose(found[name], plain[name] + 0.03 * np.sign(w) + 0.2 * w, rtol=1e-13)
        assert np.array_equal(found[f"layers.{i}.bias"], plain[f"layers.{i}.bias"])


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"clip_norm": 0.0}, "clip_norm is a finite number above 0"),
        ({"clip_value": np.inf}, "clip_value is a finite number above 0"),
        ({"clip_norm": 1.0, "clip_value": 1.0}, "choose one of them"),
        ({"accumulate": 0}, "at least 1"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Recipe(**given)


def test_the_compiled_engine_says_that_it_does_not_accumulate() -> None:
    model = MLP((2, 3, 1))
    with pytest.raises(ValueError, match="updates after every batch"):
        CompiledEngine(model, "mse", OPTIMIZERS["sgd"](model.parameters), Recipe(accumulate=2))


@given(problems(), st.sampled_from(list(LOSSES)), st.sampled_from(["mean", "sum"]))
@settings(max_examples=40)
def test_weighted_stages_of_the_fast_engines_are_the_plain_ones(
    problem: Problem, loss: str, reduction: Any
) -> None:
    model, (x, y) = problem.model(activation="tanh"), problem.batch(loss)
    weights, recipe = drawn_weights(problem, len(x)), Recipe(l1=0.02, l2=0.3)
    plain = model.trace(x, y, loss, weights=weights, recipe=recipe, reduction=reduction)
    for kind in (BufferedEngine, CompiledEngine):
        engine = kind(copy.deepcopy(model), loss, OPTIMIZERS["sgd"](model.parameters), recipe)
        ours = engine.trace(x, y, weights=weights, reduction=reduction)
        assert [s.name for s in ours] == [s.name for s in plain]
        if near_kink(plain):
            continue
        for stage in plain:
            np.testing.assert_allclose(
                ours[stage.name], plain[stage.name], rtol=1e-9, atol=1e-12, err_msg=stage.name
            )
