"""Planted faults are named: every verdict right, the set exact on 95 %, no wrong name without an either."""

import collections

import numpy as np
import pytest

from mlp_torch import check_gradients
from tests.mlp_torch.check.corpus import PROPORTIONS, agrees, expected_verdict, handed_over, plant, spoken

KINDS = list(PROPORTIONS)


def judge(seed: int) -> tuple[str, bool, str]:
    """(exact, either, unexplained or wrong; whether the verdict is right; what happened)."""
    rng = np.random.default_rng(seed)
    count = int(rng.choice([0, 1, 1, 1, 1, 2, 2, 2, 3, 3]))
    net, dW, db, _, expected, rng = plant(seed, count, KINDS[seed % len(KINDS)] if seed % 2 else None)
    parameters, gradients, x, y, options = handed_over(net, dW, db, rng)
    with np.errstate(all="ignore"):
        report = check_gradients(parameters, gradients, x, y, lr=net.lr, **options)
    sets = spoken(report)
    if agrees(sets[0], expected):
        outcome = "exact"
    elif any(agrees(other, expected) for other in sets[1:]):
        outcome = "either"
    else:
        outcome = "wrong" if sets[0] else "unexplained"
    verdict = report.verdict == expected_verdict(expected, net, dW, db)
    if outcome == "either":  # another loss's gradient by two slips: the arrays are that loss's
        verdict |= report.verdict == "other_loss"
    story = f"seed {seed}: planted {expected}, said {sets}, {net.loss} {net.acts} {net.sizes}"
    return outcome, verdict, story


def proven(seeds: range) -> None:
    outcomes: collections.Counter[str] = collections.Counter()
    told = []
    for seed in seeds:
        outcome, verdict, story = judge(seed)
        outcomes[outcome] += 1
        told += [] if outcome == "exact" and verdict else [f"{outcome} {story}"]
        assert verdict, story
    assert outcomes["wrong"] == 0, told
    assert outcomes["exact"] >= 0.95 * len(seeds), told


@pytest.mark.parametrize("start", [200, 230])
def test_planted_faults_are_named(start):
    proven(range(start, start + 30))


@pytest.mark.long
@pytest.mark.parametrize("start", range(200, 420, 44))
def test_the_whole_corpus_is_named(start):
    proven(range(start, start + 44))


def test_every_kind_is_planted_in_the_corpus():
    seen = set()
    for seed in range(200, 420):
        rng = np.random.default_rng(seed)
        count = int(rng.choice([0, 1, 1, 1, 1, 2, 2, 2, 3, 3]))
        seen |= {kind for kind, _ in plant(seed, count, KINDS[seed % len(KINDS)] if seed % 2 else None)[4]}
    assert seen >= {kind if kind != "constant_all" else "constant_factor" for kind in KINDS}
