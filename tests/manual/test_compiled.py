"""The compiled engine at its doors: what it shows, takes, refuses and allocates."""

import copy
import tracemalloc
from typing import Any

import numpy as np
import pytest

import manual
from manual import ACTIVATIONS, LOSSES, MLP, OPTIMIZERS
from manual.compiled import (
    CompiledEngine,
    losses,
    optimizers,
    ready,
    unsupported,
)
from manual.compiled import activations as compiled_activations
from manual.numbers import Array
from manual.training.fit import NotFiniteError, fit
from tests.problems import Problem, gap


def engine_for(x: Array, sizes: tuple[int, ...] = (5, 3, 2), **rows: Any) -> CompiledEngine:
    model = MLP(sizes, dtype=x.dtype, **rows)
    return CompiledEngine(model, "mse", OPTIMIZERS["sgd"](model.parameters, momentum=0.9))


def test_the_network_and_the_optimizer_show_the_numbers_of_the_moment() -> None:
    p = Problem(7, (5, 3, 2), 0)
    x, y = p.batch("mse")
    e = engine_for(x)
    e.epoch(x, y, np.arange(7), 7, np.array([0.1]))
    weight, moment = e.model.parameters["layers.0.weight"], e.optimizer.state["layers.1.bias"]
    before = weight.copy(), moment["momentum_buffer"].copy()
    e.epoch(x, y, np.arange(7), 7, np.array([0.1]))
    assert (weight != before[0]).any()
    assert (moment["momentum_buffer"] != before[1]).all()
    assert gap({"": e.model.predict(x)}, {"": e.predict(x)}) < 1e-14


def test_what_is_assigned_to_the_network_or_the_optimizer_is_used_and_stays_live() -> None:
    p = Problem(7, (5, 3, 2), 0)
    x, y = p.batch("mse")
    e, other = engine_for(x), engine_for(x, seed=1)
    other.epoch(x, y, np.arange(7), 7, np.array([0.1]))
    for name, value in other.parameters().items():
        e.model.parameters[name] = value
        e.optimizer.state[name]["momentum_buffer"] = other.optimizer.state[name]["momentum_buffer"].copy()
    for each in (e, other):
        each.epoch(x, y, np.arange(7), 7, np.array([0.1]))
    assert e.flat.tobytes() == other.flat.tobytes()
    assert np.shares_memory(e.model.parameters["layers.0.weight"], e.flat)
    e.load(engine_for(x, seed=2).parameters())
    assert np.array_equal(e.predict(x), engine_for(x, seed=2).predict(x))


def test_a_copy_of_the_network_is_a_network_of_its_own() -> None:
    p = Problem(7, (5, 3, 2), 0)
    x, y = p.batch("mse")
    e = engine_for(x)
    twin = copy.deepcopy(e.model)
    e.epoch(x, y, np.arange(7), 7, np.array([0.1]))
    assert not np.array_equal(twin.parameters["layers.0.weight"], e.model.parameters["layers.0.weight"])


@pytest.mark.parametrize("change", ["read-only", "reversed", "other dtype", "column-major"])
def test_any_layout_of_the_data_gives_the_same_and_compiles_nothing(change: str) -> None:
    p = Problem(7, (5, 3, 2), 0)
    x, y = p.batch("mse", np.float32)
    plain, ours = engine_for(x), engine_for(x)
    plain.epoch(x, y, np.arange(7), 3, np.full(3, 0.1))
    known = len(ready.compiled_run().signatures)
    changed = {
        "read-only": lambda a: (a.setflags(write=False), a)[1],
        "reversed": lambda a: a[::-1].copy()[::-1],
        "other dtype": lambda a: a.astype(np.float64),
        "column-major": np.asfortranarray,
    }[change]
    ours.epoch(changed(x.copy()), changed(y.copy()), np.arange(7, dtype=np.int32), 3, np.full(3, 0.1))
    assert ours.flat.tobytes() == plain.flat.tobytes()
    assert len(ready.compiled_run().signatures) == known


def test_training_stops_at_the_step_whose_loss_is_not_finite() -> None:
    p = Problem(7, (5, 3, 2), 0)
    x, y = p.batch("mse")
    y[4] = np.nan
    e = engine_for(x)
    losses_ = e.epoch(x, y, np.arange(7), 2, np.full(4, 0.1))
    assert np.isfinite(losses_).tolist() == [True, True, False]
    assert e.optimizer.steps == 2
    assert np.isfinite(e.flat).all()
    with pytest.raises(NotFiniteError, match="the loss became nan at step"):
        list(fit(engine_for(x), x, y, epochs=1, batch_size=2, lr=0.1))


def test_what_does_not_fit_is_refused_and_never_read() -> None:
    p = Problem(7, (5, 3, 2), 0)
    x, y = p.batch("mse")
    e = engine_for(x)
    with pytest.raises(ValueError, match=r"takes \(N, 5\)"):
        e.epoch(x[:, :4], y, np.arange(7), 7, np.ones(1))
    with pytest.raises(ValueError, match="y has shape"):
        e.epoch(x, y[:, 0], np.arange(7), 7, np.ones(1))
    for bad in (7, -1):
        with pytest.raises(IndexError, match="7 samples"):
            e.epoch(x, y, np.array([0, bad]), 2, np.ones(1))
    with pytest.raises(ValueError, match="3 rates for 7 indices in batches of 2"):
        e.epoch(x, y, np.arange(7), 2, np.ones(3))
    e = CompiledEngine(e.model, "cross_entropy", OPTIMIZERS["sgd"](e.model.parameters))
    with pytest.raises(ValueError, match="out of range"):
        e.epoch(x, np.full(7, 2), np.arange(7), 7, np.ones(1))


def test_an_unsupported_network_or_rule_is_named() -> None:
    class Mine(manual.optimizers.SGD):
        pass

    model = MLP((5, 3, 2), normalization="layer_norm")
    assert unsupported(model.architecture) == "the compiled engine has no layer_norm"
    with pytest.raises(ValueError, match="no layer_norm"):
        CompiledEngine(model, "mse", OPTIMIZERS["sgd"](model.parameters))
    model = MLP((5, 3, 2))
    assert unsupported(model.architecture) is None
    assert "float16" in str(unsupported(model.architecture, np.float16))
    with pytest.raises(ValueError, match="the compiled engine has no kernel for Mine"):
        CompiledEngine(model, "mse", Mine(model.parameters))
    with pytest.raises(ValueError, match="did you mean 'hinge'"):
        CompiledEngine(model, "hing", OPTIMIZERS["sgd"](model.parameters))


def test_every_row_of_the_tables_has_its_compiled_row() -> None:
    assert set(compiled_activations.ROWS) <= set(ACTIVATIONS)
    assert set(losses.ROWS) <= set(LOSSES)
    assert set(optimizers.ROWS) <= set(OPTIMIZERS.values())


def test_no_step_allocates() -> None:
    """After the first epoch, ten times as many steps leave the peak of the memory where it was."""
    rng = np.random.default_rng(0)
    peaks = []
    for n in (200, 2000):
        x, y = rng.normal(size=(n, 5)), rng.normal(size=(n, 2))
        e = engine_for(x, (5, 64, 2))
        e.epoch(x, y, np.arange(n), 2, np.full(n // 2, 1e-3))
        rates, indices = np.full(n // 2, 1e-3), np.arange(n)
        tracemalloc.start()
        e.epoch(x, y, indices, 2, rates)
        peaks.append(tracemalloc.get_traced_memory()[1] - rates.nbytes)
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
