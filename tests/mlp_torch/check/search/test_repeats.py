"""Searching less where a slip of the chain has spent the budget changes no report."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from manual import MLP
from mlp_torch import check_gradients
from mlp_torch.check.faults import arrays, claims
from mlp_torch.check.faults.claims import Claim, Claims
from mlp_torch.check.search import search
from tests.mlp_torch.check.corpus import PROPORTIONS, handed_over, plant

KINDS = list(PROPORTIONS)


def told(seed: int) -> str:
    net, dW, db, _, _, rng = plant(seed, 1 + seed % 2, KINDS[seed % len(KINDS)])
    parameters, gradients, x, y, options = handed_over(net, dW, db, rng)
    with np.errstate(all="ignore"):
        return check_gradients(parameters, gradients, x, y, lr=net.lr, **options).to_json()


def test_no_report_changes_without_the_shortcut(monkeypatch: pytest.MonkeyPatch) -> None:
    right = {seed: told(seed) for seed in range(16)}
    monkeypatch.setattr(search, "of_the_chain", lambda claims: False)
    assert [seed for seed in right if told(seed) != right[seed]] == []


def weights_beside_the_right_one() -> Iterator[Any]:
    """dW2 made with z1 where a1 belongs; dW1 made with da1 where dz1 belongs."""
    rng = np.random.default_rng(0)
    model = MLP((5, 7, 3), activation="tanh", seed=0)
    x, y = rng.normal(size=(11, 5)), rng.normal(size=(11, 3))
    t = model.trace(x, y, "mse")
    right = {stage.parameter: t[stage.name] for stage in t if stage.parameter is not None}
    options = {"loss": "squared_error", "reduction": "mean_over_all", "weight_layout": "out,in"}
    for name, wrong in (("layers.1.weight", t["dz2"].T @ t["z1"]), ("layers.0.weight", t["da1"].T @ x)):
        gradients = {**right, name: wrong}
        yield check_gradients(
            model.parameters, gradients, x, y, activations=["tanh", "identity"], samples="rows", **options
        )


def mistaken_for_the_chains(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    """The mistakes that an array alone was found to make, and that are taken for the chain's."""
    found: set[Claim] = set()
    explain = arrays.explain

    def recorded(*arguments: Any, **options: Any) -> list[Claims]:
        ways = explain(*arguments, **options)
        found.update(claim for way in ways for claim in way)
        return ways

    monkeypatch.setattr(arrays, "explain", recorded)
    for report in weights_beside_the_right_one():
        assert not report.passed
    for seed in range(16, 40):
        told(seed)
    return {claim.key for claim in found if claims.of_the_chain((claim,))}


def test_what_an_array_shows_alone_is_not_taken_for_a_slip_of_the_chain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert mistaken_for_the_chains(monkeypatch) == set()


@pytest.mark.long
def test_a_variant_that_an_array_makes_alone_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "OF_AN_ARRAY", frozenset())
    assert mistaken_for_the_chains(monkeypatch) == {
        ("missing_activation_derivative", "array"),
        ("activation_derivative_at_wrong_array", "input"),
    }
