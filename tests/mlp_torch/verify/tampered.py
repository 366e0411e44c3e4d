"""Networks that were tampered with, each in a way that `compare` cannot express."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.ao import quantization

from mlp_torch.model import MLP
from mlp_torch.verify import ComparisonReport, compare

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
