"""What `compare` cannot judge it refuses in one line: what, where, and what to do; or it is judged right."""

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.ao import quantization
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

from manual.numbers import Array
from mlp_torch.errors import UserError
from mlp_torch.model import MLP
from mlp_torch.verify import ComparisonReport, WrongGradientError, compare
from mlp_torch.verify.refusals import check_network

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(8, 7)), RNG.integers(0, 3, 8)


def given(**options: Any) -> MLP:
    """Equal widths, so that layers can be exchanged and tied."""
    return MLP((7, 7, 7, 3), **{"activation": "tanh", "seed": 3, "dtype": torch.float64, **options})


def judged(
    model: Any, x: Any = X, y: Any = Y, loss: str = "cross_entropy", **options: Any
) -> ComparisonReport:
    return compare(model, x, y, loss=loss, **options)


def with_forward(forward: Callable[..., Any], **options: Any) -> MLP:
    """The network with a forward pass of one's own, which is given the network, the usual pass and x."""
    own = type("Own", (MLP,), {"forward": lambda self, x: forward(self, super(own, self).forward, x)})
    model = given(**options)
    model.__class__ = own
    return model


def tied(what: str) -> MLP:
    model = given(activation="prelu")
    part, _, name = what.partition(".")
    if not name:
        getattr(model, part)[1] = getattr(model, part)[0]
    else:
        setattr(getattr(model, part)[1], name, getattr(getattr(model, part)[0], name))
    return model


def replaced(part: str, module: nn.Module, **options: Any) -> MLP:
    model = given(**options)
    getattr(model, part)[0] = module.double()
    return model


def changed(change: Callable[[MLP], Any], **options: Any) -> MLP:
    model = given(**options)
    change(model)
    return model


def parameter(change: Callable[[torch.Tensor], torch.Tensor], name: str = "weight") -> MLP:
    """layers.1's weight or bias, changed."""
    model = given()
    layer = model.layers[1]
    value = change(getattr(layer, name).detach())
    setattr(layer, name, nn.Parameter(value, requires_grad=value.is_floating_point()))
    return model


def poisoned(name: str, value: float, **options: Any) -> MLP:
    model = given(**options)
    with torch.no_grad():
        dict(model.state_dict(keep_vars=True))[name].view(-1)[0] = value
    return model


def quantised(how: str) -> Any:
    model = given(dtype=torch.float32)
    if how == "dynamic":
        return quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    if how == "qat":
        model.qconfig = quantization.get_default_qat_qconfig("fbgemm")
        return quantization.prepare_qat(model)
    model.qconfig = quantization.get_default_qconfig("fbgemm")
    observed = quantization.prepare(model.eval())
    return observed if how == "observed" else quantization.convert(observed)


def made_in_inference_mode() -> MLP:
    with torch.inference_mode():
        return given()


def shared_layer_twice(model: MLP, usual: Any, x: torch.Tensor) -> torch.Tensor:
    model.layers[0](x)
    return usual(x)


