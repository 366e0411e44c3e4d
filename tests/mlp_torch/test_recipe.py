"""The recipe in every engine beside torch's own words for it, and before the instrument."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import manual.network
from manual import LOSSES, OPTIMIZERS, Recipe
from manual.buffered import recipe as buffered_recipe
from manual.numbers import Array
from manual.training.engine import ManualEngine
from manual.training.fit import fit
from mlp_torch import compare
from mlp_torch.autograd import AutogradEngine
from mlp_torch.buffered import TorchEngine
from mlp_torch.model import loss_value, to_torch
from mlp_torch.steps import STEPS
from tests.manual.test_recipe import RECIPES, drawn_weights
from tests.problems import Problem, problems

PROBLEM = Problem(11, (3, 7, 5, 2), 0)


def engines(problem: Problem, loss: str, recipe: Recipe) -> list[Any]:
    """Autograd first, then those by hand."""
    plain, theirs, ours = (problem.model(activation="tanh") for _ in range(3))
    module = to_torch(theirs)
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0, momentum=0.9)
    by_hand = ManualEngine(plain, loss, OPTIMIZERS["sgd"](plain.parameters, momentum=0.9), recipe)
    fast = TorchEngine(to_torch(ours), loss, "sgd", {"momentum": 0.9}, recipe)
    return [AutogradEngine(module, loss, optimizer, recipe), by_hand, fast]


@given(problems(), st.sampled_from(list(LOSSES)), RECIPES, st.booleans(), st.integers(10, 13))
@settings(max_examples=20)
def test_every_engine_trains_as_autograd_does(
    problem: Problem, loss: str, recipe: Recipe, weighted: bool, n: int
) -> None:
    """With and without a smaller last batch, whose update may be one of fewer batches."""
    x, y = Problem(n, problem.sizes, problem.seed).batch(loss)
    weights = drawn_weights(problem, n) if weighted else None
    found = []
    for engine in engines(problem, loss, recipe):
        losses = [e.loss for e in fit(engine, x, y, epochs=2, batch_size=3, lr=0.05, weights=weights)]
        found.append((losses, engine.parameters(), dict(engine.gradients)))
    reference = found[0]
    for losses, parameters, gradients in found[1:]:
        np.testing.assert_allclose(losses, reference[0], rtol=1e-9)
        for ours, theirs in ((parameters, reference[1]), (gradients, reference[2])):
            for name, value in theirs.items():
                np.testing.assert_allclose(ours[name], value, rtol=1e-8, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("epsilon", [0.1, 0.5])
def test_weights_are_those_of_torchs_cross_entropy_and_smoothed_labels_are_its_label_smoothing(
    epsilon: float,
) -> None:
    """As torch's `weight` of classes: a sample weighs what its label does."""
    rng = np.random.default_rng(0)
    output, y = torch.tensor(rng.normal(size=(9, 4))), torch.tensor(rng.integers(0, 4, 9))
    of_class = torch.tensor([0.3, 1.0, 2.0, 5.0], dtype=torch.float64)
    ours = loss_value("cross_entropy", output, y, weights=of_class[y])
    torch.testing.assert_close(ours, F.cross_entropy(output, y, weight=of_class))
    soft = F.one_hot(y, 4) * (1 - epsilon) + epsilon / 4
    theirs = F.cross_entropy(output, y, label_smoothing=epsilon)
    torch.testing.assert_close(loss_value("cross_entropy", output, soft), theirs)


# ---- the instrument ---------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", STEPS)
@given(problems(), st.data())
@settings(max_examples=12)
def test_no_weighted_or_penalized_stage_is_wrong(engine: str, problem: Problem, data: st.DataObject) -> None:
    loss = data.draw(st.sampled_from(list(LOSSES)))
    dtype = data.draw(st.sampled_from([np.float64, np.float32]))
    recipe = data.draw(st.sampled_from([Recipe(), Recipe(l2=0.3), Recipe(l1=0.1), Recipe(0.1, 1e-4)]))
    model = problem.model(dtype, activation=data.draw(st.sampled_from(["relu", "gelu", "tanh"])))
    probabilities = loss == "cross_entropy" and data.draw(st.booleans())
    x, y = problem.batch(loss, dtype, probabilities)
    scale = data.draw(st.sampled_from([1e-6, 1.0, 1e5]))
    weights = data.draw(st.sampled_from([None, scale * drawn_weights(problem, problem.n)]))
    reduction = data.draw(st.sampled_from(["mean", "sum"]))
    report = compare(
        to_torch(model), x, y, loss=loss, engine=engine, weights=weights, recipe=recipe, reduction=reduction
    )
    assert not report.wrong, str(report)
    assert not report.unjudged


@pytest.mark.parametrize("engine", STEPS)
@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "hinge"])
def test_the_twin_is_weighted_and_penalized_and_exact(engine: str, loss: str) -> None:
    x, y = PROBLEM.batch(loss)
    options: Any = {"weights": np.ones(11), "recipe": Recipe(l1=0.01, l2=0.01)}
    report = compare(to_torch(PROBLEM.model()), x, y, loss=loss, engine=engine, tier="exact", **options)
    assert report.title == "dyadic twin", report.twin_note
    assert "weigh ½ and 3/2" in report.twin_note
    assert {"objective", "gW1", "gW3"} <= set(report.stages)
    assert all(row.verdict == "exact" for row in report.parameters.values())


def wrong(engine: str, weights: Array | None, recipe: Recipe) -> list[str]:
    x, y = PROBLEM.batch("mse")
    model = to_torch(PROBLEM.model(activation="tanh"))
    report = compare(model, x, y, loss="mse", engine=engine, weights=weights, recipe=recipe)
    return [name for name, row in report.stages.items() if row.verdict == "wrong"]


def test_weights_that_are_forgotten_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = drawn_weights(PROBLEM, 11)
    assert wrong("manual", weights, Recipe()) == []
    row = LOSSES["mse"]
    functions = [lambda o, y, w, reduction, f=f: f(o, y, reduction) for f in (row.value, row.gradient)]
    monkeypatch.setattr(
        manual.network.MLP,
        "stages",
        _stages_with(manual.network.MLP.stages, {"loss": functions[0], "dloss": functions[1]}),
    )
    assert wrong("manual", weights, Recipe()) == ["loss", "dloss"]


def _stages_with(stages: Any, functions: dict[str, Any]) -> Any:
    def changed(self: Any, *arguments: Any) -> Any:
        return [
            replace(s, function=functions[s.name]) if s.name in functions else s
            for s in stages(self, *arguments)
        ]

    return changed


@pytest.mark.parametrize("factor", [2.0, 1 + 1e-12])
def test_a_penalty_of_another_size_is_seen_at_its_stage(
    factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wrong("buffered", None, Recipe(l2=0.3)) == []
    add = buffered_recipe.Rules._add
    monkeypatch.setattr(
        buffered_recipe.Rules,
        "_add",
        lambda self, do, f, scale, slope, w, g: add(self, do, f, scale, slope * factor, w, g),
    )
    found = wrong("buffered", None, Recipe(l2=0.3))
    assert found
    assert set(found) <= {"gW1", "gW2", "gW3"}


def test_weights_that_cannot_be_are_refused_in_one_line() -> None:
    x, y = PROBLEM.batch("mse")
    model = to_torch(PROBLEM.model())
    for weights, text in ((np.zeros(11), "all weights are 0"), (-np.ones(11), "weight of sample 0 is -1")):
        with pytest.raises(ValueError, match=text):
            compare(model, x, y, loss="mse", weights=weights)
