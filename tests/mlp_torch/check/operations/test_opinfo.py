"""Torch's own operators: right ones pass all runs, and none of eight planted faults is called right.

`MLP_OPINFO` is the part of the database that is taken with `-m long`: 1 in full, 0.1 a tenth.
"""

import os

import pytest

from mlp_torch import check_autograd_function
from mlp_torch.errors import UserError
from tests.mlp_torch.check.operations.opinfo import (
    FAULTS,
    database,
    gradient,
    matters,
    places,
    planted,
    samples,
    unit,
)

# operators of other kinds: kinked, matrix, labels, normalisation, indexed, complex, several outputs
FEW = (
    "amax", "cdist", "fft.rfft", "gather", "linalg.cholesky", "nn.functional.hinge_embedding_loss",
    "nn.functional.layer_norm", "sgn", "std_mean", "tanh",
)  # fmt: skip
# torch warns of operators that it will drop
pytestmark = pytest.mark.filterwarnings("ignore")
PARTS = 20
SHARE = float(os.environ.get("MLP_OPINFO", "1"))


def judged(operator, count=2):
    """The first samples of an operator, right and with each fault planted: what was not as it should be."""
    odd = []
    for sample in samples(operator, count):
        for name, function in (("itself", sample.call), ("as a function", planted(sample.call, None))):
            try:
                report = check_autograd_function(function, sample.call, sample.inputs)
            except UserError as error:
                if "sparse" not in str(error):
                    odd.append((sample.name, name, str(error)))
                return odd
            excused = report.message.startswith(("nothing was judged", "the reference's own gradient"))
            if report.verdict != "right" and not (report.verdict == "not_comparable" and excused):
                odd.append((sample.name, name, report.message))
        if report.verdict != "right":
            continue
        place, least = places(sample)[0], unit(sample)
        for fault, change in FAULTS.items():
            if matters(gradient(sample, place), change, least):
                wrong = planted(sample.call, change, place)
                report = check_autograd_function(wrong, sample.call, sample.inputs, timeout=0)
                if report.verdict not in ("wrong", "scaled"):
                    odd.append((sample.name, fault, report.message))
    return odd


def test_a_few_operators_are_right_and_their_planted_faults_are_not():
    some = {op.name: op for op in database() if op.name in FEW}
    assert set(some) == set(FEW)
    assert not [odd for op in some.values() for odd in judged(op, 1)]


@pytest.mark.long
@pytest.mark.parametrize("part", range(max(1, round(PARTS * SHARE))))
def test_all_operators_are_right_and_their_planted_faults_are_not(part):
    assert not [odd for op in database()[part::PARTS] for odd in judged(op)]
