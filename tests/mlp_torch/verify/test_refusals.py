"""What `compare` cannot judge it refuses in one line: what, where, and what to do; or it is judged right."""

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from manual.numbers import Array
from mlp_torch.errors import UserError
from mlp_torch.model import MLP
from mlp_torch.verify import WrongGradientError
from mlp_torch.verify.refusals import check_network
from tests.mlp_torch.verify.refused import REFUSED
from tests.mlp_torch.verify.tampered import (
    X,
    Y,
    given,
    judged,
    replaced,
)


def refusal(call: Callable[[], Any], error: type[Exception] = UserError) -> str:
    """The one line of a refusal; what torch itself warns of while a case is made is not asked about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(error) as caught:
            call()
    text = str(caught.value)
    assert "\n" not in text
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return text


@pytest.mark.parametrize("case", REFUSED)
def test_a_network_that_cannot_be_judged_is_refused_with_the_place_and_the_remedy(case: str) -> None:
    make, text = REFUSED[case]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make()
    said = refusal(lambda: judged(model))
    assert re.match(text, said), said


@pytest.mark.parametrize("case", [c for c in REFUSED if "forward" not in c and "hook" not in c])
@pytest.mark.parametrize("tier", ["exact", "all"])
def test_it_is_refused_for_its_dyadic_twin_too(case: str, tier: str) -> None:
    """The twin is made from the architecture alone, and would pass whatever the network has become."""
    make, _ = REFUSED[case]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make()
    refusal(lambda: judged(model, tier=tier))


# ---- batches, wrappers and modes around ------------------------------------------------------------

BATCHES: dict[str, tuple[dict[str, Any], str]] = {
    "empty": ({"x": X[:0], "y": Y[:0]}, "x holds no sample: give at least one"),
    "words": ({"x": [["a"] * 7] * 8}, "x is list of <U1: give an array of real numbers"),
    "complex": ({"x": X + 1j}, "x is ndarray of complex128: give an array of real numbers"),
    "ragged": ({"x": [[1.0], [1.0, 2.0]]}, "x cannot be read .*: give a NumPy array or a dense tensor"),
    "sparse": ({"x": torch.from_numpy(X).to_sparse()}, "x cannot be read .*Sparse"),
    "meta": ({"x": torch.empty(8, 7, device="meta")}, "x cannot be read .*no data"),
    "no target": ({"y": None}, "y is NoneType of object"),
    "reduction": ({"reduction": "none"}, "unknown reduction 'none': choose from mean, sum"),
    "half labels": ({"y": Y + 0.5}, "class labels must be integers"),
    "one sample for batch_norm": (
        {"model": given(normalization="batch_norm"), "x": X[:1], "y": Y[:1]},
        r"x holds 1 sample, and batch_norm needs 2: give more, or call model\.eval\(\)",
    ),
}


@pytest.mark.parametrize("case", BATCHES)
def test_a_batch_that_cannot_be_judged_is_refused_in_one_line(case: str) -> None:
    changes, text = BATCHES[case]
    arguments = {"model": given(), **changes}
    said = refusal(lambda: judged(arguments.pop("model"), **arguments), ValueError)
    assert re.search(text, said), said


def test_a_wrapper_is_refused_with_the_name_of_the_network_inside() -> None:
    assert refusal(lambda: judged(nn.DataParallel(given())), TypeError).endswith(
        "give it the .module of this"
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_under_autocast_it_is_refused(dtype: torch.dtype) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        said = refusal(lambda: judged(given(dtype=dtype)))
    assert said == "torch.autocast is on and rounds to torch.bfloat16: call compare outside of it"


@pytest.mark.parametrize("tier", ["certified", "all"])
@pytest.mark.parametrize("engine", ["manual", "torch"])
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_a_mode_without_gradients_around_it_changes_nothing(mode: Any, engine: str, tier: str) -> None:
    model = given(dropout=0.25)
    before = judged(model, engine=engine, tier=tier).to_json()
    with mode():
        assert judged(model, torch.from_numpy(X) * 1, engine=engine, tier=tier).to_json() == before


# ---- what can be judged after the remedy -----------------------------------------------------------


def test_after_the_pruning_was_made_permanent_it_is_judged() -> None:
    model = given()
    prune.l1_unstructured(model.layers[0], "weight", amount=0.3)
    prune.remove(model.layers[0], "weight")
    assert (model.layers[0].weight == 0).any()
    assert judged(model).passed


def test_a_bias_of_zeros_makes_a_bias_free_layer_comparable() -> None:
    model = replaced("layers", nn.Linear(7, 7, bias=False))
    model.layers[0].bias = nn.Parameter(torch.zeros(7).double())
    assert judged(model).passed


def test_a_subclass_of_the_right_module_is_judged_by_what_it_computes() -> None:
    class Half(nn.Tanh):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return super().forward(z) / 2

    check_network(replaced("activations", Half()))
    assert [row.name for row in judged(replaced("activations", Half())).wrong][:2] == ["a1", "dz1"]


@pytest.mark.parametrize(
    "options", [{}, {"activation": "prelu"}, {"normalization": "batch_norm", "dropout": 0.5}]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_network_that_mlp_builds_is_accepted(options: Any, dtype: torch.dtype) -> None:
    state = torch.get_rng_state()
    for training in (True, False):
        check_network(MLP((5, 1, 3, 2), **options, dtype=dtype).train(training))
    assert torch.equal(torch.get_rng_state(), state)


# ---- what could not be judged has not passed -------------------------------------------------------


def blown_up() -> tuple[MLP, Array, Any, str]:
    """Weights that are finite and values that are not."""
    model = given(activation="relu", dtype=torch.float32)
    with torch.no_grad():
        for layer in model.layers:
            layer.weight.mul_(1e20)
    return model, X, Y, "cross_entropy"


def beyond_squares() -> tuple[MLP, Array, Any, str]:
    """Everything is finite but the loss, whose squares overflow."""
    return given(), X, np.full((8, 3), 1e200), "mse"


@pytest.mark.parametrize("make", [blown_up, beyond_squares])
def test_what_could_not_be_judged_has_not_passed(make: Callable[[], Any]) -> None:
    model, x, y, loss = make()
    report = judged(model, x, y, loss)
    assert (report.verdict, report.passed) == ("undecided", False)
    assert report.unjudged
    assert f"not judged: {report.unjudged[0].name}" in report.summary()
    with pytest.raises(
        WrongGradientError, match=r"was not judged: (its inputs are not finite|the bound overflows)"
    ):
        report.raise_if_wrong()


def test_a_unit_at_a_kink_is_no_reason_to_fail() -> None:
    model = MLP((2, 2), dtype=torch.float64)
    with torch.no_grad():
        model.layers[0].weight.copy_(torch.eye(2))
        model.layers[0].bias.zero_()
    report = judged(model, [[2.0, 1.0], [0.25, 0.5]], [0, 1], "multi_margin")
    assert (report.verdict, report.passed, report.unjudged) == ("undecided", True, [])
