"""Whole epochs of the compiled engine leave what the plain one leaves: every rule, the same masks."""

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manual import LOSSES, MLP, OPTIMIZERS
from manual.compiled import (
    CompiledEngine,
    engine,
)
from manual.training.fit import fit
from tests.manual.pairs import CLOSE, OPTIMIZER_OPTIONS, pair, rows
from tests.problems import DTYPES, Problem, gap, near_kink, problems


@given(
    p=problems(),
    **rows,
    loss=st.sampled_from(list(LOSSES)),
    dtype=st.sampled_from(list(DTYPES)),
    rule=st.sampled_from(OPTIMIZER_OPTIONS),
    l1=st.sampled_from([0.0, 0.01]),
    batch_size=st.integers(1, 8),
    threads=st.integers(1, 3),
)
def test_epochs_leave_the_parameters_moments_and_losses_of_the_plain_engine(
    p: Problem,
    loss: str,
    dtype: str,
    rule: tuple[str, dict[str, Any]],
    l1: float,
    batch_size: int,
    threads: int,
    **options: Any,
) -> None:
    name, hyperparameters = rule
    model = p.model(DTYPES[dtype], **options)
    x, y = p.batch(loss, DTYPES[dtype])
    plain, ours = pair(model, loss, name, l1, threads, **hyperparameters)
    steps = {"epochs": 2, "batch_size": batch_size, "lr": 0.01, "schedule": "cosine"}
    for a, b in zip(fit(plain, x, y, **steps), fit(ours, x, y, **steps), strict=True):
        if near_kink(copy.deepcopy(plain.model).trace(x, y, loss)):
            return
        assert b.loss == pytest.approx(a.loss, rel=100 * CLOSE[dtype])
        assert gap(ours.parameters(), plain.parameters()) < CLOSE[dtype]
        assert gap(ours.gradients, plain.gradients) < 10 * CLOSE[dtype]
    assert ours.optimizer.steps == plain.optimizer.steps
    for parameter, moments in plain.optimizer.state.items():
        found = ours.optimizer.state[parameter]
        assert set(found) == set(moments)
        assert gap(found, moments) < 10 * CLOSE[dtype] if moments else True
    assert gap({"": ours.predict(x)}, {"": plain.predict(x)}) < 10 * CLOSE[dtype]
    assert ours.evaluate(x, y)[0] == pytest.approx(plain.evaluate(x, y)[0], rel=100 * CLOSE[dtype])


@pytest.mark.parametrize(("name", "options"), OPTIMIZER_OPTIONS)
def test_a_rule_makes_of_the_same_gradients_what_the_plain_rule_makes(
    name: str, options: dict[str, Any]
) -> None:
    options = {k: v for k, v in options.items() if k != "eps"}
    p = Problem(7, (5, 3, 2), 1)
    model = p.model(activation="prelu")
    x, y = p.batch("mse")
    ours = pair(model, "mse", name, **options)[1]
    rule = OPTIMIZERS[name](model.parameters, 0.1, **options)
    for step in range(5):
        ours.epoch(x, y, np.arange(7), 7, np.array([0.01 * (step + 1)]))
        rule.lr = 0.01 * (step + 1)
        rule.step(ours.gradients)
        assert gap(ours.parameters(), model.parameters) < 1e-13


def test_dropout_draws_the_masks_of_the_plain_network_however_the_epoch_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Problem(7, (5, 3, 11, 2), 0).model(activation="tanh", dropout=0.5)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(29, 5)), rng.normal(size=(29, 2))
    for drawn, threads in ((engine.DRAWN, 1), (1, 1), (100, 1), (1, 2), (100, 3)):
        monkeypatch.setattr(engine, "DRAWN", drawn)
        monkeypatch.setattr(engine, "DRAWN_BY_THREADS", drawn)
        plain, ours = pair(model, "mse", "sgd", threads=threads, momentum=0.9)
        a, b = (list(fit(e, x, y, epochs=3, batch_size=4, lr=0.1))[-1].loss for e in (plain, ours))
        assert b == pytest.approx(a, rel=1e-12)
        assert ours.model.generator.random() == plain.model.generator.random()


def test_in_evaluation_mode_nothing_is_dropped() -> None:
    p = Problem(7, (5, 3, 2), 0)
    model = p.model(activation="tanh", dropout=0.5)
    model.training = False
    x, y = p.batch("mse")
    plain, ours = pair(model, "mse")
    assert "h1" not in ours.trace(x, y)
    for e in (plain, ours):
        e.epoch(x, y, np.arange(7), 3, np.full(3, 0.1))
    assert gap(ours.parameters(), plain.parameters()) < 1e-13


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_same_seed_and_threads_give_the_same_bits_whole_or_in_pieces(threads: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(29, 5)).astype(np.float32), rng.integers(0, 3, 29)
    found = []
    for pieces in ([(0, 8)], [(0, 8)], [(0, 3), (3, 4), (4, 8)]):
        model = MLP((5, 7, 3), dtype=np.float32, dropout=0.2)
        e = CompiledEngine(model, "cross_entropy", OPTIMIZERS["adam"](model.parameters), threads=threads)
        for first, last in pieces:
            e.epoch(x, y, np.arange(29)[first * 4 : last * 4], 4, np.full(last - first, 0.01))
        found.append(e.flat.tobytes())
    assert len(set(found)) == 1
