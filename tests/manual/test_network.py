"""The network: its counts, its live parameters, its initial weights, its trace and its errors."""

from typing import Any

import numpy as np
import pytest
import torch

import mlp_torch.model as torch_side
from manual import ACTIVATIONS, LOSSES, MLP, OPTIMIZERS, fit
from manual.activations import softmax, softmax_jacobian_product
from manual.architecture import INITIALIZATIONS, NORMALIZATIONS
from manual.losses import d_zero_one, predict, zero_one
from manual.numbers import Array
from manual.training.engine import ManualEngine
from manual.training.fit import NotFiniteError
from manual.training.recipe import Recipe
from mlp_torch.model import load_arrays, state_arrays, to_manual, to_torch
from mlp_torch.trace import trace as torch_trace
from tests.problems import DTYPES, Problem

TORCH_DTYPES = {"float64": torch.float64, "float32": torch.float32}
PROBLEM = Problem(7, (5, 13, 11, 3), seed=2)


def bits(arrays: dict[str, Array]) -> dict[str, tuple[Any, ...]]:
    return {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()}


def copies(arrays: dict[str, Array]) -> dict[str, Array]:
    return {name: a.copy() for name, a in arrays.items()}


# ---- counts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [MLP, torch_side.MLP])
def test_the_lectures_network_has_6_neurons_20_weights_26_parameters(build: Any) -> None:
    assert build((3, 4, 2)).counts == (6, 20, 26)


def test_counts_are_those_of_the_torch_module() -> None:
    for normalization in NORMALIZATIONS:
        model = torch_side.MLP((5, 13, 11, 3), activation="prelu", normalization=normalization)
        assert model.counts.parameters == sum(p.numel() for p in model.parameters())


# ---- live parameters -------------------------------------------------------------------------------


def test_writing_into_a_parameter_takes_effect() -> None:
    model, (x, y) = PROBLEM.model(), PROBLEM.batch("mse")
    before = model.trace(x, y, "mse")["a3"].copy()
    model.parameters["layers.2.bias"][...] += 1
    np.testing.assert_allclose(model.trace(x, y, "mse")["a3"], before + 1, rtol=1e-14)


def test_assigning_a_parameter_takes_effect() -> None:
    model, (x, y) = PROBLEM.model(), PROBLEM.batch("mse")
    model.parameters["layers.2.weight"] = np.zeros((3, 11))
    assert np.array_equal(model.trace(x, y, "mse")["a3"], np.tile(model.parameters["layers.2.bias"], (7, 1)))


def test_an_unknown_name_or_another_shape_is_refused_with_both_named() -> None:
    model = MLP((3, 4, 2))
    with pytest.raises(KeyError, match=r"no parameter 'layers.2.weight'; there are layers.0.weight"):
        model.parameters["layers.2.weight"] = np.zeros((2, 4))
    for wrong in [(3, 4), (4,), (1, 4, 3)]:
        with pytest.raises(ValueError, match=r"layers.0.weight has shape \(4, 3\), not") as info:
            model.parameters["layers.0.weight"] = np.zeros(wrong)
        assert str(wrong) in str(info.value)
    with pytest.raises(ValueError, match=r"layers\.0\.bias has shape"):
        model.parameters["layers.0.bias"] = 0.0


# ---- initial weights -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_the_same_seed_gives_the_same_weights_on_both_sides(
    initialization: str, normalization: str, dtype: str
) -> None:
    rows: dict[str, Any] = {
        "activation": "prelu",
        "normalization": normalization,
        "initialization": initialization,
        "seed": 5,
    }
    ours = MLP((5, 7, 3), dtype=DTYPES[dtype], **rows)
    theirs = torch_side.MLP((5, 7, 3), dtype=TORCH_DTYPES[dtype], **rows)
    assert bits(ours.parameters | ours.buffers) == bits(state_arrays(theirs))
    assert list(ours.parameters) == [n for n, _ in theirs.named_parameters()]
    other = MLP((5, 7, 3), dtype=DTYPES[dtype], **{**rows, "seed": 6})
    assert not np.array_equal(ours.parameters["layers.0.weight"], other.parameters["layers.0.weight"])


