"""What makes the torch engine fast or careful and changes no number: buffers, graphs, precision, memory."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from manual import LOSSES
from manual.structure.architecture import NORMALIZATIONS
from manual.training.fit import NotFiniteError, fit
from manual.training.recipe import Recipe
from mlp_torch.buffered import products, unsupported
from mlp_torch.buffered.engine import TorchEngine
from mlp_torch.buffered.step import run
from mlp_torch.errors import UserError
from tests.mlp_torch.buffered.engines import RULES, WIDE, data, engine, module, train


class Recorder:
    """Stands in for CUDA: what is recorded is not run before it is replayed."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, record: Any) -> Any:
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            record()

        return replay


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_replayed_steps_are_the_eager_ones_bit_for_bit(rule: Any) -> None:
    """48 rows: 9 whole batches and 3 rows. Chunks of 4 steps: eager, then 4 and a rest an epoch."""
    options = {"dropout": 0.3, "normalization": "batch_norm"}
    eager, replayed, recorder = engine(rule, **options), engine(rule, **options), Recorder()
    replayed.capture, replayed.steps_per_graph = recorder, 4
    x, y = data(48)
    np.testing.assert_array_equal(train(eager, x, y), train(replayed, x, y))
    assert (recorder.recorded, recorder.replayed) == (1, 5)
    theirs = replayed.parameters()
    assert all(np.array_equal(value, theirs[name]) for name, value in eager.parameters().items())


def test_other_data_are_recorded_anew() -> None:
    replayed, eager, recorder = engine(), engine(), Recorder()
    replayed.capture, replayed.steps_per_graph = recorder, 4
    for seed in (0, 1):
        np.testing.assert_array_equal(train(eager, *data(48, seed)), train(replayed, *data(48, seed)))
    assert recorder.recorded == 2


def allocations(call: Any) -> int:
    """How often torch asked for memory."""
    with torch.profiler.profile(profile_memory=True) as profile:
        call()
    return sum(e.name == "[memory]" and e.cpu_memory_usage > 0 for e in profile.events())


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_a_step_after_the_first_allocates_nothing(normalization: str, loss: str) -> None:
    x, labels = data(48)
    y = labels if LOSSES[loss].target == "label" else np.ones((48, 3), np.float32)
    for rule in RULES if loss == "cross_entropy" else RULES[:1]:
        model = module(WIDE, np.float32, normalization=normalization, dropout=0.3, activation="prelu")
        trained = TorchEngine(model, loss, *rule, Recipe(l1=1e-4))
        trained.step(x, y, 1e-3)
        (made,) = trained.chunks.values()
        places = {name: t.data_ptr() for name, t in made.buffers.tensors.items()}
        with torch.inference_mode():
            assert allocations(partial(run, made.ops[0])) == 0
        trained.step(x, y, 1e-3)
        assert places == {name: t.data_ptr() for name, t in made.buffers.tensors.items()}


def test_an_allocation_is_seen() -> None:
    assert allocations(lambda: torch.ones(100) + 1) >= 1


def test_data_come_to_the_device_once() -> None:
    trained, (x, y) = engine(), data(48)
    train(trained, x, y, epochs=4)
    assert trained.resident.copies == 2
    assert trained.resident(x).data_ptr() == x.ctypes.data
    trained.predict(x)
    assert trained.resident.copies == 2
    for seed in range(1, 4):
        train(trained, *data(48, seed), epochs=1)
    assert len(trained.resident.kept) == trained.resident.KEPT


def test_read_only_data_are_taken() -> None:
    trained, (x, y) = engine(), data(48)
    x.flags.writeable = y.flags.writeable = False
    assert np.isfinite(train(trained, x, y)).all()


def test_a_loss_that_is_no_number_is_returned_and_ends_the_training() -> None:
    x, y = data(48)
    x[40] = np.nan
    losses = engine().epoch(x, y, np.arange(48), 5, np.full(10, 1e-2))
    assert np.isfinite(losses[:8]).all()
    assert np.isnan(losses[8:]).all()
    x, y = data(48)
    trained = TorchEngine(module(WIDE, np.float32), "mse", "sgd", {})
    target = np.random.default_rng(0).normal(0, 1, (48, 3)).astype(np.float32)
    with pytest.raises(NotFiniteError, match="the loss became"):
        list(fit(trained, x, target, epochs=9, batch_size=5, lr=1e9))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (data(9)[0][:, :5], data(9)[1], r"x has shape \(9, 5\).* takes \(N, 7\)"),
        (data(9)[0].astype(np.float64), data(9)[1], "x is torch.float64; this network takes torch.float32"),
        (data(9)[0], data(9)[1] + 1, "label 3 in row .* is out of range"),
        (data(9)[0], data(9)[1] * 1.0, "class labels must be integers"),
    ],
)
def test_data_that_do_not_fit_are_refused(x: Any, y: Any, message: str) -> None:
    for call in (lambda e: e.epoch(x, y, np.arange(9), 3, np.ones(3)), lambda e: e.trace(x, y)):
        with pytest.raises(ValueError, match=message):
            call(engine())


