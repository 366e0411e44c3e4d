"""The assumptions behind the bounds, measured: elementary functions to 4 ulp, and f, f′ at the extremes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import flint
import numpy as np
import pytest
import torch
from flint import arb, ctx
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erf as float64_erf
from torch.nn import functional as F

from manual import ACTIVATIONS, numbers
from manual.numbers import Array
from manual.structure.trace import Stage, Trace
from mlp_torch.model import ACTIVATIONS as TORCH
from mlp_torch.verify.certificate import certify
from mlp_torch.verify.enclosure import mapped
from mlp_torch.verify.kinds.activation.rows import ROWS
from mlp_torch.verify.rounding import ELEMENTARY, ERF_FLOAT32, Rounding, up

ULPS = ELEMENTARY / 2
DTYPES = {"float64": np.float64, "float32": np.float32}
CHUNK, CHUNKS = 1 << 17, 8  # 2²⁰ points a function, library and sign


def by_torch(f: Callable[[Any], Any]) -> Callable[[Array], Array]:
    return lambda z: f(torch.from_numpy(z)).numpy()


# name: NumPy's, torch's, the same in balls, and where it is taken
ELEMENTARY_FUNCTIONS: dict[str, tuple[Any, Any, Any, tuple[float, float], bool]] = {
    "exp": (np.exp, torch.exp, lambda v: v.exp(), (1e-30, 87), True),
    "expm1": (np.expm1, torch.expm1, lambda v: v.expm1(), (1e-30, 87), True),
    "tanh": (np.tanh, torch.tanh, lambda v: v.tanh(), (1e-30, 50), True),
    "log": (np.log, torch.log, lambda v: v.log(), (1e-37, 1e37), False),
    "log1p": (np.log1p, torch.log1p, lambda v: v.log1p(), (1e-30, 1e30), False),
    "sqrt": (np.sqrt, torch.sqrt, lambda v: v.sqrt(), (1e-37, 1e37), False),
    "erf": (numbers.erf, torch.erf, lambda v: v.erf(), (1e-30, 10), True),
}
REFERENCE = {name: row[0] for name, row in ELEMENTARY_FUNCTIONS.items()} | {"erf": float64_erf}


def dense(low: float, high: float, signs: bool) -> Iterator[Array]:
    """float32 from `low` to `high`, evenly among the floats themselves, in chunks; then the negatives."""
    first, last = (int(np.float32(v).view(np.int32)) for v in (low, high))
    for patterns in np.array_split(np.linspace(first, last, CHUNK * CHUNKS).astype(np.int32), CHUNKS):
        yield patterns.view(np.float32)
        if signs:
            yield -patterns.view(np.float32)


def worst(f: Callable[[Array], Array], name: str, thin: int = 1) -> float:
    """The largest error of a float32 function in ulps of the true value, held against float64."""
    *_, (low, high), signs = ELEMENTARY_FUNCTIONS[name]
    found = 0.0
    for z in dense(low, high, signs):
        z = z[::thin]
        with np.errstate(under="ignore"):
            truth = REFERENCE[name](z.astype(np.float64))
            error = np.abs(f(z).astype(np.float64) - truth)
        ulp = np.spacing(np.maximum(np.abs(truth), np.finfo(np.float32).tiny).astype(np.float32))
        found = max(found, float((error / ulp).max()))
    return found


@pytest.mark.parametrize("name", sorted(set(ELEMENTARY_FUNCTIONS) - {"erf"}))
def test_numpys_float32_functions_err_by_at_most_four_ulp(name: str) -> None:
    assert 0 < worst(ELEMENTARY_FUNCTIONS[name][0], name) <= ULPS


def test_the_float32_erf_of_manual_errs_by_at_most_four_ulp() -> None:
    assert 0 < worst(numbers.erf, "erf", thin=32) <= ULPS  # entry by entry in Python


@pytest.mark.parametrize("name", ELEMENTARY_FUNCTIONS)
def test_torchs_float32_functions_err_by_at_most_four_ulp(name: str) -> None:
    assert 0 < worst(by_torch(ELEMENTARY_FUNCTIONS[name][1]), name) <= ULPS


@pytest.mark.parametrize("engine", [0, 1], ids=["numpy", "torch"])
@pytest.mark.parametrize("name", ELEMENTARY_FUNCTIONS)
def test_float64_functions_err_by_at_most_four_ulp(name: str, engine: int) -> None:
    row = ELEMENTARY_FUNCTIONS[name]
    (low, high), signs = row[3:]
    f = row[0] if engine == 0 else by_torch(row[1])
    rng = np.random.default_rng(0)
    z = np.exp(rng.uniform(np.log(low), np.log(high), 3000))
    z = np.concatenate([z, rng.uniform(0, min(high, 40), 3000) + low])
    z = np.concatenate([z, -z]) if signs else z
    truth = mapped(row[2], z)
    _, error = truth.distance(f(z))
    assert (error <= ULPS * np.spacing(np.abs(truth.hi)) + np.finfo(np.float64).tiny).all()


def gelu_error(z: Array) -> Array:
    """How far the erf inside torch's float32 gelu is off, in ulps of 1: gelu(z) = z (1 + erf)/2."""
    a = F.gelu(torch.from_numpy(z)).numpy().astype(np.float64)
    z = z.astype(np.float64)
    truth = z * (1 + float64_erf(z / np.sqrt(2))) / 2
    return np.abs(a - truth) / np.abs(z) * 2 / 2.0**-23


