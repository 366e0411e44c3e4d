"""Every bound at its edge: 0.9 of it is rounding, 1.5 of it is a fault, in both tiers and both dtypes."""

from typing import Any

import numpy as np
import pytest

from manual import ACTIVATIONS, MLP
from manual.numbers import Array
from manual.structure.trace import Trace, run
from mlp_torch.model import to_torch
from mlp_torch.trace import trace
from mlp_torch.verify import verdicts
from mlp_torch.verify.certificate import Judgement, certify
from mlp_torch.verify.enclosure import Enclosure, product
from mlp_torch.verify.kinds import RULES, STEPS
from mlp_torch.verify.monitor import Monitor
from mlp_torch.verify.propagation import propagate
from mlp_torch.verify.report import ComparisonReport, WrongGradientError
from mlp_torch.verify.rounding import Rounding
from mlp_torch.verify.verdicts import compare_traces
from tests.mlp_torch.verify.edges import PROBLEM, SITES, is_exact, planted, with_value
from tests.problems import DTYPES, Problem

TRACES = {(name, dtype): site.trace(DTYPES[dtype]) for name, site in SITES.items() for dtype in DTYPES}
STAGES = {name: TRACES[name, "float64"].stage(site.stage) for name, site in SITES.items()}
ROUNDING = [name for name, stage in STAGES.items() if not is_exact(stage)]


def test_every_kind_of_stage_and_every_row_has_a_site() -> None:
    penalties = {"penalty", "penalty_gradient"}  # planted in test_recipe.py
    assert {stage.kind for stage in STAGES.values()} | penalties == set(RULES) == set(STEPS)
    assert {stage.row for stage in STAGES.values()} >= set(ACTIVATIONS)


# ---- the local certificate -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ROUNDING)
def test_nine_tenths_of_a_local_bound_is_certified_and_one_and_a_half_is_wrong(name: str, dtype: str) -> None:
    t, stage = TRACES[name, dtype], SITES[name].stage
    for sign in (1, -1):
        for share, verdict in ((0.9, "certified"), (1.1, "wrong"), (1.5, "wrong")):
            value, index, reached = planted(t, stage, share, sign)
            assert abs(reached - share) < 0.1
            found = certify(with_value(t, stage, value), stage)[stage]
            assert found.verdict == verdict
            if verdict == "wrong":
                assert found.index == index
                assert abs(found.ratio - reached) < 0.01


def of_factors_that_never_meet(dtype: str) -> Trace:
    """Unit 4 of the hidden layer gives something for sample 0 alone, from which nothing comes back."""
    p = Problem(7, (5, 11, 3), 2)
    t = p.model(DTYPES[dtype], activation="relu").trace(*p.batch("mse", DTYPES[dtype]), "mse")
    a, dz = t["a1"].copy(), t["dz2"].copy()
    a[:, 4], dz[0] = 0, 0
    a[0, 4] = 3
    return with_value(with_value(with_value(t, "a1", a), "dz2", dz), "dW2", dz.T @ a)


@pytest.mark.parametrize("dtype", DTYPES)
def test_next_to_nothing_where_nothing_is_summed_is_wrong(dtype: str) -> None:
    t = of_factors_that_never_meet(dtype)
    assert certify(t, "dW2")["dW2"].verdict == "certified"
    value = t["dW2"].copy()
    assert value[1, 4] == 0
    value[1, 4] = 1e-30
    found = certify(with_value(t, "dW2", value), "dW2")["dW2"]
    assert (found.verdict, found.index) == ("wrong", (1, 4))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_value_whose_truth_is_not_known_more_closely_than_its_bound_is_undecided(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vague(a: Array, b: Array) -> Enclosure:
        found = product(a, b)
        return Enclosure(found.hi, found.lo, np.abs(a) @ np.abs(b) * 2.0**-10 + 1e-6)

    monkeypatch.setattr("mlp_torch.verify.kinds.linear.product", vague)
    assert certify(of_factors_that_never_meet(dtype), "dW2")["dW2"].verdict == "undecided"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(SITES.keys() - set(ROUNDING)))
def test_one_ulp_is_wrong_where_no_operation_rounds(name: str, dtype: str) -> None:
    t, stage = TRACES[name, dtype], SITES[name].stage
    assert certify(t, stage)[stage].verdict == "certified"
    for toward in (np.inf, -np.inf):
        value = t[stage].copy()
        value[3, 2] = np.nextafter(value[3, 2], value.dtype.type(toward))
        found = certify(with_value(t, stage, value), stage)[stage]
        assert (found.verdict, found.index) == ("wrong", (3, 2))


# ---- the global bound ------------------------------------------------------------------------------


def apart(t: Trace, name: str, share: float, sign: int = 1, jumps: bool = True) -> tuple[Trace, float]:
    """The same trace, but for one entry that is `share` of both sides' global bounds away."""
    bound = 2 * propagate(t, jumps).errors[name]
    value = np.asarray(t[name])
    moved = (value + sign * share * bound).astype(value.dtype)
    with np.errstate(all="ignore"):
        reached = np.where(bound > 0, np.abs(moved.astype(np.float64) - value) / bound, np.inf)
    index = np.unravel_index(np.argmin(np.abs(reached - share)), value.shape)
    found = value.copy()
    found[index] = moved[index]
    return with_value(t, name, found), float(reached[index])


def _certified(t: Trace, only: str | None = None) -> dict[str, Judgement]:
    return {s.name: Judgement(s.name, "certified", 0.0, (), 0.0, 0.0, 0.0, 0.0) for s in t}


