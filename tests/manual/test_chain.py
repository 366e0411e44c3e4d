"""The chain of every part is the one that is written down, and weights and penalties pass through it."""

from dataclasses import replace

import numpy as np
import pytest

from manual import LOSSES, MLP
from manual.chain import backward_stages, forward_stages
from manual.structure.architecture import symbol
from manual.training.recipe import Recipe
from tests.manual.chains import LISTING, listing, written
from tests.problems import Problem


def test_the_chain_of_every_part_is_the_one_that_is_written_down() -> None:
    # python -m tests.manual.chains writes it anew
    assert listing() == LISTING.read_text(encoding="utf-8")


@pytest.mark.parametrize("field", ["name", "kind", "formula", "row", "parameter"])
def test_another_word_in_a_row_would_be_seen(field: str) -> None:
    stage = next(s for s in MLP((3, 4, 2)).stages("mse") if s.parameter and s.name == "dW1")
    assert written(replace(stage, **{field: "other"})) != written(stage)


def test_unless_told_otherwise_the_chain_is_neither_weighted_nor_penalized() -> None:
    architecture = MLP((3, 4, 2)).architecture
    for stages in (forward_stages, backward_stages):
        shortest = stages(architecture, "mse", "mean", True)
        assert [s.formula for s in shortest] == [
            s.formula for s in stages(architecture, "mse", "mean", True, False, Recipe())
        ]
        assert not any("weights" in s.reads or s.kind.startswith("penalty") for s in shortest)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_weights_and_reduction_reach_the_loss_and_its_gradient(loss: str, reduction: str) -> None:
    problem = Problem(5, (3, 7, 2), 0)
    (x, y), weights = problem.batch(loss), np.array([0.5, 1, 2, 3, 0])
    trace = problem.model().trace(x, y, loss, reduction=reduction, weights=weights)
    arguments = trace["a2"], y, reduction, weights
    assert trace["loss"] == LOSSES[loss].value(*arguments)
    assert np.array_equal(trace["dloss"], LOSSES[loss].gradient(*arguments))


@pytest.mark.parametrize(
    ("parameter", "said"), [("layers.0.weight", "W1"), ("normalizations.1.running_var", "variance2")]
)
def test_a_parameters_symbol_counts_layers_from_1(parameter: str, said: str) -> None:
    assert symbol(parameter) == said
