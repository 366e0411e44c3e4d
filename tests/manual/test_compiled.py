"""The compiled engine against the plain one: every row, whole epochs, the same masks."""

import copy
import tracemalloc
from typing import Any

import numpy as np
import pytest
from flint import arb
from hypothesis import given
from hypothesis import strategies as st

import manual
from manual import ACTIVATIONS, LOSSES, MLP, OPTIMIZERS
from manual.compiled import (
    CompiledEngine,
    elementary,
    engine,
    losses,
    optimizers,
    ready,
    unsupported,
)
from manual.compiled import activations as compiled_activations
from manual.compiled.memory import loops
from manual.numbers import Array
from manual.training.engine import ManualEngine
from manual.training.fit import NotFiniteError, fit
from manual.training.recipe import Recipe
from tests.problems import DTYPES, Problem, disagreements, gap, near_kink, problems, targets

# Every optimizer with each of its options; eps is not small, or Adam steps on the rounding of what cancels.
OPTIMIZER_OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("sgd", {}),
    ("sgd", {"weight_decay": 0.01}),
    ("sgd", {"momentum": 0.9, "dampening": 0.3}),
    ("sgd", {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("rmsprop", {"eps": 1e-3}),
    ("rmsprop", {"alpha": 0.9, "momentum": 0.7, "eps": 1e-3, "weight_decay": 0.1}),
    ("adagrad", {"eps": 1e-3}),
    ("adagrad", {"lr_decay": 0.1, "weight_decay": 0.1, "eps": 1e-3}),
    ("adam", {"eps": 1e-3}),
    ("adam", {"betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("adamw", {"betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
]
# A few dozen steps of a few hundred roundings each, which the steps may add up but hardly magnify:
# 10⁴ · 2⁻⁵³ and 10³ · 2⁻²⁴ of the largest number.
CLOSE = {"float64": 1e-12, "float32": 1e-4}
rows = {
    "activation": st.sampled_from(list(ACTIVATIONS)),
    "output_activation": st.sampled_from(list(ACTIVATIONS)),
    "dropout": st.sampled_from([0.0, 0.4]),
    "negative_slope": st.sampled_from(["0.01", 0.3]),
}


def pair(
    model: MLP, loss: str, optimizer: str = "sgd", l1: float = 0.0, threads: int = 1, **options: Any
) -> tuple[ManualEngine, CompiledEngine]:
    """Both engines on copies of one network."""
    plain, ours = copy.deepcopy(model), copy.deepcopy(model)
    rule = OPTIMIZERS[optimizer]
    return (
        ManualEngine(plain, loss, rule(plain.parameters, 0.1, **options), Recipe(l1=l1)),
        CompiledEngine(ours, loss, rule(ours.parameters, 0.1, **options), Recipe(l1=l1), threads),
    )


# ---- one pass --------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [*LOSSES, "cross_entropy of probabilities"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_stage_of_a_pass_is_that_of_the_plain_network(activation: str, loss: str) -> None:
    for seed, (dtype, dropout, reduction, output) in enumerate(
        [("float64", 0.4, "mean", activation), ("float32", 0.0, "sum", "identity")]
    ):
        p = Problem(7, (5, 3, 11, 2), seed)
        model = p.model(DTYPES[dtype], activation=activation, output_activation=output, dropout=dropout)
        row = loss.split()[0]
        x, y = p.batch(row, DTYPES[dtype], probabilities=loss != row)
        masks = model.draw_masks(len(x))
        plain = model.trace(x, y, row, masks=masks, reduction=reduction)
        ours = pair(model, row)[1].trace(x, y, masks, reduction=reduction)
        assert near_kink(plain) or disagreements(plain, ours) == {}


@given(
    p=problems(hidden=3),
    **rows,
    loss=st.sampled_from(list(LOSSES)),
    dtype=st.sampled_from(list(DTYPES)),
    threads=st.integers(1, 3),
)
def test_random_networks_have_the_stages_of_the_plain_network(
    p: Problem, loss: str, dtype: str, threads: int, **options: Any
) -> None:
    model = p.model(DTYPES[dtype], **options)
    x, y = p.batch(loss, DTYPES[dtype])
    masks = model.draw_masks(len(x))
    plain = model.trace(x, y, loss, masks=masks)
    ours = pair(model, loss, threads=threads)[1].trace(x, y, masks)
    assert near_kink(plain) or disagreements(plain, ours) == {}


def test_a_stage_that_is_off_by_1e_9_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    p = Problem(7, (5, 3, 2), 0)
    model = p.model(activation="tanh")
    x, y = p.batch("mse")
    plain, ours = model.trace(x, y, "mse"), pair(model, "mse")[1].trace(x, y)
    ours.values["dz1"] = ours["dz1"] * (1 + 1e-9)
    assert list(disagreements(plain, ours)) == ["dz1"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_kinks_and_values_that_are_not_finite_are_treated_as_in_the_plain_formulas(
    activation: str, dtype: str
) -> None:
    """z is the input itself: 0, the kinks, what overflows in the exponential, infinities and NaN."""
    values = [0.0, -0.0, 1, -1, 20, 20.5, -20, 1e-30, -300.0, 300.0, np.inf, -np.inf, np.nan]
    model = MLP((1, 1, 1), activation=activation, dtype=DTYPES[dtype])
    model.parameters["layers.0.weight"] = np.ones((1, 1), dtype)
    model.parameters["layers.0.bias"] = np.zeros(1, dtype)
    with np.errstate(all="ignore"):
        for value in values:
            x, y = np.array([[value]], dtype), np.zeros((1, 1), dtype)
            plain, ours = model.trace(x, y, "l1"), pair(model, "l1")[1].trace(x, y)
            for name in ("a1", "dz1"):
                assert ours[name] == pytest.approx(plain[name], rel=1e-5, abs=1e-37, nan_ok=True), (
                    name,
                    value,
                )


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_at_its_kink_or_of_what_is_not_finite_is_that_of_the_plain_formula(loss: str) -> None:
    outputs = [[0, 0, 0], [1, 0, 1], [2, 1, 1], [-1, 0, 2], [np.nan, 0, 1], [np.inf, 0, 0], [200, -200, 0]]
    model = MLP((3, 3))
    model.parameters["layers.0.weight"], model.parameters["layers.0.bias"] = np.eye(3), np.zeros(3)
    y = targets(loss, (1, 3), np.random.default_rng(0), np.float64)
    plain, ours = pair(model, loss)
    with np.errstate(all="ignore"):
        for z in outputs:
            by_formula = LOSSES[loss].value(np.array([z]), y), LOSSES[loss].gradient(np.array([z]), y)
            w = ours.trace(np.array([z]), y)
            if np.isfinite(z).all():  # else 0 · ∞ has made everything NaN before it reaches the loss
                assert w["loss"] == pytest.approx(by_formula[0], rel=1e-12)
                assert w["dloss"] == pytest.approx(by_formula[1], rel=1e-12, abs=1e-300)
            assert np.isfinite(w["loss"]) == np.isfinite(plain.model.trace(np.array([z]), y, loss)["loss"])


@given(
    size=st.sampled_from([0.0, 1e3, 1e6, 1e7]),
    probabilities=st.booleans(),
    dtype=st.sampled_from(list(DTYPES)),
    threads=st.integers(1, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_cross_entropy_keeps_its_digits_at_large_logits(
    size: float, probabilities: bool, dtype: str, threads: int, seed: int
) -> None:
    """Logits of one size that differ by little: the differences are exact, so no digit is lost."""
    rng = np.random.default_rng(seed)
    z = (size + rng.integers(-16, 17, (23, 5)) / 8 * (4 if size == 1e7 else 1)).astype(dtype)
    y = targets("cross_entropy", z.shape, rng, z.dtype, probabilities)
    model = MLP((5, 5), dtype=z.dtype)
    model.parameters["layers.0.weight"] = np.eye(5, dtype=dtype)
    model.parameters["layers.0.bias"] = np.zeros(5, dtype)
    found = pair(model, "cross_entropy", threads=threads)[1].trace(z, y)
    assert np.array_equal(found["z1"], z)
    wide = z.astype(np.float64)
    near = wide - wide.max(axis=1, keepdims=True)
    log_softmax = near - np.log(np.exp(near).sum(axis=1, keepdims=True))
    chances = y if probabilities else np.eye(5)[y]
    # two elementary functions of 4 ulp, a sum of 5, and as many operations as a term has; all terms positive
    allowed = 30 * float(np.finfo(dtype).eps)
    assert found["loss"] == pytest.approx(-(chances * log_softmax).sum() / 23, rel=allowed, abs=0)
    gradient = (np.exp(log_softmax) * chances.sum(axis=1, keepdims=True) - chances) / 23
    assert found["dloss"] == pytest.approx(gradient, rel=allowed, abs=allowed / 23)


# ---- elementary functions --------------------------------------------------------------------------

TRUTHS: dict[str, tuple[float, float, Any]] = {
    "exp": (-87, 20, lambda v: v.exp()),
    "expm1": (-60, 0, lambda v: v.expm1()),
    "log": (1, 1e4, lambda v: v.log()),
    "log1p": (0, 1, lambda v: v.log1p()),
    "tanh": (-15, 15, lambda v: v.tanh()),
    "sigmoid": (-80, 80, lambda v: 1 / (1 + (-v).exp())),
    "erf": (-7, 7, lambda v: v.erf()),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TRUTHS)
def test_elementary_functions_are_within_the_4_ulp_of_the_certificates(name: str, dtype: str) -> None:
    low, high, truth = TRUTHS[name]
    function = getattr(elementary, name)

    @loops
    def apply(x: Any, result: Any) -> None:
        for i in range(len(x)):
            result[i] = function(x[i])

    rng = np.random.default_rng(0)
    near = (1 if low >= 0 else -1) * 10.0 ** rng.uniform(-7, 0, 1000)
    x = np.concatenate([rng.uniform(low, high, 2000), near]).astype(dtype)
    result = np.empty_like(x)
    apply(x, result)
    for value, found in zip(x, result, strict=True):
        exact = truth(arb(float(value)))
        ulp = float(np.spacing(np.abs(x.dtype.type(float(exact)))))
        assert abs(float(arb(float(found)) - exact)) <= 4 * ulp, value


# ---- whole epochs ----------------------------------------------------------------------------------


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


# ---- at its doors ----------------------------------------------------------------------------------


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
    with pytest.raises(ValueError, match="no rule for Mine"):
        CompiledEngine(model, "mse", Mine(model.parameters))
    with pytest.raises(ValueError, match="did you mean 'hinge'"):
        CompiledEngine(model, "hing", OPTIMIZERS["sgd"](model.parameters))


def test_every_row_of_the_tables_has_its_compiled_row() -> None:
    assert set(compiled_activations.ROWS) == set(ACTIVATIONS)
    assert set(losses.ROWS) == set(LOSSES)
    assert set(optimizers.ROWS) == set(OPTIMIZERS.values())


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
