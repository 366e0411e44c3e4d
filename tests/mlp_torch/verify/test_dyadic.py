"""Where no operation rounds, only bit-equality is good enough: dyadic problems and the ledger behind them."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from manual import MLP, SGD
from manual.numbers import Array
from manual.structure.architecture import Architecture
from manual.structure.trace import Trace, run
from mlp_torch.model import to_torch
from mlp_torch.trace import trace
from mlp_torch.verify.bits import RefusedError
from mlp_torch.verify.dyadic import DYADIC_LOSSES, POLYNOMIAL, Problem, problem
from mlp_torch.verify.kinds.activation.rows import DYADIC, LATTICE
from mlp_torch.verify.ledger import prove
from mlp_torch.verify.twin import compare_problem
from tests.duals import exact

DTYPES = {"float64": np.float64, "float32": np.float32}
ROWS = [*DYADIC]
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
@pytest.mark.parametrize("loss", sorted(DYADIC_LOSSES))
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
    for loss in DYADIC_LOSSES:
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
    assert accepted >= len(DYADIC_LOSSES) - 2


@pytest.mark.parametrize("row", LATTICE)
@pytest.mark.parametrize("loss", POLYNOMIAL)
def test_most_gradients_of_a_lattice_problem_are_not_zero(row: str, loss: str) -> None:
    p = problem(Architecture((8, 12, 8, 4), row, dropout=0.5), loss, 32, dtype=np.float64, seed=0)
    flat = np.concatenate([g.ravel() for g in p.trace().gradients.values()])
    assert np.count_nonzero(flat) > flat.size / 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", LATTICE)
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
