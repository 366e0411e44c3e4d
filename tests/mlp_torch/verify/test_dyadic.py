"""Where no operation rounds, only bit-equality is good enough: dyadic problems and the ledger behind them."""

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from manual import LOSSES, MLP, SGD
from manual.numbers import Array
from manual.structure.architecture import Architecture
from manual.structure.trace import Trace, run
from mlp_torch.model import to_torch
from mlp_torch.trace import trace
from mlp_torch.verify.dyadic import POLYNOMIAL, Problem, problem
from mlp_torch.verify.ledger import PIECEWISE, SENTINEL_ROWS, RefusedError, prove, unit
from mlp_torch.verify.twin import compare_problem
from tests.duals import exact

DTYPES = {"float64": np.float64, "float32": np.float32}
ROWS = [*PIECEWISE, *SENTINEL_ROWS]
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def both(p: Problem, device: str = "cpu") -> tuple[Trace, Trace]:
    module = to_torch(p.model).to(device)
    return p.trace(), trace(module, p.x, p.y, p.loss, reduction=p.reduction, masks=p.masks)


def unequal(p: Problem, device: str = "cpu") -> list[str]:
    """Every stage, the loss and the input's gradient among them, that is not bit-equal in the two engines."""
    ours, theirs = both(p, device)
    claimed = [s.name for s in ours if s.name not in p.ledger.inexact]
    return [name for name in claimed if not np.array_equal(ours[name], theirs[name])]


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    sizes = tuple(draw(st.lists(st.integers(1, 12), min_size=2, max_size=5)))
    row, output = draw(st.sampled_from(ROWS)), draw(st.sampled_from(["identity", "identity", *ROWS]))
    return Architecture(sizes, row, output, draw(st.sampled_from([0.0, 0.5, 0.2])))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
@settings(max_examples=6)
@given(architectures(), st.integers(2, 40), st.sampled_from(["mean", "sum"]), st.integers(0, 999))
def test_an_accepted_problem_is_bit_equal_at_every_stage(
    loss: str, dtype: str, architecture: Architecture, n: int, reduction: Any, seed: int
) -> None:
    try:
        p = problem(architecture, loss, n, reduction=reduction, dtype=DTYPES[dtype], seed=seed)
    except RefusedError:
        assume(False)
    assert unequal(p) == []
    assert p.ledger.most <= p.ledger.precision


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_an_accepted_problem_with_every_loss_and_its_gradients_are_not_zero(
    row: str, dtype: str
) -> None:
    accepted = 0
    for loss in LOSSES:
        try:
            p = problem(Architecture((8, 12, 8, 4), row), loss, 32, dtype=DTYPES[dtype], seed=1)
        except RefusedError:  # 24 bits are few where 1024 is squared and summed
            assert dtype == "float32"
            continue
        accepted += 1
        assert unequal(p) == []
        assert "dW1" in p.ledger.bits
        gradients = p.trace().gradients
        shares = {name: np.count_nonzero(g) / g.size for name, g in gradients.items() if "layers.2" in name}
        assert min(shares.values()) > 0.2, (loss, shares)
        assert any(g.any() for name, g in gradients.items() if "layers.0" in name), loss
    assert accepted >= len(LOSSES) - 2


@pytest.mark.parametrize("row", PIECEWISE)
@pytest.mark.parametrize("loss", POLYNOMIAL)
def test_most_gradients_of_a_lattice_problem_are_not_zero(row: str, loss: str) -> None:
    p = problem(Architecture((8, 12, 8, 4), row, dropout=0.5), loss, 32, dtype=np.float64, seed=0)
    flat = np.concatenate([g.ravel() for g in p.trace().gradients.values()])
    assert np.count_nonzero(flat) > flat.size / 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", PIECEWISE)
@pytest.mark.parametrize("loss", POLYNOMIAL)
def test_a_small_problem_equals_its_fractions(loss: str, row: str, dtype: str) -> None:
    """manual's own formulas on `Fraction`: what both engines have is the true value itself."""
    p = problem(Architecture((3, 5, 4, 2), row, dropout=0.5), loss, 4, dtype=DTYPES[dtype], seed=3)
    ours, theirs = both(p)
    leaves = {
        n: v if n == "y" and v.dtype.kind == "i" else exact(v, Fraction) for n, v in ours.leaves.items()
    }
    truth = run(ours.stages, leaves)
    for stage in ours:
        if stage.name not in p.ledger.inexact:
            for engine in (ours, theirs):
                found = exact(np.asarray(engine[stage.name]), Fraction)
                assert (found == np.asarray(truth[stage.name], dtype=object)).all(), stage.name