GRADIENTS = [name for name, stage in STAGES.items() if stage.parameter]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", GRADIENTS)
def test_nine_tenths_of_the_global_bound_is_certified_and_one_and_a_half_is_wrong(
    name: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the local certificate silenced, which is narrower and would speak first."""
    monkeypatch.setattr(verdicts, "certify", _certified)
    t, stage = TRACES[name, dtype], STAGES[name]
    for sign in (1, -1):
        for share, verdict in ((0.9, "certified"), (1.5, "wrong")):
            theirs, reached = apart(t, stage.name, share, sign)
            assert abs(reached - share) < 0.05
            row = compare_traces(t, theirs).parameters[str(stage.parameter)]
            assert (row.verdict, row.note) == (
                verdict,
                "differs by more than both sides' rounding" if verdict == "wrong" else "",
            )
            assert abs(row.ratio - share) < 0.05


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ROUNDING)
def test_the_share_of_the_global_bound_that_is_reported_is_the_one_that_was_planted(
    name: str, dtype: str
) -> None:
    t, stage = TRACES[name, dtype], SITES[name].stage
    theirs, reached = apart(t, stage, 1.5)
    assert abs(compare_traces(t, theirs).stages[stage].ratio - reached) < 0.1 * reached


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_unit_at_a_kink_leaves_open_what_goes_beyond_the_bound_without_its_jump(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "certify", _certified)
    t = TRACES["dz1 relu", dtype]
    z = t["z1"].copy()
    z[2, 3] = propagate(t).errors["z1"][2, 3] / 2
    t = with_value(t, "z1", z)
    for share, verdict in ((0.9, "certified"), (1.5, "undecided")):
        theirs, reached = apart(t, "dW1", share, jumps=False)
        assert abs(reached - share) < 0.05
        row = compare_traces(t, theirs).parameters["layers.0.weight"]
        assert (row.verdict, row.units) == (verdict, (("z1", (2, 3)),))


def other_leaf(share: float, dtype: Any) -> ComparisonReport:
    """Two right passes, the second from another bias: db2 is about `share` of the global bounds away."""
    model = PROBLEM.model(dtype, activation="tanh")
    x, y = PROBLEM.batch("mse", dtype)
    ours = model.trace(x, y, "mse")
    bound = 2 * propagate(ours).errors["db2"]
    leaves = {**ours.leaves, "b2": (ours["b2"] + share * bound * 5 / 2).astype(dtype)}  # ∂db/∂b = 2/K
    return compare_traces(ours, run(ours.stages, leaves))


@pytest.mark.parametrize("dtype", DTYPES)
def test_two_engines_that_are_right_about_different_weights_are_told_apart_at_the_bound(dtype: str) -> None:
    near, far = (other_leaf(share, DTYPES[dtype]) for share in (0.8, 1.5))
    assert near.parameters["layers.1.bias"].verdict == "certified"
    assert 0.5 < near.parameters["layers.1.bias"].ratio < 1
    row = far.parameters["layers.1.bias"]
    assert (row.verdict, row.note) == ("wrong", "differs by more than both sides' rounding")
    assert 1 < row.ratio < 2
    assert all(row.verdict in ("certified", "exact") for row in far.stages.values())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in GRADIENTS if SITES[name].training])
def test_the_monitor_stops_at_one_and_a_half_bounds_and_not_at_nine_tenths(name: str, dtype: str) -> None:
    site, stage = SITES[name], STAGES[name]
    model = PROBLEM.model(DTYPES[dtype], **dict(site.rows))
    x, y = PROBLEM.batch(site.loss, DTYPES[dtype])
    theirs = trace(to_torch(model), x, y, site.loss)
    for share in (0.9, 1.5):
        ours, reached = apart(theirs, stage.name, share)
        monitor = Monitor(site.loss, every=1)
        if share > 1:
            with pytest.raises(WrongGradientError, match=stage.name):
                monitor.observe(model, x, y, lambda *a, ours=ours, **o: ours)
        else:
            monitor.observe(model, x, y, lambda *a, ours=ours, **o: ours)
            assert abs(monitor.ratios[str(stage.parameter)] - reached) < 0.01


# ---- the global bound holds where every addition rounds the same way -------------------------------


def summed_one_by_one(n: int, dtype: Any) -> Trace:
    """A pass without any rounding but in db1 = 1 + ε + … + ε, ε half an ulp, which one by one stays 1."""
    u = Rounding.of(dtype).u
    model = MLP((1, 1), dtype=dtype)
    for value in model.parameters.values():
        value[...] = 0
    y = np.full((n, 1), -u, dtype)
    y[0] = -1
    t = model.trace(np.zeros((n, 1), dtype), y, "half_squared_error", reduction="sum")
    assert (t["dz1"] == -y).all()
    return with_value(t, "db1", np.ones(1, dtype))


@pytest.mark.parametrize("n", [50, 1000])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_bias_whose_every_addition_rounds_down_is_within_both_bounds(dtype: str, n: int) -> None:
    t = summed_one_by_one(n, DTYPES[dtype])
    off = (n - 1) * Rounding.of(DTYPES[dtype]).u
    assert off < propagate(t).errors["db1"][0] < 1.5 * off + 20 * Rounding.of(DTYPES[dtype]).u
    judgement = certify(t, "db1")["db1"]
    assert judgement.verdict == "certified"
    assert judgement.ratio > 0.99