def under_autocast(model: MLP, usual: Any, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return usual(x)


def under_no_grad(model: MLP, usual: Any, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return usual(x)


UTILS = r"torch\.nn\.utils\."
# what the network is, where it is named, and the remedy
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a tied weight": (
        lambda: tied("layers.weight"),
        r"layers\.0\.weight and layers\.1\.weight are tied.*model\.layers\[1\]\.weight = nn\.Parameter",
    ),
    "a tied bias": (lambda: tied("layers.bias"), r"layers\.0\.bias and layers\.1\.bias are tied.*\.clone"),
    "a tied slope": (
        lambda: tied("activations.weight"),
        r"activations\.0\.weight and activations\.1\.weight",
    ),
    "a layer used twice": (lambda: tied("layers"), r"layers\.0 and layers\.1 are one module: give each"),
    "an activation used twice": (lambda: tied("activations"), r"activations\.0 and activations\.1 are one"),
    "no bias": (
        lambda: replaced("layers", nn.Linear(7, 7, bias=False)),
        r"layers\.0\.bias is missing: model\.layers\[0\]\.bias = nn\.Parameter\(torch\.zeros\(7\)\)",
    ),
    "no weight": (
        lambda: changed(lambda m: setattr(m.layers[1], "weight", None)),
        r"layers\.1\.weight is miss",
    ),
    "weight_norm": (
        lambda: changed(lambda m: parametrizations.weight_norm(m.layers[0])),
        rf"layers\.0\.weight is parametrised \(WeightNorm\): {UTILS}parametrize\.remove_parametrizations",
    ),
    "weight_norm by hooks": (
        lambda: changed(lambda m: nn.utils.weight_norm(m.layers[0])),
        rf"layers\.0\.weight is under weight_norm: {UTILS}remove_weight_norm\(model\.layers\[0\], 'weight'\)",
    ),
    "spectral_norm": (
        lambda: changed(lambda m: parametrizations.spectral_norm(m.layers[1])),
        rf"layers\.1\.weight is parametrised \(SpectralNorm\): {UTILS}parametrize",
    ),
    "spectral_norm by hooks": (
        lambda: changed(lambda m: nn.utils.spectral_norm(m.layers[1])),
        rf"layers\.1\.weight is under spectral_norm: {UTILS}remove_spectral_norm",
    ),
    "pruned": (
        lambda: changed(lambda m: prune.l1_unstructured(m.layers[0], "weight", amount=0.3)),
        rf"layers\.0\.weight is pruned: {UTILS}prune\.remove\(model\.layers\[0\], 'weight'\)",
    ),
    "a pruned bias": (
        lambda: changed(lambda m: prune.random_unstructured(m.layers[2], "bias", amount=1)),
        rf"layers\.2\.bias is pruned: {UTILS}prune\.remove\(model\.layers\[2\], 'bias'\)",
    ),
    "quantised dynamically": (
        lambda: quantised("dynamic"),
        r"layers\.0 is quantised \(Linear\): compare the",
    ),
    "quantised while training": (lambda: quantised("qat"), r"layers\.0 is quantised"),
    "observed for quantising": (
        lambda: quantised("observed"),
        r"layers\.0\.activation_post_process is quant",
    ),
    "quantised": (lambda: quantised("static"), r"layers\.0 is quantised"),
    "one layer in float32": (
        lambda: changed(lambda m: m.layers[1].float()),
        r"layers\.1\.weight is torch\.float32 and others are torch\.float64: model\.double\(\)",
    ),
    "one bias in float32": (
        lambda: parameter(torch.Tensor.float, "bias"),
        r"layers\.1\.bias is torch\.float32",
    ),
    "a normalization in float32": (
        lambda: changed(lambda m: m.normalizations[0].float(), normalization="layer_norm"),
        r"normalizations\.0\.weight is torch\.float32 and others are torch\.float64",
    ),
    "an integer weight": (
        lambda: parameter(torch.Tensor.long),
        r"layers\.1\.weight is torch\.int64 and others",
    ),
    "complex": (lambda: given().to(torch.complex128), r"the model is torch\.complex128; .*model\.double\(\)"),
    "on the meta device": (lambda: given().to("meta"), r"layers\.0\.weight is on the meta device.*to_empty"),
    "one layer on the meta device": (
        lambda: changed(lambda m: m.layers[1].to("meta")),
        r"layers\.1\.weight is on the meta device",
    ),
    "made in inference mode": (
        made_in_inference_mode,
        r"layers\.0\.weight was made in torch\.inference_mode",
    ),
    "sparse": (
        lambda: parameter(torch.Tensor.to_sparse),
        r"layers\.1\.weight is stored as torch\.sparse_coo",
    ),
    "sparse by rows": (
        lambda: parameter(torch.Tensor.to_sparse_csr),
        r"layers\.1\.weight .*sparse_csr.*dense",
    ),
    "one frozen weight": (
        lambda: changed(lambda m: m.layers[0].weight.requires_grad_(False)),
        r"layers\.0\.weight is frozen.*model\.layers\[0\]\.weight\.requires_grad_\(True\)",
    ),
    "frozen": (lambda: given().requires_grad_(False), r"layers\.0\.weight is frozen"),
    "another activation": (
        lambda: replaced("activations", nn.Mish()),
        r"activations\.0 is Mish, where this architecture has Tanh: compare judges networks as",
    ),
    "another constant": (
        lambda: replaced("activations", nn.ELU(2.0), activation="elu"),
        r"activations\.0 is ELU with alpha=2\.0, where this architecture has ELU\(alpha=1\.0\)",
    ),
    "a slope for each unit": (
        lambda: replaced("activations", nn.PReLU(7), activation="prelu"),
        r"activations\.0 is PReLU with num_parameters=7",
    ),
    "an activation in place": (
        lambda: replaced("activations", nn.ReLU(inplace=True), activation="relu"),
        r"activations\.0 is ReLU with inplace=True",
    ),
    "a layer of layers": (
        lambda: replaced("layers", nn.Sequential(nn.Linear(7, 7), nn.Dropout())),
        r"layers\.0 is Sequential, where this architecture has Linear",
    ),
    "another layer": (lambda: replaced("layers", nn.Bilinear(7, 7, 7)), r"layers\.0 is Bilinear"),
    "another width": (
        lambda: changed(lambda m: m.layers.insert(1, nn.Linear(7, 7).double())),
        r"layers\.2 is Linear with out_features=7, where this architecture has Linear\(in_features=7, out_",
    ),
    "a layer more": (
        lambda: changed(lambda m: m.layers.append(nn.Linear(3, 3).double())),
        r"layers\.3 is Linear\(.*\), where this architecture has nothing",
    ),
    "a layer less": (lambda: changed(lambda m: m.layers.__delitem__(2)), r"layers\.2 is missing"),
    "a module beside": (
        lambda: changed(lambda m: setattr(m, "extra", nn.Linear(3, 3).double())),
        r"extra\.weight is no part of this architecture",
    ),
    "a parameter beside": (
        lambda: changed(lambda m: m.register_parameter("scale", nn.Parameter(torch.ones(1).double()))),
        r"scale is no part of this architecture",
    ),
    "a lazy layer": (lambda: replaced("layers", nn.LazyLinear(7)), r"layers\.0 is LazyLinear"),
    "torch's dropout": (
        lambda: replaced("dropouts", nn.Dropout(0.5), dropout=0.5),
        r"dropouts\.0 is Dropout\(p=0\.5, inplace=False\), where this architecture has Dropout\(p=0\.5\)",
    ),
    "a dropout in evaluation": (
        lambda: changed(lambda m: m.dropouts[0].eval(), dropout=0.5),
        r"dropouts\.0 is in evaluation mode, the network in training: call model\.train\(\)",
    ),
    "a batch_norm in evaluation": (
        lambda: changed(lambda m: m.normalizations[0].eval(), normalization="batch_norm"),
        r"normalizations\.0 is in evaluation mode, the network in training",
    ),
    "a batch_norm in training": (
        lambda: changed(lambda m: m.eval().normalizations[1].train(), normalization="batch_norm"),
        r"normalizations\.1 is in training mode, the network in evaluation",
    ),
    "another epsilon": (
        lambda: changed(lambda m: setattr(m.normalizations[0], "eps", 0.1), normalization="batch_norm"),
        r"normalizations\.0 is BatchNorm1d with eps=0\.1",
    ),
    "a batch_norm that keeps nothing": (
        lambda: replaced(
            "normalizations", nn.BatchNorm1d(7, track_running_stats=False), normalization="batch_norm"
        ),
        r"normalizations\.0 is BatchNorm1d with track_running_stats=False",
    ),
    "a layer_norm without weights": (
        lambda: replaced(
            "normalizations", nn.LayerNorm(7, elementwise_affine=False), normalization="layer_norm"
        ),
        r"normalizations\.0 is LayerNorm with elementwise_affine=False",
    ),
    "NaN in a weight": (
        lambda: poisoned("layers.0.weight", np.nan),
        r"layers\.0\.weight\[0, 0\] is nan: load weights that are finite",
    ),
    "infinity in a bias": (lambda: poisoned("layers.1.bias", -np.inf), r"layers\.1\.bias\[0\] is -inf"),
    "NaN in a running mean": (
        lambda: poisoned("normalizations.0.running_mean", np.nan, normalization="batch_norm"),
        r"normalizations\.0\.running_mean\[0\] is nan",
    ),
    "a forward that leaves a layer out": (
        lambda: with_forward(lambda self, usual, x: self.layers[2](self.layers[0](x).tanh())),
        r"z2 was not computed: the network's forward leaves Linear\(.*\) out",
    ),
    "a forward that runs a layer twice": (
        lambda: with_forward(shared_layer_twice),
        r"z1 is computed twice in one pass",
    ),
    "a checkpointed forward": (
        lambda: with_forward(lambda self, usual, x: checkpoint(usual, x, use_reentrant=False)),
        r"z1 is computed twice in one pass",
    ),
    "a forward of two outputs": (
        lambda: with_forward(lambda self, usual, x: (usual(x), x)),
        r"the network's output is a tuple, where a tensor is needed",
    ),
    "a forward that casts": (
        lambda: with_forward(under_autocast, dtype=torch.float32),
        r"z1 is torch\.bfloat16 in a network of torch\.float32: leave autocast and casts out",
    ),
    "a forward without gradients": (lambda: with_forward(under_no_grad), r"z1 is detached"),
    "a forward that detaches x": (
        lambda: with_forward(lambda self, usual, x: usual(x.detach())),
        r"autograd found no gradient for dx: is it detached\?",
    ),
    "a hook that detaches": (
        lambda: changed(lambda m: m.layers[1].register_forward_hook(lambda *a: a[2].detach())),
        r"z2 is detached",
    ),
}


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
