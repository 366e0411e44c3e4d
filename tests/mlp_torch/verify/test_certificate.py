"""No false alarm, and no vacuous bound: random networks of every kind, the exact pass, units at kinks.

The quick suite makes 2,000 comparisons: 1,664 random ones and 336, each activation with each loss and
normalization. The marker `long` makes MLP_COMPARISONS of them, 100,000 unless
that environment variable says less: `MLP_COMPARISONS=10000 pytest -m long` is the tenth that CI runs.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import flint
import numpy as np
import pytest
import torch
from flint import arb

from manual import ACTIVATIONS, LOSSES, MLP
from manual.losses import Reduction
from manual.numbers import Array
from manual.structure.architecture import NORMALIZATIONS
from manual.structure.trace import Trace, run
from mlp_torch.model import to_torch
from mlp_torch.trace import trace
from mlp_torch.verify.certificate import RULES, certify
from mlp_torch.verify.local import Context
from mlp_torch.verify.propagation import propagate
from mlp_torch.verify.report import ComparisonReport
from mlp_torch.verify.rounding import Rounding
from mlp_torch.verify.verdicts import compare_traces
from tests.duals import exact
from tests.problems import DTYPES, Problem

QUICK, PARTS = 1664, 8
LONG = int(os.environ.get("MLP_COMPARISONS", "100000"))
ACTIVATION_NAMES = [*ACTIVATIONS]


def engines(
    model: MLP, x: Array, y: Array, loss: str, reduction: Reduction = "mean", seed: int = 0
) -> tuple[Trace, Trace]:
    """The manual trace and autograd's, on one model, batch and dropout mask."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        theirs = trace(to_torch(model), x, y, loss, reduction=reduction)
    masks = {name: value for name, value in theirs.leaves.items() if name.startswith("mask")}
    with np.errstate(all="ignore"):
        return model.trace(x, y, loss, reduction=reduction, masks=masks), theirs


def drawn(seed: int) -> tuple[tuple[MLP, Array, Array, str, Reduction], str]:
    """A random network and batch, any row of any table, ordinary or ill-scaled; and what it is."""
    rng = np.random.default_rng([20, seed])
    dtype, loss = DTYPES[str(rng.choice([*DTYPES]))], str(rng.choice([*LOSSES]))
    sizes = tuple(int(v) for v in rng.integers(1, 6, rng.integers(2, 4)))
    if loss == "multi_margin" and sizes[-1] == 1:  # torch: one class has no margin
        sizes = (*sizes[:-1], 2)
    rows = {
        "activation": ACTIVATION_NAMES[seed % len(ACTIVATION_NAMES)],
        "output_activation": str(rng.choice(["identity", "identity", *ACTIVATION_NAMES])),
        "normalization": NORMALIZATIONS[seed // 14 % 3],
        "dropout": float(rng.choice([0, 0.25, 0.5])),
    }
    p = Problem(int(rng.integers(2, 6)), sizes, int(rng.integers(2**31)))
    model = p.model(dtype, **rows)
    model.training = bool(rng.integers(2))
    x, y = p.batch(loss, dtype, loss == "cross_entropy" and rng.random() < 0.3)
    reduction: Reduction = "mean" if rng.integers(2) else "sum"
    if rng.random() < 0.3:  # ill-scaled: nearly constant features, saturated units, cancelling sums
        weight, bias, size = (
            10.0 ** rng.integers(-4, 5),
            10.0 ** rng.integers(0, 5),
            10.0 ** rng.integers(-8, 5),
        )
        for name, value in model.parameters.items():
            if name.startswith("layers"):
                scaled = value * weight if name.endswith("weight") else value + bias
                model.parameters[name] = scaled.astype(dtype)
        x = (x * size).astype(dtype)
    text = f"seed {seed}: {p} {rows} {loss} {reduction} {dtype.__name__} training {model.training}"
    return (model, x, y, loss, reduction), text


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


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_passes_with_every_loss_and_normalization(activation: str) -> None:
    for i, (loss, normalization) in enumerate(product(LOSSES, NORMALIZATIONS)):
        dtype = list(DTYPES.values())[(i + ACTIVATION_NAMES.index(activation)) % 2]
        report = report_of(i, dtype, loss, activation=activation, normalization=normalization, dropout=0.5)
        assert report.passed, f"{loss} {normalization}: {report.wrong}"


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
    *(({"activation": a, "output_activation": "identity"}, "mse") for a in ACTIVATIONS),
    *(({"activation": "tanh", "normalization": n}, loss) for n in NORMALIZATIONS for loss in LOSSES),
    *(({"activation": "gelu", "output_activation": a, "dropout": 0.5}, "l1") for a in ACTIVATIONS),
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


# ---- kinks are reported, never guessed -------------------------------------------------------------


def at_a_kink(activation: str, dtype: Any) -> tuple[Trace, Trace, ComparisonReport]:
    """z1[0, 0] = (1 + 2⁻ᵖ) − 1 − 2⁻ᵖ in truth; the second engine's rounding pushed it over the kink."""
    eps = float(np.finfo(dtype).eps)
    model = MLP((3, 2, 2), activation=activation, dtype=dtype, seed=1)
    model.parameters["layers.0.weight"] = np.array([[1, 1, 1], [0.3, -0.7, 0.9]], dtype)
    model.parameters["layers.0.bias"] = np.zeros(2, dtype)
    x = np.array([[1 + eps, -1, -eps], [0.4, 0.2, -0.1]], dtype)
    y = np.array([[0.5, -0.25], [1, 2]], dtype)
    ours = model.trace(x, y, "mse")
    z = ours["z1"].copy()
    sides = []
    for sign in (1, -1):
        z = ours["z1"].copy()
        z[0, 0] = sign * eps / 4
        stages = [replace(s, function=lambda *_, z=z: z) if s.name == "z1" else s for s in ours.stages]
        sides.append(run(stages, ours.leaves))
    return *sides, compare_traces(*sides)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "prelu", "selu"])
