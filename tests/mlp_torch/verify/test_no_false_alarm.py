"""No false alarm: random networks of every kind, and every combination of rows once.

The quick suite makes 752 comparisons: 416 random ones and 336, each activation with each loss and
normalization. The marker `long` makes MLP_COMPARISONS of them, 100,000 unless
that environment variable says less: `MLP_COMPARISONS=10000 pytest -m long` is the tenth that CI runs.
"""

import os
from collections import Counter
from itertools import product
from typing import Any

import pytest

from manual.losses import Reduction
from manual.structure.architecture import NORMALIZATIONS
from mlp_torch.verify.report import ComparisonReport
from mlp_torch.verify.verdicts import compare_traces
from tests.mlp_torch.verify.edges import TRUE_ACTIVATIONS, TRUE_LOSSES
from tests.mlp_torch.verify.engines import drawn, engines
from tests.problems import DTYPES, Problem

QUICK, PARTS = 416, 4
LONG = int(os.environ.get("MLP_COMPARISONS", "100000"))


def false_alarms(seeds: range) -> tuple[list[str], Counter[str]]:
    """What was called wrong although both engines are right, and the count of verdicts."""
    found, verdicts = [], Counter[str]()
    for seed in seeds:
        arguments, text = drawn(seed)
        report = compare_traces(*engines(*arguments, seed=seed))
        verdicts[report.verdict] += 1
        if report.wrong:
            found.append(f"{text}: {[(r.name, r.note, r.blame()) for r in report.wrong][:2]}")
    return found, verdicts


@pytest.mark.parametrize("part", range(PARTS))
def test_no_false_alarm_in_random_comparisons(part: int) -> None:
    each = QUICK // PARTS
    found, verdicts = false_alarms(range(part * each, (part + 1) * each))
    assert found == []
    assert (
        verdicts["exact"] + verdicts["certified"] > 0.9 * each
    )  # an instrument that only shrugs says nothing


def test_what_underflows_inside_a_normalization_of_huge_inputs_is_no_fault() -> None:
    """σ is 6e7 there, so 1/σ³ makes float32 subnormal, and z makes 1e-37 of what is lost."""
    assert false_alarms(range(75_346, 75_347))[0] == []


@pytest.mark.long
@pytest.mark.parametrize("part", range(50))
def test_no_false_alarm_in_a_hundred_thousand_random_comparisons(part: int) -> None:
    each = LONG // 50
    found, verdicts = false_alarms(range(QUICK + part * each, QUICK + (part + 1) * each))
    assert found == []
    assert verdicts["exact"] + verdicts["certified"] > 0.9 * each


# ---- every combination of rows, once ---------------------------------------------------------------


def report_of(
    seed: int, dtype: Any, loss: str, reduction: Reduction = "mean", **rows: Any
) -> ComparisonReport:
    p = Problem(4, (3, 3, 2), seed)
    return compare_traces(*engines(p.model(dtype, **rows), *p.batch(loss, dtype), loss, reduction))


@pytest.mark.parametrize("activation", TRUE_ACTIVATIONS)
def test_every_activation_passes_with_every_loss_and_normalization(activation: str) -> None:
    for i, (loss, normalization) in enumerate(product(TRUE_LOSSES, NORMALIZATIONS)):
        dtype = list(DTYPES.values())[(i + TRUE_ACTIVATIONS.index(activation)) % 2]
        report = report_of(i, dtype, loss, activation=activation, normalization=normalization, dropout=0.5)
        assert report.passed, f"{loss} {normalization}: {report.wrong}"
