"""The networks that `compare` refuses: how each is made, and the line that names place and remedy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

from tests.mlp_torch.verify.tampered import (
    changed,
    given,
    made_in_inference_mode,
    parameter,
    poisoned,
    quantised,
    replaced,
    shared_layer_twice,
    tied,
    under_autocast,
    under_no_grad,
    with_forward,
)

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
