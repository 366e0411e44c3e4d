"""Hand-written runs flush what is subnormal to 0, and leave the caller's arithmetic as it was."""

import threading

import numpy as np
import pytest

import manual
from manual.buffered import BufferedEngine
from manual.compiled import CompiledEngine
from manual.training import subnormals
from manual.training.subnormals import flushes, flushing

pytestmark = pytest.mark.skipif(subnormals.LIBRARY is None, reason="the mode cannot be set on this system")
LEAST = np.float32(1e-45)
HALF = np.full(1000, 0.5, np.float32)
TINY = np.full(1000, np.finfo(np.float32).tiny)


def halved():
    """How many of a thousand products that are subnormal are not 0."""
    return np.count_nonzero(TINY * HALF)


def in_a_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_a_product_that_is_subnormal_is_0_inside_alone():
    assert halved() == 1000
    with flushing():
        assert flushes()
        assert halved() == 0
        assert in_a_thread(halved) == 0
    assert not flushes()
    assert halved() == 1000
    assert in_a_thread(halved) == 1000


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_every_way_out_restores_the_mode(error):
    with pytest.raises(error), flushing():
        raise error
    assert halved() == 1000


def test_a_block_in_a_block_ends_as_the_outer_one_is():
    with flushing():
        with flushing():
            pass
        assert halved() == 0


def test_where_the_mode_is_not_known_nothing_changes(monkeypatch):
    monkeypatch.setattr(subnormals, "PLACE", None)
    with flushing():
        assert halved() == 1000
        assert not flushes()


def small_engine(kind, optimizer, threads=1):
    """An engine on 7-13-5 in float32, its data, and half of the inputs 0: their weights have no gradient."""
    model = manual.MLP((7, 13, 5), seed=3, dtype=np.float32)
    rule = manual.OPTIMIZERS[optimizer](model.parameters, 1e-3, **MOMENTUM.get(optimizer, {}))
    given = {"threads": threads} if kind is CompiledEngine else {}
    engine = kind(model, "mse", rule, **given)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 7)).astype(np.float32)
    x[:, 3:] = 0
    return engine, x, rng.normal(size=(64, 5)).astype(np.float32)


MOMENTUM = {"sgd": {"momentum": 0.9}, "rmsprop": {"momentum": 0.9}}
ENGINES = [(BufferedEngine, 1), (CompiledEngine, 1), (CompiledEngine, 2)]


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw"])
@pytest.mark.parametrize(("kind", "threads"), ENGINES)
def test_a_moment_that_decays_ends_at_0_and_not_at_the_least_number(kind, threads, optimizer):
    engine, x, y = small_engine(kind, optimizer, threads)
    engine.epoch(x, y, np.arange(64), 64, np.full(1, 1e-3))
    state = engine.state()
    for name, array in state.arrays.items():
        if name.startswith("moments/"):
            array[...] = np.where(array == 0, 4 * LEAST, array)
    assert any((a == 4 * LEAST).any() for n, a in state.arrays.items() if n.startswith("moments/"))
    engine.resume(state)
    engine.epoch(x, y, np.arange(64), 64, np.full(1, 1e-3))
    after = engine.state().of("moments")
    assert not any(((a != 0) & (np.abs(a) < np.finfo(np.float32).tiny)).any() for a in after.values())
    assert halved() == 1000


@pytest.mark.parametrize(("kind", "threads"), ENGINES)
def test_an_interrupt_within_an_epoch_leaves_nothing_behind(kind, threads, monkeypatch):
    engine, x, y = small_engine(kind, "adam", threads)

    def stopped(*args, **kwargs):
        raise KeyboardInterrupt

    where = (
        "manual.compiled.engine.compiled_run"
        if kind is CompiledEngine
        else "manual.buffered.step.Step.losses"
    )
    monkeypatch.setattr(where, stopped)
    with pytest.raises(KeyboardInterrupt):
        engine.epoch(x, y, np.arange(64), 64, np.full(1, 1e-3))
    assert halved() == 1000
