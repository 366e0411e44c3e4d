"""The hand-written step in torch buffers is autograd's step, stage by stage and epoch by epoch."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import manual
from manual import ACTIVATIONS, LOSSES
from manual.structure.architecture import NORMALIZATIONS
from manual.training.batches import order
from manual.training.fit import fit
from manual.training.recipe import Recipe
from mlp_torch.buffered import activations, layers, losses, optimizers, products
from mlp_torch.buffered.engine import TorchEngine
from mlp_torch.trace import trace
from mlp_torch.verify.verdicts import compare_traces
from tests.mlp_torch.buffered.engines import NETWORKS, RULES, both, far_apart, masks, module, seeded
from tests.problems import DTYPES, Problem, near_kink, problems, targets
from tests.shares import pairs

FIXED = Problem(7, (5, 13, 11, 3), seed=1)
NAMES = ("autograd", "torch")


def judged(engine: TorchEngine, x: Any, y: Any, given_masks: Any = None, reduction: Any = "mean") -> Any:
    """The instrument's report on autograd's trace and the engine's own of the same network."""
    reference = trace(engine.model, x, y, engine.loss, reduction=reduction, masks=given_masks)
    return compare_traces(reference, engine.trace(x, y, given_masks, reduction), engines=NAMES)


def wrong(report: Any) -> list[str]:
    return [name for name, row in report.stages.items() if row.verdict == "wrong"]


def test_every_row_of_manual_has_kernels() -> None:
    """By hand, or made from the row's record; a rule of the optimizers may have none."""
    assert set(activations.ACTIVATIONS) <= set(ACTIVATIONS)
    assert set(losses.LOSSES) <= set(LOSSES)
    assert all(callable(activations.kernel(row).backward) for row in ACTIVATIONS.values())
    assert all(callable(losses.kernel(row)) for row in LOSSES.values())
    assert set(optimizers.OPTIMIZERS) <= set(manual.OPTIMIZERS.values())


@pytest.mark.parametrize(("activation", "loss"), pairs(ACTIVATIONS, LOSSES))
@settings(max_examples=2)
@given(
    problem=problems(),
    network=NETWORKS,
    dtype=st.sampled_from(list(DTYPES.values())),
    reduction=st.sampled_from(["mean", "sum"]),
)
def test_no_stage_is_wrong(
    activation: str, loss: str, problem: Problem, network: Any, dtype: Any, reduction: Any
) -> None:
    model = module(problem, dtype, activation=activation, **network)
    engine = TorchEngine(model, loss, "sgd", {})
    report = judged(engine, *problem.batch(loss, dtype), masks(problem, network["dropout"], dtype), reduction)
    assert wrong(report) == []
    assert [n for n, row in report.parameters.items() if row.verdict == "wrong"] == []


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@settings(max_examples=3)
@given(problem=problems())
def test_no_stage_is_wrong_in_evaluation(normalization: str, problem: Problem) -> None:
    model = module(problem, activation="prelu", normalization=normalization, dropout=0.5).eval()
    engine = TorchEngine(model, "mse", "sgd", {})
    assert wrong(judged(engine, *problem.batch("mse"))) == []


@pytest.mark.parametrize("output_activation", ["softmax", "sigmoid", "prelu"])
@given(problem=problems())
def test_no_stage_is_wrong_under_an_output_activation(output_activation: str, problem: Problem) -> None:
    engine = TorchEngine(module(problem, output_activation=output_activation), "mse", "sgd", {})
    assert wrong(judged(engine, *problem.batch("mse"))) == []


@given(problem=problems())
def test_no_stage_is_wrong_with_probabilities_as_targets(problem: Problem) -> None:
    engine = TorchEngine(module(problem, activation="tanh"), "cross_entropy", "sgd", {})
    assert wrong(judged(engine, *problem.batch("cross_entropy", probabilities=True))) == []


@given(problem=problems())
def test_no_stage_is_wrong_where_onednn_multiplies(problem: Problem) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "BY_MAKER", {})
        patch.setattr(products, "ONEDNN_FLOPS", 0)
        engine = TorchEngine(module(problem, np.float32), "cross_entropy", "sgd", {})
        assert wrong(judged(engine, *problem.batch("cross_entropy", np.float32))) == []


def scaled(kernels: Any, result: int) -> Any:
    """The same kernels, and then their result (the argument of that number) a millionth too large."""
    return lambda *a: [*kernels(*a), lambda: a[result].mul_(1 + 1e-6)]


def faulty_tanh() -> Any:
    row = activations.ACTIVATIONS["tanh"]
    return replace(row, backward=lambda u: [*row.backward(u), lambda: u.dz.mul_(1 + 1e-6)])


def faulty_loss(e: losses.Ends) -> Any:
    value, gradient = losses.mse(e)
    return value, [*gradient, lambda: e.d.mul_(1 + 1e-6)]


