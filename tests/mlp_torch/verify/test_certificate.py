"""No vacuous bound: tight ones, the exact pass within them, and nothing claimed where nothing is known."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import flint
import numpy as np
import pytest
from flint import arb

from manual.structure.architecture import NORMALIZATIONS
from manual.structure.trace import Trace, run
from mlp_torch.verify.certificate import certify
from mlp_torch.verify.kinds import RULES
from mlp_torch.verify.local import Context
from mlp_torch.verify.propagation import propagate
from mlp_torch.verify.rounding import Rounding
from mlp_torch.verify.verdicts import compare_traces
from tests.duals import exact
from tests.mlp_torch.verify.edges import TRUE_ACTIVATIONS, TRUE_LOSSES
from tests.mlp_torch.verify.engines import drawn, engines
from tests.problems import DTYPES, Problem

# ---- tight -----------------------------------------------------------------------------------------

LINEAR = ("linear", "linear_backward_input", "linear_backward_weight", "backward_bias")


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_bound_of_a_linear_stage_is_used_to_more_than_a_half(dtype: str) -> None:
    largest: Counter[str] = Counter()
    for seed in range(60):
        p = Problem(2, (1, 1, 2), seed)  # few terms: with many, rounding errors average out
        for t in engines(p.model(DTYPES[dtype], activation="tanh"), *p.batch("mse", DTYPES[dtype]), "mse"):
            for name, j in certify(t).items():
                largest[t.stage(name).kind] = max(largest[t.stage(name).kind], j.ratio)
    assert {kind: largest[kind] for kind in LINEAR if not 0.5 < largest[kind] <= 1} == {}


def test_an_enclosure_is_far_narrower_than_the_bound_it_judges_by() -> None:
    """If it were not, a verdict would be `undecided` where it could be known."""
    for seed in range(12):
        (model, x, y, loss, reduction), _ = drawn(1000 + seed)
        t, _ = engines(model, x, y, loss, reduction)
        values = {name: np.asarray(v).astype(np.float64) for name, v in t.values.items()}
        context = Context(values, Rounding.of(t["z1"].dtype))
        notes = [j.note for j in certify(t).values()]
        assert "the enclosure is wider than the bound" not in notes
        assert set(RULES) >= {s.kind for s in t}
        assert context.r.u < 1e-7


# ---- the global bound against the exact network ----------------------------------------------------


@pytest.fixture
def _two_hundred_bits() -> Iterator[None]:
    before, flint.ctx.prec = flint.ctx.prec, 200
    yield
    flint.ctx.prec = before


def exactly(t: Trace) -> Trace:
    """The same pass from the same leaves in balls of 200 bits: manual's own formulas, proven in T0."""
    leaves = {
        name: v if np.issubdtype(np.asarray(v).dtype, np.integer) else exact(v, arb)
        for name, v in t.leaves.items()
    }
    return run(t.stages, leaves)


def beyond(t: Trace, truth: Trace) -> list[str]:
    """The stages whose distance from the exact value is not within the propagated bound."""
    bounds, found = propagate(t), []
    for stage in t:
        ours, exact_value = np.asarray(t[stage.name]), np.asarray(truth[stage.name], dtype=object)
        errors = np.broadcast_to(bounds.errors[stage.name], ours.shape)
        for index in np.ndindex(ours.shape):
            if not np.isfinite(errors[index]):
                continue
            gap = abs(arb(float(ours[index])) - exact_value[index])
            if not gap <= arb(float(errors[index])):
                found.append(f"{stage.name}{index}: {float(gap):.3g} > {errors[index]:.3g}")
    return found


CASES = [
    *(({"activation": a, "output_activation": "identity"}, "mse") for a in TRUE_ACTIVATIONS),
    *(({"activation": "tanh", "normalization": n}, loss) for n in NORMALIZATIONS for loss in TRUE_LOSSES),
    *(({"activation": "gelu", "output_activation": a, "dropout": 0.5}, "l1") for a in TRUE_ACTIVATIONS),
]


@pytest.mark.usefixtures("_two_hundred_bits")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "loss"), CASES)
def test_every_stage_of_both_engines_is_within_its_global_bound_of_the_exact_pass(
    rows: dict[str, Any], loss: str, dtype: str
) -> None:
    for training in (True, False) if "normalization" in rows or "dropout" in rows else (True,):
        p = Problem(4, (3, 3, 2), int(training))
        model = p.model(DTYPES[dtype], **rows)
        model.training = training
        pair = engines(model, *p.batch(loss, DTYPES[dtype]), loss)
        truth = exactly(pair[0])
        for t in pair:
            assert beyond(t, truth) == []


