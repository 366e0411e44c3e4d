"""The trace: its names, what its stages read, and that tracing changes nothing, on either side."""

import numpy as np
import pytest
import torch

from manual import ACTIVATIONS, LOSSES, MLP
from manual.structure.architecture import NORMALIZATIONS
from mlp_torch.model import state_arrays, to_torch
from mlp_torch.trace import trace as torch_trace
from tests.manual.comparing import PROBLEM, bits


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