@pytest.mark.parametrize(
    ("table", "name", "fault", "stage"),
    [
        (activations.ACTIVATIONS, "tanh", faulty_tanh(), "dn{}"),
        (losses.LOSSES, "mse", faulty_loss, "dloss"),
        (products, "backward_weight", scaled(products.backward_weight, 2), "dW{}"),
        (products, "backward_input", scaled(products.backward_input, 2), "da1 da2 dx"),
        (products, "forward", scaled(products.forward, 3), "z{}"),
        (layers.Normalization, "backward_input", scaled(layers.Normalization.backward_input, 1), "dz1 dz2"),
    ],
)
def test_a_fault_in_one_kernel_is_named_at_its_stage(
    monkeypatch: Any, table: Any, name: str, fault: Any, stage: str
) -> None:
    if isinstance(table, dict):
        monkeypatch.setitem(table, name, fault)
    else:
        monkeypatch.setattr(table, name, fault)
    model = module(FIXED, activation="tanh", output_activation="sigmoid", normalization="layer_norm")
    found = wrong(judged(TorchEngine(model, "mse", "sgd", {}), *FIXED.batch("mse")))
    expected = stage.split() if "{" not in stage else [stage.format(i) for i in (1, 2, 3)]
    assert found
    assert set(found) <= set(expected)


@pytest.mark.parametrize("rule", RULES, ids=str)
@settings(max_examples=12)
@given(
    problem=problems(),
    activation=st.sampled_from(list(ACTIVATIONS)),
    loss=st.sampled_from(list(LOSSES)),
    network=NETWORKS,
    l1=st.sampled_from([0.0, 1e-2]),
)
def test_epochs_are_autograds(
    rule: Any, problem: Problem, activation: str, loss: str, network: Any, l1: float
) -> None:
    """Ragged last batches, a rate for each batch, masks drawn from the same random state."""
    ours, theirs = both(problem, loss, rule, activation=activation, recipe=Recipe(l1=l1), **network)
    rng = problem.generator()
    x, n = rng.normal(0, 1, (17, problem.sizes[0])), 17
    y = targets(loss, (n, problem.sizes[-1]), rng, np.float64)
    assume(not near_kink(trace(theirs.model, x, y, loss)))
    rates = np.array([3e-3, 1e-3, 2e-3])
    epochs = [(x, y, rng.permutation(n), 7, rates) for _ in range(2)]
    found, expected = (seeded(problem.seed, engine, *epochs) for engine in (ours, theirs))
    np.testing.assert_allclose(found, expected, rtol=1e-7)
    assert far_apart(ours, theirs, 1e-6) == []


@pytest.mark.parametrize("rule", ["rmsprop", "adagrad", "adam"])
def test_an_eps_of_zero_leaves_no_trace_of_what_lies_between_parameters(rule: str) -> None:
    """There 0 / 0 is NaN, which no loss, no penalty and no parameter may see."""
    ours, theirs = both(FIXED, "mse", (rule, {"eps": 0.0}), activation="tanh", recipe=Recipe(l1=1e-2))
    x, y = FIXED.batch("mse")
    epoch = x, y, np.arange(FIXED.n), 3, np.full(3, 1e-3)
    np.testing.assert_allclose(seeded(0, ours, epoch, epoch), seeded(0, theirs, epoch, epoch), rtol=1e-9)
    assert far_apart(ours, theirs, 1e-9) == []


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@given(problem=problems(), loss=st.sampled_from(list(LOSSES)))
def test_a_step_with_given_masks_is_autograds(normalization: str, problem: Problem, loss: str) -> None:
    ours, theirs = both(
        problem, loss, ("sgd", {}), activation="silu", normalization=normalization, dropout=0.4
    )
    batch, drawn = problem.batch(loss), masks(problem, 0.4)
    assert ours.step(*batch, 1e-2, drawn) == pytest.approx(theirs.step(*batch, 1e-2, drawn), rel=1e-12)
    assert far_apart(ours, theirs, 1e-9) == []


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@given(problem=problems())
def test_predictions_and_weights_are_the_modules(normalization: str, problem: Problem) -> None:
    ours, theirs = both(problem, "mse", ("sgd", {}), normalization=normalization, dropout=0.4)
    ours.load(theirs.parameters())
    x, _ = problem.batch("mse")
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))
    flat = ours.flat.values
    first, last = flat.data_ptr(), flat.data_ptr() + flat.numel() * flat.element_size()
    assert all(first <= p.data_ptr() < last for p in ours.model.parameters())
    assert ours.model.training


@pytest.mark.parametrize("engine", [0, 1])
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(engine: int) -> None:
    def weights(seed: int) -> Any:
        pair = both(FIXED, "cross_entropy", ("adam", {}), np.float32, dropout=0.3)
        x, y = FIXED.batch("cross_entropy", np.float32)
        seeded(seed, pair[engine], *[(x, y, np.arange(FIXED.n), 3, np.full(3, 1e-2))] * 3)
        return pair[engine].parameters()

    a, b, c = weights(1), weights(1), weights(2)
    assert all(np.array_equal(a[n], b[n]) for n in a)
    assert any(not np.array_equal(a[n], c[n]) for n in a)


def test_the_usual_loop_over_the_same_batches_learns_the_same() -> None:
    """DataLoader, zero_grad, backward, step, item: in float32 the losses of four epochs stay together."""
    x, y = load_digits(return_X_y=True)
    x, problem = (x / 16).astype(np.float32), Problem(0, (64, 32, 10), seed=3)
    engine = TorchEngine(module(problem, np.float32), "cross_entropy", "adam", {})
    ours = [e.loss for e in fit(engine, x, y, epochs=4, batch_size=32, lr=3e-3, seed=5)]

    model, theirs = module(problem, np.float32), []
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(1, 5):
        batches = np.split(order(len(x), 5, epoch), range(32, len(x), 32))
        total = 0.0
        for inputs, labels in DataLoader(data, batch_sampler=[b.tolist() for b in batches]):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(inputs)
        theirs.append(total / len(x))
    assert theirs[-1] < 0.3
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)