def test_the_erf_inside_torchs_float32_gelu_errs_by_at_most_twenty_ulp() -> None:
    assert max(float(gelu_error(z).max()) for z in dense(1e-20, 20, True)) <= ERF_FLOAT32 / 2


# ---- f and f′ of both engines at the extremes ------------------------------------------------------

ELEMENTWISE = [name for name, row in ACTIVATIONS.items() if row.jacobian_product is None]
EXTREMES = [
    0.0,
    1e-300,
    1e-40,
    1e-38,
    1e-8,
    1.0,
    20.0,
    30.0,
    88.0,
    89.5,
    100.0,
    104.0,
    709.8,
    745.0,
    1024.0,
    1e4,
]
EXTREMES += [1e10, 1e20, 1e30]


def beside(points: list[float], dtype: Any) -> Array:
    """Both signs of every point, and the floats next to them on either side."""
    with np.errstate(under="ignore"):
        z = np.array([s * p for p in points for s in (1, -1)]).astype(dtype)
        return np.unique(np.concatenate([z, np.nextafter(z, dtype(np.inf)), np.nextafter(z, dtype(-np.inf))]))


def traces(name: str, z: Array, da: Array) -> dict[str, Trace]:
    """One activation forward and backward by both engines, as traces of two stages."""
    row = ACTIVATIONS[name]
    slope = {"slope1": np.array([0.25], z.dtype)} if row.slope is not None else {}
    extra = {"constants": {**row.options}} if "constants" in Stage.__dataclass_fields__ else {}
    reads = ("z1", *slope)
    stages = [
        Stage("a1", 1, "activation", "", reads, row.forward, name, **extra),
        Stage("dz1", 1, "activation_backward", "", ("da1", "z1", "a1", *slope), row.backward, name, **extra),
    ]
    leaves = {"z1": z, "da1": da, **slope}
    with np.errstate(all="ignore"):
        a = row.forward(z, *slope.values())
        ours = {"a1": a, "dz1": row.backward(da, z, a, *slope.values())}
    t = torch.from_numpy(z.copy()).requires_grad_()
    module = TORCH[name]().to(t.dtype)
    out = module(t)
    out.backward(torch.from_numpy(da))
    theirs = {"a1": out.detach().numpy(), "dz1": t.grad.numpy()}
    return {"manual": Trace(stages, leaves, ours), "torch": Trace(stages, leaves, theirs)}


