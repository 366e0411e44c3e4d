"""Thirty whole programs as people write them: the verdict and the faults, by value alone."""

import pytest

from mlp_torch import check_gradients, check_step
from mlp_torch.check.describe.layers import align, flatten
from tests.mlp_torch.check.programs import PROGRAMS


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name):
    parameters, gradients, x, y, options, (verdict, kinds) = PROGRAMS[name]
    report = check_gradients(parameters, gradients, x, y, **options)
    assert (report.verdict, sorted({f.kind for f in report.faults})) == (verdict, sorted(kinds)), str(report)


@pytest.mark.parametrize("name", [n for n in PROGRAMS if "not summed" not in n and "kept" not in n])
def test_program_by_its_step_alone(name):
    parameters, gradients, x, y, options, (verdict, kinds) = PROGRAMS[name]
    before = flatten(parameters)
    steps = align(before, flatten(gradients))
    after = {n: v - 0.5 * steps[n].reshape(getattr(v, "shape", ())) for n, v in before.items()}
    options = {k: v for k, v in options.items() if k != "lr"}
    if "layers" not in options:
        parameters = before
    report = check_step(before, after, 0.5, x, y, **options)
    assert (report.verdict, sorted({f.kind for f in report.faults})) == (verdict, sorted(kinds)), str(report)


def test_there_are_thirty_programs():
    assert len(PROGRAMS) == 30