def test_the_loss_of_bce_at_a_logit_of_zero_is_not_claimed() -> None:
    t = MLP((2, 2)).trace(np.zeros((2, 2)), np.ones((2, 2)), "bce_with_logits")
    zero = Trace(t.stages, {**t.leaves, "W1": np.eye(2), "b1": np.zeros(2)}, t.values)
    assert prove(run(zero.stages, zero.leaves)).inexact == {"loss"}


# ---- refusals --------------------------------------------------------------------------------------


def one_layer(
    x: Any, w: Any, b: Any, y: Any, loss: str = "mse", dtype: Any = np.float64, **rows: Any
) -> Trace:
    """A trace of one linear layer with these very numbers."""
    w = np.atleast_2d(np.array(w, dtype))
    model = MLP(w.shape[::-1], dtype=dtype, **rows)
    model.parameters["layers.0.weight"], model.parameters["layers.0.bias"] = w, np.array(b, dtype)
    y = np.array(y) if np.asarray(y).dtype.kind == "i" else np.array(y, dtype)
    with np.errstate(all="ignore"):
        return model.trace(np.atleast_2d(np.array(x, dtype)), y, loss)


REFUSED: dict[str, tuple[Any, str]] = {
    "normalization": (Architecture((2, 2, 2), normalization="batch_norm"), "divides by a square root"),
    "softplus": (Architecture((2, 2, 2), "softplus"), "softplus has no dyadic values"),
    "selu": (Architecture((2, 2, 2), "selu"), "selu has no dyadic values"),
    "softmax": (Architecture((2, 2, 2), output_activation="softmax"), "softmax has no dyadic values"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_architecture_without_a_dyadic_problem_is_refused(case: str) -> None:
    architecture, reason = REFUSED[case]
    with pytest.raises(RefusedError, match=reason):
        problem(architecture, "mse", 8, dtype=np.float64, seed=0)


def test_a_margin_over_three_classes_is_refused() -> None:
    with pytest.raises(RefusedError, match="3 classes, which is no power of two"):
        problem(Architecture((2, 3)), "multi_margin", 8, dtype=np.float64, seed=0)
    with pytest.raises(RefusedError, match="3 classes, which is no power of two"):
        prove(one_layer([[1.0]] * 2, [[1.0]] * 3, [0.0] * 3, [0, 1], "multi_margin"))


HALF = [[0.5, 0.25]]
TRACES: dict[str, tuple[Trace, str]] = {
    "mean over 3": (one_layer([[1.0]], [[1.0]] * 3, [0.0] * 3, [[1.0, 2, 3]]), "mean over 3"),
    "not a sentinel": (
        one_layer(HALF, [[1.0, 1.0]], [0.0], [[1.0]], output_activation="tanh"),
        "tanh is dyadic only at",
    ),
    "softplus": (
        one_layer(HALF, [[1.0, 1.0]], [0.0], [[1.0]], output_activation="softplus"),
        "no dyadic values",
    ),
    "leaky relu of 0.01": (
        one_layer([[-1.0, 0.5]], [[1.0, 1.0]], [0.0], [[1.0]], output_activation="leaky_relu"),
        "needs 6. bits of 53|needs 5[4-9] bits",
    ),
    "logits": (one_layer(HALF, np.eye(2), [0.0, 0.0], [1], "cross_entropy"), "only for logits in"),
    "tie": (one_layer([[0.0, 0.0]], np.eye(2), [0.0, 0.0], [1], "cross_entropy"), "without ties"),
    "soft targets": (
        one_layer([[1024.0, 0.0]], np.eye(2), [0.0, 0.0], [[0.1, 0.9]], "cross_entropy"),
        "bits of 53",
    ),
    "soft labels": (one_layer([[1024.0]], [[1.0]], [0.0], [[0.1]], "bce_with_logits"), "bits of 53"),
    "underflow": (
        one_layer([[2.0**-80]], [[2.0**-80]], [0.0], [[1.0]], dtype=np.float32),
        "leave the range",
    ),
    "overflow": (
        one_layer([[2.0**64]], [[2.0**63]], [0.0], [[1.0]], dtype=np.float32),
        "leave the range",
    ),
    "not finite": (one_layer([[np.inf]], [[1.0]], [0.0], [[1.0]]), "not all of its numbers are finite"),
    "normalization": (
        MLP((2, 2, 2), normalization="layer_norm").trace(np.eye(2), np.eye(2), "mse"),
        "bits|square root",
    ),
}


@pytest.mark.parametrize("case", TRACES)
def test_a_trace_that_may_round_is_refused_with_its_reason(case: str) -> None:
    t, reason = TRACES[case]
    with pytest.raises(RefusedError, match=reason):
        prove(t)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_ledger_that_is_one_bit_short_refuses(dtype: str) -> None:
    """1 + 2ᵏ needs one bit more for each k: accepted up to the precision itself, then refused."""
    precision = 53 if dtype == "float64" else 24

    def bits(k: int) -> int:
        return prove(one_layer([[1.0, 2.0**k]], [[1.0, 1.0]], [0.0], [[0.0]], "l1", DTYPES[dtype])).most

    largest = max(k for k in range(precision) if not refused(bits, k))
    assert bits(largest) == precision
    assert bits(largest - 1) == precision - 1
    with pytest.raises(RefusedError, match=f"needs {precision + 1} bits of {precision}"):
        bits(largest + 1)


def refused(f: Any, k: int) -> bool:
    try:
        f(k)
    except RefusedError:
        return True
    return False


# Each operand of z = x Wᵀ + b with a unit of 2⁻³⁰ beside a term of 2³⁰: 61 bits, which float64 lacks.
FINE: dict[str, tuple[Any, Any, Any]] = {
    "x": ([[2.0**30, 2.0**-30]], [[1.0, 1.0]], [0.0]),
    "W": ([[1.0, 1.0]], [[2.0**30, 2.0**-30]], [0.0]),
    "b": ([[2.0**30]], [[1.0]], [2.0**-30]),
    "b, the large one": ([[2.0**-30]], [[1.0]], [2.0**30]),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operand", FINE)
def test_the_unit_of_every_operand_counts(operand: str, dtype: str) -> None:
    precision = 53 if dtype == "float64" else 24
    with pytest.raises(RefusedError, match=f"z1: needs (61|62) bits of {precision}"):
        prove(one_layer(*FINE[operand], [[0.0]], "l1", DTYPES[dtype]))


def test_a_bias_that_rounds_away_is_refused_where_everything_else_is_whole() -> None:
    """Planted: 1 + 2⁻⁶⁰ is 1, and the rest of the pass is exact; nothing but the bias's unit says so."""
    t = one_layer([[1.0]], [[1.0]], [2.0**-60], [[0.0]], "l1")
    assert t["z1"] == 1
    with pytest.raises(RefusedError, match="z1: needs 61 bits of 53"):
        prove(t)


@given(st.integers(-(2**52), 2**52), st.integers(-60, 60))
def test_the_unit_is_the_largest_power_of_two_that_divides_every_entry(mantissa: int, exponent: int) -> None:
    q = unit(np.array([mantissa * 2.0**exponent, 0.0]))
    if mantissa:
        exactly = Fraction(mantissa) * Fraction(2) ** (exponent + q)
        assert exactly.denominator == 1
        assert exactly.numerator % 2


# ---- one ulp is a fault ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Tampered(Problem):
    """The same problem with one entry of one stage moved to the next float."""

    stage: str = ""

    def trace(self) -> Trace:
        def nudged(right: Any) -> Any:
            def wrong(*arguments: Any, **options: Any) -> Any:
                value = np.array(right(*arguments, **options))
                index = tuple(int(i) for i in np.argwhere(value)[0])
                value[index] = np.nextafter(value[index], value.dtype.type(np.inf))
                return value

            return wrong

        t = super().trace()
        stages = [replace(s, function=nudged(s.function)) if s.name == self.stage else s for s in t.stages]
        return run(stages, t.leaves)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", ["relu", "prelu", "sigmoid"])
def test_one_ulp_in_any_stage_is_wrong(row: str, dtype: str) -> None:
    p = problem(Architecture((4, 8, 8, 4), row, dropout=0.5), "mse", 8, dtype=DTYPES[dtype], seed=2)
    untouched = compare_problem(p)
    assert {n for n, row in untouched.stages.items() if row.verdict != "exact"} <= p.ledger.inexact
    assert {row.verdict for row in untouched.parameters.values()} == {"exact"}
    for stage in p.trace():
        if stage.name == "loss" or not np.any(p.trace()[stage.name]):
            continue
        report = compare_problem(Tampered(**{**vars(p), "stage": stage.name}))
        assert report.stages[stage.name].verdict == "wrong", stage.name
        assert not report.passed
        if stage.parameter:
            assert [r.name for r in report.wrong] == [stage.name, stage.parameter]
            assert report.parameters[stage.parameter].verdict == "wrong"


# ---- training in lock step -------------------------------------------------------------------------

GRID = 16.0


def snap(value: Array) -> Array:
    return np.round(value * GRID) / GRID


@pytest.mark.parametrize("activation", ["relu", "hardtanh"])
def test_two_hundred_steps_of_sgd_with_momentum_stay_bit_equal(activation: str) -> None:
    """Both sides are snapped to a grid of 2⁻⁴ after each step; the ledger is proven at every step."""
    p = problem(Architecture((4, 8, 4), activation), "mse", 16, dtype=np.float64, seed=5)
    model, module = p.model, to_torch(p.model)
    ours = SGD(model.parameters, lr=2.0**-3, momentum=0.5)
    theirs = torch.optim.SGD(module.parameters(), lr=2.0**-3, momentum=0.5)
    rng, moved = np.random.default_rng(0), 0
    for _ in range(200):
        x = rng.integers(-2, 3, (16, 4)).astype(float)
        y = rng.integers(-3, 4, (16, 4)).astype(float)
        by_hand, by_torch = model.trace(x, y, "mse"), trace(module, x, y, "mse")
        prove(by_hand)
        assert all(np.array_equal(by_hand[s.name], by_torch[s.name]) for s in by_hand)
        before = {name: value.copy() for name, value in model.parameters.items()}
        ours.step(by_hand.gradients)
        for name, parameter in module.named_parameters():
            parameter.grad = torch.from_numpy(by_torch.gradients[name].copy())
        theirs.step()
        for name, parameter in module.named_parameters():
            buffers = ours.state[name]["momentum_buffer"], theirs.state[parameter]["momentum_buffer"]
            assert np.array_equal(model.parameters[name], parameter.detach().numpy())
            assert np.array_equal(buffers[0], buffers[1].numpy())
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(np.clip(snap(parameter.detach().numpy()), -4, 4)))
                buffers[1].copy_(torch.from_numpy(snap(buffers[1].numpy())))
            model.parameters[name][...] = np.clip(snap(model.parameters[name]), -4, 4)
            buffers[0][...] = snap(buffers[0])
        moved += any(not np.array_equal(before[name], value) for name, value in model.parameters.items())
    assert moved > 190


# ---- one hash, whatever computes it ----------------------------------------------------------------

ROOT = Path(__file__).parents[3]
SCRIPT = """
from tests.mlp_torch.verify.test_dyadic import digest
print(digest("cpu"))
"""
HERE = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
WIDE = {"OPENBLAS_CORETYPE": "SkylakeX", "MKL_CBWR": "AVX512"} if "avx512f" in HERE else {"MKL_CBWR": "AVX2"}
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
# Each setting changes the kernels of NumPy, of torch's BLAS and of torch itself, and the threads.
MIXED = [
    {"OPENBLAS_CORETYPE": "Sandybridge", "MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "default"},
    {"OPENBLAS_CORETYPE": "Haswell", "MKL_CBWR": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", **THREADS},
]
SINGLE = [
    *({"OPENBLAS_CORETYPE": core} for core in ("Haswell", "Zen", "Sandybridge")),
    *({"MKL_CBWR": branch} for branch in ("COMPATIBLE", "AVX2")),
    {"ATEN_CPU_CAPABILITY": "default"},
    WIDE,
    {**WIDE, **THREADS},
]


def digest(device: str) -> str:
    """One hash of all gradients of both engines, on networks large enough for blocked kernels and threads."""
    found = hashlib.sha256()
    for row, loss in (("relu", "mse"), ("tanh", "cross_entropy")):
        for dtype in DTYPES.values():
            p = problem(Architecture((64, 96, 64, 8), row, dropout=0.5), loss, 64, dtype=dtype, seed=0)
            for t in both(p, device):
                for name in sorted(t.gradients):
                    found.update((t.gradients[name] + 0.0).tobytes())  # + 0 makes −0 into 0
    return found.hexdigest()


def hashes(all_settings: list[dict[str, str]]) -> set[str]:
    """The hash of this process and of one subprocess for each setting."""
    found = {digest("cpu")}
    for setting in all_settings:
        python = [sys.executable, "-W", "ignore", "-c", SCRIPT]
        out = subprocess.run(python, cwd=ROOT, env={**os.environ, **setting}, capture_output=True, text=True)
        assert out.returncode == 0, out.stderr
        found.add(out.stdout.split()[-1])
    return found


@pytest.mark.long
def test_gradients_have_one_hash_under_other_kernels_and_numbers_of_threads() -> None:
    assert len(hashes(MIXED)) == 1


@pytest.mark.long
def test_gradients_have_one_hash_under_each_setting_by_itself() -> None:
    assert len(hashes(SINGLE)) == 1


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("tf32", [True, False])
def test_gradients_have_one_hash_on_every_device_with_and_without_tf32(device: str, tf32: bool) -> None:
    here, before = digest("cpu"), torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        assert digest(device) == here
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_problem_that_rounds_is_not_called_exact() -> None:
    """Planted: the same network on Gaussian data is refused, and its bits do differ."""
    p = problem(Architecture((16, 24, 16, 4), "relu"), "mse", 32, dtype=np.float64, seed=0)
    x = np.random.default_rng(0).normal(size=p.x.shape)
    with pytest.raises(RefusedError):
        prove(p.model.trace(x, p.y, "mse"))