def test_drawing_leaves_numpys_global_generator_alone() -> None:
    state = np.random.get_state()[1].copy()
    MLP((5, 7, 3), dropout=0.5).draw_masks(4)
    assert np.array_equal(np.random.get_state()[1], state)


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_initial_weights_have_the_documented_distribution(initialization: str) -> None:
    model = MLP((400, 300, 100), initialization=initialization)
    for i, (fan_in, fan_out) in enumerate([(400, 300), (300, 100)]):
        weight, bias = model.parameters[f"layers.{i}.weight"], model.parameters[f"layers.{i}.bias"]
        bound = {"torch": 1 / np.sqrt(fan_in), "xavier": np.sqrt(6 / (fan_in + fan_out))}.get(initialization)
        variance = 2 / fan_in if bound is None else bound**2 / 3
        # 5 standard errors; a variance's is below √(2/n) of it
        assert abs(weight.mean()) < 5 * np.sqrt(variance / weight.size)
        assert abs(weight.var() / variance - 1) < 5 * np.sqrt(2 / weight.size)
        if bound is None:
            assert np.abs(weight).max() > 3 * np.sqrt(variance)
        else:
            assert 0.999 * bound < np.abs(weight).max() <= bound
        if initialization == "torch":
            assert 0 < np.abs(bias).max() <= bound
        else:
            assert not bias.any()


def test_torch_initialization_is_nn_linears_own() -> None:
    linear = torch.nn.Linear(400, 300)
    ours = MLP((400, 300, 2)).parameters
    for name, theirs in linear.named_parameters():
        assert abs(ours[f"layers.0.{name}"].std() / theirs.std().item() - 1) < 0.1


# ---- weights go over -------------------------------------------------------------------------------