@pytest.mark.usefixtures("_two_hundred_bits")
def test_the_global_bound_holds_for_soft_targets_of_any_sum() -> None:
    model = Problem(4, (3, 3, 5), 3).model(np.float32, activation="tanh")
    model.parameters["layers.1.weight"] = model.parameters["layers.1.weight"] * np.float32(30)
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    y = np.ones((4, 5), np.float32)
    pair = engines(model, x, y, "cross_entropy", "sum")
    assert [beyond(t, exactly(pair[0])) for t in pair] == [[], []]


@pytest.mark.usefixtures("_two_hundred_bits")
def test_a_pass_that_is_a_thousand_ulp_off_leaves_the_global_bound() -> None:
    p = Problem(4, (3, 3, 2), 0)
    t, _ = engines(p.model(activation="tanh"), *p.batch("mse"), "mse")
    off = Trace(t.stages, t.leaves, {**t.values, "dW1": t["dW1"] * (1 + 1000 * 2.0**-52)})
    assert beyond(off, exactly(t)) != []


# ---- nothing is claimed where nothing is known -----------------------------------------------------


@pytest.mark.parametrize(("activation", "loss", "size"), [("relu", "mse", 1e25), ("tanh", "mse", 1e300)])
def test_a_pass_that_overflows_is_undecided(activation: str, loss: str, size: float) -> None:
    dtype = np.float32 if size < 1e38 else np.float64
    p = Problem(3, (2, 3, 2), 0)
    model = p.model(dtype, activation=activation)
    x, y = p.batch(loss, dtype)
    scale = size if activation == "relu" else 1.0
    pair = engines(model, (x * scale).astype(dtype), (y * (size / scale)).astype(dtype), loss)
    report = compare_traces(*pair)
    assert report.verdict == "undecided"
    assert report.stages["loss"].note == "the bound overflows"


def test_a_batch_norm_whose_variance_overflows_is_undecided() -> None:
    p = Problem(3, (2, 3, 2), 0)
    model = p.model(np.float32, normalization="batch_norm")
    x, y = p.batch("mse", np.float32)
    report = compare_traces(*engines(model, x * np.float32(1e30), y, "mse"))
    assert (report.verdict, report.passed) == ("undecided", False)


def test_values_beyond_the_enclosures_are_not_certified() -> None:
    """Planted: above 2⁹⁹⁶ the error-free transformations overflow; an answer of NaN proves nothing."""
    p = Problem(3, (2, 2), 0)
    x, y = p.batch("l1")
    t, _ = engines(p.model(), x * 1e303, y, "l1")
    off = Trace(t.stages, t.leaves, {**t.values, "z1": 2 * t["z1"]})
    assert certify(off)["z1"].verdict in ("undecided", "wrong")


def test_a_value_that_is_not_finite_for_finite_inputs_is_wrong() -> None:
    p = Problem(3, (2, 3, 2), 0)
    t, _ = engines(p.model(activation="tanh"), *p.batch("mse"), "mse")
    for bad in (np.nan, np.inf):
        broken = t["dW1"].copy()
        broken[1, 1] = bad
        j = certify(Trace(t.stages, t.leaves, {**t.values, "dW1": broken}))["dW1"]
        assert (j.verdict, j.index) == ("wrong", (1, 1))


def test_what_follows_from_a_value_that_is_not_finite_is_not_judged() -> None:
    p = Problem(3, (2, 3, 2), 0)
    t, _ = engines(p.model(activation="tanh"), *p.batch("mse"), "mse")
    broken = t["da1"].copy()
    broken[0, 0] = np.nan
    found = certify(Trace(t.stages, t.leaves, {**t.values, "da1": broken}))
    assert found["da1"].verdict == "wrong"
    assert (found["dz1"].verdict, found["dz1"].note) == ("undecided", "its inputs are not finite")


def test_a_gradient_of_a_wrong_shape_is_wrong_at_its_own_stage() -> None:
    p = Problem(5, (3, 4, 2), 0)
    t, theirs = engines(p.model(activation="tanh"), *p.batch("mse"), "mse")
    off = Trace(t.stages, t.leaves, {**t.values, "db1": t["dz1"]})
    report = compare_traces(off, theirs)
    assert [row.name for row in report.wrong] == ["db1", "layers.0.bias"]
    assert report.stages["db1"].evidence["manual"].note == "shape (5, 4)"


def test_one_stage_can_be_judged_alone() -> None:
    p = Problem(5, (3, 4, 2), 0)
    t, _ = engines(p.model(activation="tanh"), *p.batch("mse"), "mse")
    assert list(certify(t, "dW1")) == ["dW1"]
    assert certify(t, "dW1")["dW1"] == certify(t)["dW1"]
