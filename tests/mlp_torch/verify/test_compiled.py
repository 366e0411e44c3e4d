"""The instrument on the compiled engine: its kernels are judged stage by stage like any other engine's."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manual import ACTIVATIONS, LOSSES, MLP, OPTIMIZERS
from manual.compiled import CompiledEngine, engine
from manual.compiled.activations import RELU
from manual.compiled.layout import DH, INPUTS, ROW, WEIGHT, Buffer, Z
from manual.compiled.threads import NOBODY_WAITS
from manual.numbers import Array
from manual.structure.trace import Trace
from mlp_torch.verify.bits import RefusedError
from mlp_torch.verify.dyadic import problem
from mlp_torch.verify.report import ComparisonReport
from mlp_torch.verify.verdicts import compare_traces
from tests.problems import DTYPES, Problem, problems

ENGINES = ("manual", "compiled")


def compiled(
    model: MLP,
    loss: str,
    x: Array,
    y: Array,
    masks: Any = None,
    reduction: Any = "mean",
    threads: int = 1,
) -> Trace:
    engine = CompiledEngine(model, loss, OPTIMIZERS["sgd"](model.parameters), threads=threads)
    return engine.trace(x, y, masks, reduction)


def judged(model: MLP, loss: str, x: Array, y: Array, threads: int = 1) -> ComparisonReport:
    masks = model.draw_masks(len(x))
    ours = model.trace(x, y, loss, masks=masks)
    return compare_traces(ours, compiled(model, loss, x, y, masks, threads=threads), engines=ENGINES)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_no_stage_is_wrong_for_any_activation(activation: str, dtype: str) -> None:
    p = Problem(7, (5, 11, 3, 2), 1)
    model = p.model(DTYPES[dtype], activation=activation, output_activation=activation, dropout=0.3)
    assert judged(model, "mse", *p.batch("mse", DTYPES[dtype])).passed


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", [*LOSSES, "cross_entropy of probabilities"])
def test_no_stage_is_wrong_for_any_loss(loss: str, dtype: str) -> None:
    p, row = Problem(7, (5, 11, 3), 2), loss.split()[0]
    model = p.model(DTYPES[dtype], activation="tanh")
    assert judged(model, row, *p.batch(row, DTYPES[dtype], probabilities=loss != row)).passed


@given(
    p=problems(),
    activation=st.sampled_from(list(ACTIVATIONS)),
    output=st.sampled_from(list(ACTIVATIONS)),
    loss=st.sampled_from(list(LOSSES)),
    dtype=st.sampled_from(list(DTYPES)),
    size=st.sampled_from([0.1, 1, 30]),
    threads=st.integers(1, 3),
)
def test_no_stage_of_a_random_network_is_wrong(
    p: Problem, activation: str, output: str, loss: str, dtype: str, size: float, threads: int
) -> None:
    model = p.model(DTYPES[dtype], activation=activation, output_activation=output)
    x, y = p.batch(loss, DTYPES[dtype])
    report = judged(model, loss, (size * x).astype(dtype), y, threads)
    assert report.passed, report


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("loss", ["mse", "hinge", "multi_margin", "l1"])
def test_where_nothing_rounds_both_engines_have_the_same_bits(loss: str, threads: int) -> None:
    model = MLP((5, 3, 2), activation="relu", dropout=0.5)
    try:
        p = problem(model.architecture, loss, 4, reduction="mean", dtype=np.float64, seed=0)
    except RefusedError as refusal:
        pytest.fail(str(refusal))
    report = compare_traces(
        p.trace(), compiled(p.model, loss, p.x, p.y, p.masks, p.reduction, threads), engines=ENGINES
    )
    rounded = {s.name for s in report.stages.values() if s.verdict != "exact"} - set(p.ledger.inexact)
    assert rounded == set()


@pytest.mark.parametrize("stage", ["z1", "a1", "dz1", "dloss", "dW2", "db1", "dx"])
def test_a_stage_that_is_off_by_a_hundred_roundings_is_wrong(stage: str) -> None:
    p = Problem(7, (5, 11, 3), 2)
    model = p.model(np.float32, activation="tanh")
    x, y = p.batch("mse", np.float32)
    theirs = compiled(model, "mse", x, y)
    theirs.values[stage] = theirs[stage] * np.float32(1 + 100 * 2.0**-23)
    report = compare_traces(model.trace(x, y, "mse"), theirs, engines=ENGINES)
    assert stage in {row.name for row in report.stages.values() if row.verdict == "wrong"}


FAULTS: dict[str, tuple[Callable[[Buffer], None], str]] = {
    "another activation": (lambda b: b.table[0].__setitem__(ROW, RELU), "a1"),
    "weights from one place further": (
        lambda b: b.table[1].__setitem__(WEIGHT, b.table[1, WEIGHT] + 1),
        "z2",
    ),
    "a layer too few inputs": (lambda b: b.table[1].__setitem__(INPUTS, b.table[1, INPUTS] - 1), "z2"),
    "a gradient written over z": (lambda b: b.table[1].__setitem__(DH, b.table[1, Z]), "z2"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_pass_of_the_compiled_loops_with_a_fault_is_wrong_where_the_fault_is(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant, stage = FAULTS[fault]

    class Faulty(Buffer):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            plant(self)

    monkeypatch.setattr(engine, "Buffer", Faulty)
    p = Problem(7, (5, 11, 3, 2), 2)
    report = judged(p.model(activation="tanh"), "mse", *p.batch("mse"))
    assert stage in {row.name for row in report.stages.values() if row.verdict == "wrong"}


def test_a_kernel_that_was_fed_another_constant_is_wrong_at_its_stage() -> None:
    """The compiled loop of leaky_relu with a slope of 0.02, where the network's is 0.01."""
    p = Problem(7, (5, 11, 3), 2)
    model = p.model(activation="leaky_relu")
    x, y = p.batch("mse")
    faulty = p.model(activation="leaky_relu", negative_slope="0.02")
    theirs = compiled(faulty, "mse", x, y)
    ours = model.trace(x, y, "mse")
    report = compare_traces(ours, Trace(ours.stages, theirs.leaves, theirs.values), engines=ENGINES)
    assert not report.passed
    assert "a1" in {row.name for row in report.stages.values() if row.verdict == "wrong"}


def test_a_crew_whose_second_member_never_came_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def alone(work: Any, crew: int, met: Array) -> int:
        met[:] = NOBODY_WAITS
        return int(work(0))

    monkeypatch.setattr(engine, "together", alone)
    p = Problem(7, (5, 11, 3, 2), 2)
    report = judged(p.model(activation="tanh"), "mse", *p.batch("mse"), threads=2)
    assert "z1" in {row.name for row in report.stages.values() if row.verdict == "wrong"}


def test_a_crew_that_forgot_a_members_gradient_is_wrong() -> None:
    p = Problem(7, (5, 11, 3, 2), 2)
    model = p.model(activation="tanh")
    x, y = p.batch("mse")
    theirs = compiled(model, "mse", x, y, threads=2)
    theirs.values["dW2"] = compiled(model, "mse", x[:3], y[:3])["dW2"] * 3 / 7  # the first member's alone
    report = compare_traces(model.trace(x, y, "mse"), theirs, engines=ENGINES)
    assert {row.name for row in report.stages.values() if row.verdict == "wrong"} == {"dW2"}
