"""Numbers below the normal ones are no false alarm, and what allows for them moves no other bound."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manual import ACTIVATIONS, MLP
from manual.structure.architecture import NORMALIZATIONS
from manual.structure.trace import Trace
from mlp_torch.model import to_torch
from mlp_torch.trace import trace
from mlp_torch.verify.certificate import certify
from mlp_torch.verify.comparison import compare
from mlp_torch.verify.enclosure import proven
from mlp_torch.verify.kinds import RULES
from mlp_torch.verify.local import Context
from mlp_torch.verify.propagation import propagate
from mlp_torch.verify.rounding import Rounding
from tests.problems import DTYPES, Problem, problems

STEPS = ("manual", "buffered", "torch")


def decade(name: str) -> float:
    """The power of ten of the least number."""
    info = np.finfo(DTYPES[name])
    return float(np.log10(float(info.smallest_subnormal)))


@given(problems(), st.data())
@settings(max_examples=200)
@pytest.mark.long
def test_no_array_below_the_normal_numbers_is_a_false_alarm(problem: Problem, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([*DTYPES]))
    model = problem.model(
        DTYPES[name],
        activation=data.draw(st.sampled_from([*ACTIVATIONS])),
        normalization=data.draw(st.sampled_from(NORMALIZATIONS)),
    )
    x, y = problem.batch("mse", DTYPES[name])
    least = decade(name)
    small, large = (data.draw(st.sampled_from([*model.parameters, "x"])) for _ in range(2))
    for which, power in (
        (large, data.draw(st.floats(0, -least * 0.9))),
        (small, data.draw(st.floats(least, least * 0.7))),
    ):
        array = x if which == "x" else model.parameters[which]
        with np.errstate(all="ignore"):
            array *= 10.0**power
    step = data.draw(st.sampled_from(STEPS))
    module = to_torch(model)
    if step == "manual" and data.draw(st.booleans()):
        module.eval()
    if np.isfinite(x).all() and all(np.isfinite(v).all() for v in model.parameters.values()):
        report = compare(module, x, y, loss="mse", engine=step)
        assert report.verdict != "wrong", report.summary()


@pytest.mark.parametrize("step", [*STEPS, "evaluation"])
@pytest.mark.parametrize("normalization", ["batch_norm", "layer_norm"])
@pytest.mark.parametrize("scale", [1e-45, 1e-42, 1e-39])
@pytest.mark.parametrize("inputs", [1.0, 1e12])
def test_a_subnormal_gamma_is_no_false_alarm(
    inputs: float, scale: float, normalization: str, step: str
) -> None:
    """γ x̂ is subnormal, and γ/σ too, which is then multiplied by z."""
    for seed in range(3):
        problem = Problem(7, (3, 5, 2), seed)
        model = problem.model(np.float32, activation="tanh", normalization=normalization)
        model.parameters["normalizations.0.weight"] *= np.float32(scale) * 3
        model.parameters["normalizations.0.bias"][...] = 0
        x, y = problem.batch("mse", np.float32)
        module = to_torch(model).train(step != "evaluation")
        engine = "manual" if step == "evaluation" else step
        report = compare(module, x * np.float32(inputs), y, loss="mse", engine=engine)
        assert report.stages["n1"].verdict in ("exact", "certified")
        assert report.passed


def both_bounds(t: Trace, r: Rounding, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The local and the global bound of every stage, in that arithmetic."""
    values = {n: np.asarray(v).astype(np.float64) for n, v in t.values.items()}
    monkeypatch.setattr(Rounding, "of", lambda dtype: r)
    with proven():
        local = {s.name: RULES[s.kind](s, Context(values, r)).bound for s in t}
    return {**{f"local {n}": b for n, b in local.items()}, **propagate(t).errors}


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("training", [True, False])
def test_where_nothing_underflows_no_bound_is_moved(
    normalization: str, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for activation in ("tanh", "silu", "prelu"):
        problem = Problem(7, (3, 5, 5, 2), 2)
        model = problem.model(np.float32, activation=activation, normalization=normalization)
        model.training = training
        x, y = problem.batch("mse", np.float32)
        t, whole = trace(to_torch(model), x, y, "mse"), Rounding.of(np.float32)
        normal = both_bounds(t, replace(whole, tiny=0.0), monkeypatch)
        for name, bound in both_bounds(t, whole, monkeypatch).items():
            before = np.broadcast_to(normal[name], np.shape(bound))
            # an array's entries may be 0 in truth, and then the bound is what underflow alone allows
            assert np.median(bound) <= np.median(before) * (1 + 1e-9) + 1e-35, name
            np.testing.assert_allclose(bound, before, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("stage", ["n1", "dgamma1"])
def test_a_slip_beside_small_parameters_is_wrong(stage: str) -> None:
    problem = Problem(7, (3, 5, 2), 1)
    model: MLP = problem.model(np.float32, activation="tanh", normalization="layer_norm")
    model.parameters["normalizations.0.weight"] *= np.float32(1e-37)
    model.parameters["layers.0.weight"] *= np.float32(1e6)
    t = model.trace(*problem.batch("mse", np.float32), "mse")
    value = np.array(t[stage])
    index = np.unravel_index(np.argmax(np.abs(value)), value.shape)
    value[index] *= np.float32(1 + 2e-3)
    off = Trace(t.stages, t.leaves, {s.name: t[s.name] for s in t} | {stage: value})
    assert certify(t)[stage].verdict == "certified"
    assert certify(off)[stage].verdict == "wrong"


def test_a_bound_of_a_subnormal_slope_does_not_vanish_itself() -> None:
    """γ |slope| is no number; γ |da slope| is one."""
    model = Problem(7, (3, 5, 2), 1).model(np.float64, activation="prelu")
    model.parameters["activations.0.weight"][...] = 7.7e-309
    model.parameters["layers.1.weight"] *= 1e290
    x, y = Problem(7, (3, 5, 2), 1).batch("l1")
    with torch.random.fork_rng():
        assert compare(to_torch(model), x, y, loss="l1").verdict != "wrong"


@pytest.mark.parametrize("step", STEPS)
def test_a_product_that_overflows_inside_softplus_is_not_judged(step: str) -> None:
    """da e^z / (1 + e^z): no number, where da and the result are some."""
    model = MLP((1, 1, 1), activation="softplus", dtype=np.float32)
    for name, value in {"layers.0.weight": 6.5, "layers.1.weight": 1e36}.items():
        model.parameters[name][...] = value
    x = np.ones((2, 1), np.float32)
    report = compare(to_torch(model), x, 0 * x, loss="l1", reduction="sum", engine=step)
    assert report.stages["dz1"].verdict == "undecided"
    assert report.verdict != "wrong"