ODD = {
    "float64": np.array([0x7FF8000000001234, 0x8000000000000000, 0xFFF0000000000000, 1], np.uint64),
    "float32": np.array([0x7FC01234, 0x80000000, 0xFF800000, 1], np.uint32),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("training", [True, False])
def test_weights_go_over_in_both_directions_bit_for_bit(dtype: str, training: bool) -> None:
    rows = {"activation": "prelu", "normalization": "batch_norm", "dropout": 0.25}
    model = PROBLEM.model(DTYPES[dtype], **rows)
    model.training = training
    odd = ODD[dtype].view(DTYPES[dtype])  # a NaN with a payload, −0, −∞, the smallest number
    model.parameters["layers.1.weight"][0, :4] = odd
    model.buffers["normalizations.0.running_var"][:4] = odd
    there = to_torch(model)
    assert bits(state_arrays(there)) == bits(model.parameters | model.buffers)
    back = to_manual(there)
    assert bits(back.parameters) == bits(model.parameters)
    assert bits(back.buffers) == bits(model.buffers)
    assert there.training == back.training == training
    assert back.architecture == there.architecture == model.architecture


def test_weights_that_went_over_are_copies() -> None:
    model = PROBLEM.model()
    there = to_torch(model)
    back = to_manual(there)
    before = bits(model.parameters)
    with torch.no_grad():
        there.layers[0].weight.zero_()
    back.parameters["layers.1.weight"][...] = 0
    assert bits(model.parameters) == before
    assert not np.array_equal(state_arrays(there)["layers.1.weight"], back.parameters["layers.1.weight"])


@pytest.mark.parametrize(
    ("arrays", "error", "text"),
    [
        ({"layers.7.weight": np.zeros((4, 3))}, KeyError, "layers.7.weight"),
        ({"layers.0.weight": np.zeros((3, 4))}, ValueError, r"\(4, 3\)"),
        ({"layers.0.weight": np.zeros((4, 3), np.float32)}, ValueError, "float32"),
    ],
)
def test_weights_that_do_not_fit_are_refused(arrays: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        load_arrays(torch_side.MLP((3, 4, 2), dtype=torch.float64), arrays)


# ---- errors of shape -------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [name for name, row in LOSSES.items() if row.target != "label"])
def test_y_of_n_against_an_output_of_n_by_1_is_refused_with_the_cure(loss: str) -> None:
    model, x = MLP((3, 4, 1)), np.ones((5, 3))
    for run in (model.trace, lambda *a: torch_trace(to_torch(model), *a)):
        with pytest.raises(ValueError, match=r"y has shape \(5,\).*\(5, 1\).*try y.reshape\(5, 1\)"):
            run(x, np.ones(5), loss)


@pytest.mark.parametrize(
    ("y", "text"),
    [
        (np.zeros((5, 1), int), r"one class label a sample, shape \(5,\)"),
        (np.zeros(4, int), r"shape \(5,\), is needed"),
        (np.zeros(5), "must be integers, y is float64"),
        (np.array([0, 1, 3, 0, 0]), "label 3 in row 2 is out of range; the output has 3 classes, 0 to 2"),
        (np.array([0, 1, 2, -1, 0]), "label -1 in row 3"),
    ],
)
@pytest.mark.parametrize("loss", ["cross_entropy", "multi_margin"])
def test_labels_that_do_not_fit_are_refused_with_their_row(loss: str, y: Array, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        MLP((3, 4, 3)).trace(np.ones((5, 3)), y, loss)


@pytest.mark.parametrize("shape", [(5, 4), (5,), (2, 5, 3)])
def test_x_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"x has shape .*; this network takes \(N, 3\)"):
        MLP((3, 4, 2)).trace(np.ones(shape), np.ones((5, 2)), "mse")


def test_batch_norm_refuses_a_training_batch_of_one() -> None:
    model = MLP((3, 4, 2), normalization="batch_norm")
    with pytest.raises(ValueError, match="at least 2 samples"):
        model.trace(np.ones((1, 3)), np.ones((1, 2)), "mse")
    model.training = False
    model.trace(np.ones((1, 3)), np.ones((1, 2)), "mse")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"activation": "rleu"}, "did you mean 'relu'"),
        ({"output_activation": "sofmax"}, "did you mean 'softmax'"),
        ({"normalization": "batchnorm"}, "did you mean 'batch_norm'"),
        ({"initialization": "glorot"}, "choose from torch, xavier, he"),
        ({"dropout": 1.0}, "0 ≤ p < 1"),
        ({"dropout": -0.1}, "0 ≤ p < 1"),
        ({"sizes": (3,)}, "an input and an output size"),
        ({"sizes": (3, 0, 2)}, "at least 1 neuron"),
    ],
)
@pytest.mark.parametrize("build", [MLP, torch_side.MLP])
def test_a_network_that_cannot_be_is_refused_with_advice(build: Any, options: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        build(**{"sizes": (3, 4, 2), **options})


def test_an_unknown_loss_or_reduction_is_refused_with_advice() -> None:
    model, x, y = MLP((3, 4, 2)), np.ones((5, 3)), np.ones((5, 2))
    with pytest.raises(ValueError, match="did you mean 'mse'"):
        model.trace(x, y, "msee")
    with pytest.raises(ValueError, match="choose from mean, sum"):
        model.trace(x, y, "mse", reduction="max")  # type: ignore[arg-type]  # the fault that is planted


# ---- the trace -------------------------------------------------------------------------------------


def test_the_trace_of_two_layers_has_the_lectures_names_in_order() -> None:
    model = MLP((3, 4, 2), activation="sigmoid")
    names = [s.name for s in model.stages("mse")]
    assert " ".join(names) == "z1 a1 z2 a2 loss dloss dz2 dW2 db2 da1 dz1 dW1 db1 dx"


def test_normalization_slope_and_dropout_have_their_stages() -> None:
    model = MLP((3, 4, 2), activation="prelu", normalization="layer_norm", dropout=0.5)
    names = " ".join(s.name for s in model.stages("mse"))
    assert names == (
        "z1 n1 a1 h1 z2 a2 loss dloss dz2 dW2 db2 dh1 da1 dslope1 dn1 dgamma1 dbeta1 dz1 dW1 db1 dx"
    )


def test_every_stage_reads_only_what_stands_before_it() -> None:
    model = PROBLEM.model(activation="prelu", normalization="batch_norm", dropout=0.5)
    known = {*model.leaves(PROBLEM.batch("mse")[0]), "y"}
    for stage in model.stages("mse"):
        assert set(stage.reads) <= known, stage.name
        known.add(stage.name)


def test_every_parameter_has_one_gradient_of_its_shape() -> None:
    for normalization in NORMALIZATIONS:
        model = PROBLEM.model(activation="prelu", normalization=normalization)
        loss, gradients = model.loss_and_gradients(*PROBLEM.batch("mse"), "mse")
        assert np.ndim(loss) == 0
        assert {n: g.shape for n, g in gradients.items()} == {n: p.shape for n, p in model.parameters.items()}
        assert list(gradients) == list(model.parameters)


def test_an_unknown_stage_is_named_with_those_there_are() -> None:
    trace = PROBLEM.model().trace(*PROBLEM.batch("mse"), "mse")
    with pytest.raises(KeyError, match="no stage 'dW9'; there are x, "):
        trace["dW9"]
    assert "dW9" not in trace
    assert trace.stage("dW1").parameter == "layers.0.weight"


ROWS = {"activation": "prelu", "normalization": "batch_norm", "dropout": 0.25}


def test_tracing_changes_nothing_of_the_network_or_of_the_batch() -> None:
    for activation in ACTIVATIONS:
        model = PROBLEM.model(**{**ROWS, "activation": activation})
        masks = model.draw_masks(PROBLEM.n)
        for loss in LOSSES:
            x, y = PROBLEM.batch(loss)
            arrays = {**model.parameters, **model.buffers, **masks, "x": x, "y": y}
            before, state = bits(arrays), model.generator.bit_generator.state
            first = model.trace(x, y, loss, masks=masks)
            kept = bits({s.name: np.asarray(first[s.name]) for s in first})
            second = model.trace(x, y, loss, masks=masks)
            assert bits(arrays) == before
            assert model.generator.bit_generator.state == state
            assert bits({s.name: np.asarray(second[s.name]) for s in second}) == kept
            assert bits({s.name: np.asarray(first[s.name]) for s in first}) == kept


def test_loss_and_gradients_moves_the_running_statistics_as_torch_does() -> None:
    model = PROBLEM.model(**ROWS)
    twin, (x, y) = to_torch(model), PROBLEM.batch("mse")
    for _ in range(3):
        masks = model.draw_masks(PROBLEM.n)
        for i, dropout in enumerate(twin.dropouts, start=1):
            dropout.next_mask = torch.from_numpy(masks[f"mask{i}"])
        twin(torch.from_numpy(x))
        model.loss_and_gradients(x, y, "mse", masks=masks)
    theirs = state_arrays(twin)
    for name, value in model.buffers.items():
        np.testing.assert_allclose(value, theirs[name], rtol=1e-13)
    model.training = False
    before = bits(model.buffers)
    model.loss_and_gradients(x, y, "mse")
    assert bits(model.buffers) == before


def test_predicting_is_torchs_evaluation_and_leaves_the_mode() -> None:
    for training in (True, False):
        model, x = PROBLEM.model(**ROWS), PROBLEM.batch("mse")[0]
        model.training = training
        before = bits(model.parameters | model.buffers)
        ours = model.predict(x)
        with torch.no_grad():
            theirs = to_torch(model).eval()(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(ours, theirs, rtol=1e-11)
        assert model.training is training
        assert bits(model.parameters | model.buffers) == before


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fails", [False, True])
def test_autograds_trace_leaves_grad_buffers_mode_hooks_and_random_state(training: bool, fails: bool) -> None:
    model = to_torch(PROBLEM.model(**ROWS)).train(training)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 7)
    model.layers[0].bias.grad = None
    kept = {n: p.grad for n, p in model.named_parameters()}
    before, state = bits(state_arrays(model)), torch.get_rng_state()
    counted = [int(n.num_batches_tracked) for n in model.normalizations]
    x, y = PROBLEM.batch("mse")
    if fails:
        with pytest.raises(ValueError, match="y has shape"):
            torch_trace(model, x, y[:, :1], "mse")
    else:
        torch_trace(model, x, y, "mse")
    for name, parameter in model.named_parameters():
        assert parameter.grad is kept[name]
        assert parameter.grad is None or (parameter.grad == 7).all()
    assert bits(state_arrays(model)) == before
    assert [int(n.num_batches_tracked) for n in model.normalizations] == counted
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training is training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_mask_given_to_a_pass_that_failed_is_not_left_for_the_next() -> None:
    model = to_torch(PROBLEM.model(**ROWS))
    masks = PROBLEM.model(**ROWS).draw_masks(PROBLEM.n)
    x, y = PROBLEM.batch("mse")
    with pytest.raises(RuntimeError):
        torch_trace(model, x[:, :2], y, "mse", masks=masks)
    assert all(dropout.next_mask is None for dropout in model.dropouts)


def test_autograds_trace_works_inside_no_grad() -> None:
    model, (x, y) = to_torch(PROBLEM.model()), PROBLEM.batch("mse")
    outside = torch_trace(model, x, y, "mse")
    with torch.no_grad():
        inside = torch_trace(model, x, y, "mse")
        assert not torch.is_grad_enabled()
    assert bits({s.name: np.asarray(inside[s.name]) for s in inside}) == bits(
        {s.name: np.asarray(outside[s.name]) for s in outside}
    )


# ---- softmax and zero-one --------------------------------------------------------------------------


def test_softmaxs_product_is_that_with_the_full_jacobian() -> None:
    rng = np.random.default_rng(0)
    z, da = rng.normal(0, 2, (7, 5)), rng.normal(0, 1, (7, 5))
    a = softmax(z)
    for row in range(7):
        jacobian = np.diag(a[row]) - np.outer(a[row], a[row])
        np.testing.assert_allclose(
            jacobian, torch.autograd.functional.jacobian(lambda t: t.softmax(-1), torch.from_numpy(z[row]))
        )
        dz = softmax_jacobian_product(da, z, a)[row]
        np.testing.assert_allclose(dz, jacobian.T @ da[row], atol=1e-16)
        assert not np.allclose(dz, np.diag(jacobian) * da[row]), "the diagonal alone would be seen"


def test_zero_one_is_the_share_of_wrong_decisions() -> None:
    output = np.array([[2.0, 1.0], [0.0, 3.0], [-1.0, -2.0], [0.5, -0.5]])
    assert predict(output, "label").tolist() == [0, 1, 0, 0]
    assert zero_one(output, np.array([0, 1, 1, 1]), "label") == 0.5
    assert zero_one(output, np.where(output > 0, 1, -1), "sign") == 0
    flipped = np.array([[True, True], [False, False], [False, True], [False, False]])
    assert zero_one(output, (output > 0) ^ flipped, "binary") == 0.5


def test_zero_ones_gradient_is_zero_and_so_is_its_change() -> None:
    rng = np.random.default_rng(0)
    output, y = rng.normal(0, 1, (50, 4)), rng.integers(0, 4, 50)
    gradient = d_zero_one(output, y)
    assert gradient.shape == output.shape
    assert not gradient.any()
    nudged = output + 1e-9 * rng.normal(0, 1, output.shape)
    assert zero_one(nudged, y, "label") == zero_one(output, y, "label")


# ---- the NumPy training loop -----------------------------------------------------------------------


LINE = np.array([[-2.0], [-1.0], [1.0], [2.0]])
XOR = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


def engine(model: MLP, loss: str, optimizer: str, l1: float = 0.0, **options: Any) -> ManualEngine:
    return ManualEngine(model, loss, OPTIMIZERS[optimizer](model.parameters, **options), Recipe(l1=l1))


@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_the_loop_finds_the_line(batch_size: int) -> None:
    model = MLP((1, 1))
    epochs = list(
        fit(engine(model, "mse", "sgd"), LINE, 3 * LINE - 1, epochs=80, batch_size=batch_size, lr=0.1)
    )
    assert epochs[-1].loss < 1e-8 < 1e-2 < epochs[0].loss
    assert [e.epoch for e in epochs] == list(range(1, 81))
    assert epochs[-1].steps == 80 * -(-4 // batch_size)
    np.testing.assert_allclose(model.parameters["layers.0.weight"], 3, atol=1e-3)
    np.testing.assert_allclose(model.parameters["layers.0.bias"], -1, atol=1e-3)


@pytest.mark.parametrize(
    ("loss", "outputs", "y"),
    [
        ("cross_entropy", 2, np.array([0, 1, 1, 0])),
        ("multi_margin", 2, np.array([0, 1, 1, 0])),
        ("bce_with_logits", 1, np.array([[0.0], [1.0], [1.0], [0.0]])),
        ("hinge", 1, np.array([[-1.0], [1.0], [1.0], [-1.0]])),
    ],
)
def test_the_loop_learns_xor(loss: str, outputs: int, y: Array) -> None:
    model = MLP((2, 16, outputs), activation="tanh", seed=1)
    learner = engine(model, loss, "adam")
    assert learner.evaluate(XOR, y)[1] != 1
    list(fit(learner, XOR, y, epochs=150, batch_size=4, lr=0.05))
    assert learner.evaluate(XOR, y)[1] == 1
    assert list(learner.parameters()) == list(model.parameters)


def test_training_is_a_function_of_the_seed() -> None:
    def trained(seed: int) -> dict[str, tuple[Any, ...]]:
        model = MLP((2, 8, 2), dropout=0.25, normalization="batch_norm", seed=seed)
        list(
            fit(
                engine(model, "cross_entropy", "sgd", momentum=0.9),
                XOR,
                np.array([0, 1, 1, 0]),
                epochs=5,
                batch_size=2,
                lr=0.05,
                seed=seed,
            )
        )
        return bits(model.parameters | model.buffers)

    assert trained(1) == trained(1)
    assert trained(1) != trained(2)


def test_the_l1_penalty_is_in_the_loss_and_the_weights_gradients_only() -> None:
    x, y = PROBLEM.batch("mse")
    plain, penalised = (engine(PROBLEM.model(activation="tanh"), "mse", "sgd", l1) for l1 in (0.0, 0.1))
    weights = copies(plain.model.parameters)
    difference = penalised.step(x, y, 0.0) - plain.step(x, y, 0.0)
    total = sum(np.abs(w).sum() for n, w in weights.items() if n.endswith("weight"))
    np.testing.assert_allclose(difference, 0.1 * total)
    for name, weight in weights.items():
        expected = 0.1 * np.sign(weight) if name.endswith("weight") else 0
        gap = penalised.gradients[name] - plain.gradients[name]
        np.testing.assert_allclose(gap, np.broadcast_to(expected, weight.shape), atol=1e-15)


def test_a_loss_that_explodes_stops_the_loop_with_the_last_finite_weights() -> None:
    model = MLP((1, 1))
    with pytest.raises(NotFiniteError, match=r"the loss became (inf|nan) at step \d+ \(epoch \d+\)"):
        list(fit(engine(model, "mse", "sgd"), LINE, LINE, epochs=500, batch_size=4, lr=1e3))
    assert all(np.isfinite(p).all() for p in model.parameters.values())