def test_a_unit_on_different_sides_of_a_kink_is_undecided_with_its_name(activation: str, dtype: str) -> None:
    left, right, report = at_a_kink(activation, DTYPES[dtype])
    assert report.passed
    assert not np.allclose(left["dW1"], right["dW1"], rtol=1e-3)  # a real difference, and no fault
    row = report.parameters["layers.0.weight"]
    assert row.verdict == "undecided"
    assert ("z1", (0, 0)) in row.units
    assert all(unit == ("z1", (0, 0)) for unit in row.units)
    assert report.parameters["layers.1.weight"].verdict in ("certified", "exact")  # it does not pass the kink


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_fault_below_a_kink_is_still_wrong(dtype: str) -> None:
    left, right, _ = at_a_kink("relu", DTYPES[dtype])
    off = Trace(right.stages, right.leaves, {**right.values, "dW1": 2 * right["dW1"]})
    assert compare_traces(left, off).parameters["layers.0.weight"].verdict == "wrong"


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_loss_at_a_kink_is_reported_with_its_entry(dtype: str) -> None:
    """multi_margin: 1 − ŷ_y + ŷⱼ = 0, where either derivative may stand."""
    model = MLP((2, 2), dtype=DTYPES[dtype])
    model.parameters["layers.0.weight"] = np.eye(2, dtype=dtype)
    model.parameters["layers.0.bias"] = np.zeros(2, dtype)
    x, y = np.array([[2, 1], [0.25, 0.5]], dtype), np.array([0, 1])
    report = compare_traces(*engines(model, x, y, "multi_margin"))
    assert report.stages["dloss"].verdict == "undecided"
    units = {index for j in report.stages["dloss"].evidence.values() for index in j.units}
    assert units == {(0, 0), (0, 1)}


def test_a_network_without_a_unit_near_a_kink_reports_none() -> None:
    p = Problem(5, (3, 4, 2), 0)
    report = compare_traces(*engines(p.model(activation="relu"), *p.batch("mse"), "mse"))
    assert [row.units for row in report.parameters.values() if row.units] == []


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
