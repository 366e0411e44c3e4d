"""Recurrent, convolutional, attentive, normalised …: right ones are right, and every single slip is wrong."""

import numpy as np
import pytest

from mlp_torch import check_function
from tests.mlp_torch.check.functions.sources import PROGRAMS

SLIPS = [(name, old, new) for name, (_, slips) in PROGRAMS.items() for old, new in slips]


def built(source, seed=0):
    r = np.random.default_rng(seed)
    space = {"np": np, "r": r, "n": lambda *shape: r.normal(size=shape)}
    exec(source, space)
    return space["f"], space["P"], space["D"]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", list(PROGRAMS))
def test_a_right_program_is_right(name, seed):
    function, parameters, data = built(PROGRAMS[name][0], seed)
    report = check_function(function, parameters, *data)
    assert report.verdict == "right", str(report)
    assert report.method == "autograd of your own forward pass"
    assert report.resolution < 1e-10


@pytest.mark.parametrize(("name", "old", "new"), SLIPS)
def test_a_slip_is_wrong(name, old, new):
    source = PROGRAMS[name][0]
    assert old in source
    function, parameters, data = built(new.join(source.rsplit(old, 1)))
    report = check_function(function, parameters, *data)
    assert report.verdict in ("wrong", "scaled", "other_loss"), str(report)
    assert report.method == "autograd of your own forward pass"


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_a_slip_of_1e_9_in_one_entry_is_wrong(name):
    function, parameters, data = built(PROGRAMS[name][0])

    def slipped(p, *d):
        loss, g = function(p, *d)
        last = list(g)[-1]
        v = np.array(g[last], dtype=float)
        v.flat[np.argmax(np.abs(v))] *= 1 + 1e-9
        return loss, {**g, last: v}

    assert check_function(slipped, parameters, *data).verdict in ("wrong", "scaled")