def alarms(name: str, z: Array, da: Array) -> list[str]:
    found = []
    for engine, t in traces(name, z, da).items():
        for stage, j in certify(t).items():
            if j.verdict == "wrong":
                found.append(
                    f"{engine} {stage}: z = {z[j.index]!r}: {j.value!r}, not {j.truth!r} ± {j.bound}"
                )
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_no_activation_breaks_its_bound_at_the_extremes_and_beside_its_kinks(name: str, dtype: str) -> None:
    kinks = [abs(float(k)) for k in ACTIVATIONS[name].kinks]
    z = beside(EXTREMES + kinks, DTYPES[dtype])
    da = np.random.default_rng(0).normal(size=z.shape).astype(dtype)
    assert alarms(name, z, da) == []


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
@given(st.data())
def test_no_activation_breaks_its_bound_anywhere(name: str, dtype: str, data: st.DataObject) -> None:
    width = 64 if dtype == "float64" else 32
    entries = st.floats(width=width, allow_nan=False, allow_infinity=False)
    entries |= st.floats(-40, 40, width=width)
    z = np.array(data.draw(st.lists(entries, min_size=4, max_size=20)), dtype)
    da = np.array(data.draw(st.lists(entries, min_size=len(z), max_size=len(z))), dtype)
    assert alarms(name, z, da) == []


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_no_activation_breaks_its_bound_on_many_ordinary_points(name: str, dtype: str) -> None:
    rng = np.random.default_rng(1)
    z = np.concatenate([rng.normal(0, s, 400) for s in (1e-3, 1, 5, 30)]).astype(dtype)
    assert alarms(name, z, rng.normal(size=z.shape).astype(dtype)) == []


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(set(ELEMENTWISE) - {"identity", "relu", "hardtanh"}))
def test_an_error_of_two_hundred_ulp_breaks_the_bound(name: str, dtype: str) -> None:
    """Planted: the bounds are not so wide that they say nothing, on either side of 0."""
    for z in (np.linspace(0.1, 3, 30), np.linspace(-3, -0.1, 30)):
        t = traces(name, z.astype(dtype), np.ones(30, dtype))["manual"]
        for stage in ("a1", "dz1"):
            off = t[stage] * (1 + 200 * np.finfo(dtype).eps)
            verdict = certify(Trace(t.stages, t.leaves, {**t.values, stage: off.astype(dtype)}), stage)
            assert verdict[stage].verdict == "wrong"


def test_an_overflowing_derivative_is_open_and_not_called_a_fault() -> None:
    z = np.array([1e30, 1.0], np.float32)
    t = traces("gelu_tanh", z, np.ones(2, np.float32))
    assert [certify(engine)["dz1"].verdict for engine in t.values()] == ["undecided", "undecided"]
    t = traces("gelu_tanh", z.astype(np.float64), np.ones(2))
    assert [certify(engine)["dz1"].verdict for engine in t.values()] == ["certified", "certified"]


def test_every_row_of_errors_is_finite_and_not_negative_where_nothing_overflows() -> None:
    z = np.concatenate([-np.geomspace(1e-300, 1e4, 200), np.geomspace(1e-300, 1e4, 200), [0.0]])
    for name, known in ROWS.items():
        row = ACTIVATIONS[name]
        slope = [np.array([0.25])] if row.slope is not None else []
        with np.errstate(all="ignore"):
            f = row.forward(z, *slope)
            point = SimpleNamespace(z=z, f=f, d=row.derivative(z, f, *slope, **row.options))
            for dtype in DTYPES.values():
                point.r = Rounding.of(dtype)
                for bound in known.errors(point):
                    assert np.isfinite(bound).all(), name
                    assert (bound >= 0).all(), name


# ---- the arithmetic itself -------------------------------------------------------------------------


def test_gamma_is_highams_and_infinite_where_it_says_nothing() -> None:
    r = Rounding.of(np.float32)
    assert r.u == 2.0**-24
    assert r.gamma(0) == 0
    assert r.gamma(2**24) == np.inf
    assert r.gamma(2.0**23) == 1.0


def test_up_is_above_any_float64_evaluation_of_the_bound() -> None:
    bound = np.array([1.0, 1e-300, 1e300])
    assert (up(bound) > bound * (1 + 100 * 2.0**-53)).all()
    assert (up(bound, 1000) > up(bound)).all()


# ---- each check fails on a planted fault -----------------------------------------------------------


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_function_that_is_five_ulp_off_is_seen(engine: str) -> None:
    right = np.exp if engine == "numpy" else by_torch(torch.exp)

    def wrong(z: Array) -> Array:
        e = right(z)
        return np.where(z > 1, e + 7 * np.spacing(e), e).astype(np.float32)

    assert worst(wrong, "exp", thin=64) > ULPS


def test_a_bound_of_a_sixteenth_would_be_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ROWS["sigmoid"]

    def tight(p: Any) -> tuple[Any, ...]:
        return tuple(part / 16 for part in before.errors(p))

    monkeypatch.setitem(ROWS, "sigmoid", replace(before, errors=tight))
    z = np.random.default_rng(0).normal(0, 3, 3000).astype(np.float32)
    assert alarms("sigmoid", z, np.ones_like(z)) != []


def test_balls_hold_what_float64_erf_is_measured_against() -> None:
    before, ctx.prec = flint.ctx.prec, 128
    try:
        z = np.linspace(-5, 5, 500)
        gap = [abs(arb(float(v)) - arb(float(t)).erf()) for v, t in zip(float64_erf(z), z, strict=True)]
        assert max(map(float, gap)) < 4 * 2.0**-53
    finally:
        ctx.prec = before