def test_batch_norm_of_one_sample_is_refused() -> None:
    x, y = data(6)
    with pytest.raises(ValueError, match="batch_norm needs at least 2 samples"):
        train(engine(normalization="batch_norm"), x, y)


def test_what_cannot_be_done_is_said() -> None:
    for device in ("cpu", "cuda"):
        assert unsupported(device, "float64") is unsupported(device, "float32", "bf16") is None
    assert "not on mps" in str(unsupported("mps"))
    with pytest.raises(ValueError, match="tf32 is for float32, not for float64"):
        TorchEngine(module(WIDE), "mse", "sgd", {}, fp32_precision="tf32")
    with pytest.raises(ValueError, match="ieee, tf32, bf16, not half"):
        TorchEngine(module(WIDE), "mse", "sgd", {}, fp32_precision="half")
    with pytest.raises(ValueError, match="did you mean 'adam'"):
        TorchEngine(module(WIDE), "mse", "adams", {})
    with pytest.raises(ValueError, match="nesterov needs a momentum"):
        TorchEngine(module(WIDE), "mse", "sgd", {"nesterov": True})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_number_beyond_the_dtype_is_refused_by_its_name(dtype: Any) -> None:
    most = float(np.finfo(dtype).max)
    large = 10 * most  # of float64: infinite
    for options in ({"weight_decay": large}, {"momentum": large}):
        with pytest.raises(UserError, match=rf"{next(iter(options))} is .*the largest"):
            TorchEngine(module(WIDE, dtype=dtype), "mse", "sgd", options)
    with pytest.raises(UserError, match=r"l1 is .*the largest"):
        TorchEngine(module(WIDE, dtype=dtype), "mse", "sgd", {}, Recipe(l1=large))
    TorchEngine(module(WIDE, dtype=dtype), "mse", "sgd", {"weight_decay": most})


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_precision_holds_inside_and_is_put_back_after_an_error(device: str) -> None:
    setting = products.precision_of(device)
    before = setting.fp32_precision
    inside = []

    def fail() -> None:
        with products.precision(device, "tf32"):
            inside.append(setting.fp32_precision)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert inside == ["tf32"]
    assert setting.fp32_precision == before


@pytest.mark.parametrize("fp32_precision", ["tf32", "bf16"])
def test_the_cpu_takes_every_precision(fp32_precision: str) -> None:
    x, y = data(48)
    coarse = TorchEngine(
        module(WIDE, np.float32), "cross_entropy", "adam", {}, Recipe(l1=1e-4), fp32_precision=fp32_precision
    )
    np.testing.assert_allclose(train(coarse, x, y), train(engine(), x, y), rtol=0.02)


def test_products_in_bfloat16_round_their_factors_and_sum_in_float32(monkeypatch: Any) -> None:
    """CUDA's product of bfloat16 is stood in for; one unit in its last place is 2⁻⁸ of a factor."""

    def product(left: Any, right: Any, out: Any) -> None:
        assert left.dtype == right.dtype == torch.bfloat16
        out.copy_(left.float() @ right.float())

    monkeypatch.setattr(products, "_bf16", product)
    x, y = data(48)
    fine, coarse = engine(activation="tanh"), engine(activation="tanh")  # no kink to fall off
    coarse.task = replace(coarse.task, bf16=True)
    ours, theirs = coarse.trace(x, y), fine.trace(x, y)
    w, b = (torch.from_numpy(ours[name]) for name in ("W1", "b1"))
    z = torch.from_numpy(x).bfloat16().float() @ w.bfloat16().float().t() + b
    np.testing.assert_array_equal(ours["z1"], z.numpy())
    for name in ("z1", "z3", "dW3", "dW1", "da1"):
        gap = np.linalg.norm(ours[name] - theirs[name]) / np.linalg.norm(theirs[name])
        assert 1e-4 < gap < 2e-2, name
    np.testing.assert_allclose(train(coarse, x, y), train(fine, x, y), rtol=0.05)
    copies = {n for c in coarse.chunks.values() for n in c.buffers.tensors if n.startswith("bfloat16")}
    assert len(copies) == 3 * 3  # a, W and dz of three layers, each rounded once for two products


def test_onednn_is_not_used_where_it_is_missing_or_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> None:
        raise RuntimeError

    right = products._linear
    for fault in (missing, lambda a, w, b, out: right(a, w * 1.001, b, out)):
        products.onednn_works.cache_clear()
        monkeypatch.setattr(products, "_linear", fault)
        assert not products.onednn_works()
        monkeypatch.undo()
    products.onednn_works.cache_clear()


@pytest.mark.parametrize(("maker", "onednn"), [("GenuineIntel", False), ("AuthenticAMD", True), ("", True)])
def test_the_maker_of_the_processor_decides_who_multiplies_what_is_large(
    maker: str, onednn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "maker", lambda: maker)
    monkeypatch.setattr(products, "onednn_works", lambda: True)
    z, large, small = torch.empty(1), (512, 784, 2048), (7, 11, 13)
    assert products._onednn(*large, z) == onednn
    assert not products._onednn(*small, z)
    assert not products._onednn(*large, z.double())
