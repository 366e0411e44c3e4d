"""What must hold of the arrays and options that a person gives, each mistake told by its name."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.activations import ALIASES, FORMS
from mlp_torch.check.describe.layers import Layer, Penalty, as_float
from mlp_torch.errors import UserError


def need_finite(array: Array, name: str) -> None:
    """Raise UserError where the array is empty or holds NaN or infinite entries."""
    if not array.size:
        raise UserError(f"{name}: is empty, of shape {array.shape}")
    bad = ~np.isfinite(array)
    if bad.any():
        place = [int(i) for i in np.argwhere(bad)[0]]
        where = f" at {place}" if place else ""
        raise UserError(f"{name}: holds {array[tuple(place)]}{where}; nothing can be compared with that")


def need_rate(lr: Any) -> None:
    """Raise UserError unless the learning rate is a finite number above 0."""
    try:
        fine = math.isfinite(float(lr)) and float(lr) > 0
    except (TypeError, ValueError):
        fine = False
    if not fine:
        raise UserError(f"lr={lr!r}: must be a finite number above 0; for gradient ascent say ascent=True")


def need_layers(layers: Any, activations: Any) -> list[Layer] | None:
    """The layers, tuples and dicts read as Layer. Raises UserError unless exactly one of the two is given,
    and it is a list of the right things.
    """
    if (layers is None) == (activations is None):
        raise UserError("say either layers=[Layer(…), …] or activations=['relu', …]")
    if layers is not None:
        layers = [_layer(v) for v in layers] if isinstance(layers, list | tuple) else layers
    for option, value, kind, shown in (
        ("layers", layers, Layer, "[Layer(…), …]"),
        ("activations", activations, str, "['relu', 'softmax']"),
    ):
        if value is None:
            continue
        if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
            raise UserError(f"{option}={value!r}: give one a layer, in a list, such as {option}={shown}")
        if not len(value):
            raise UserError(f"{option}=[]: give one a layer, such as {option}={shown}")
        if wrong := [v for v in value if not isinstance(v, kind) and not (v is None and kind is str)]:
            raise UserError(f"{option}: {wrong[0]!r} is no {kind.__name__}; such as {option}={shown}")
    return None if layers is None else list(layers)


def _layer(value: Any) -> Any:
    """("W1", "b1", "tanh"), ("W1", "tanh") or a dict of Layer's arguments as a Layer."""
    shown = 'Layer("W1", "b1", "tanh")'
    if isinstance(value, tuple | list):
        last = value[-1] if value else None
        known = isinstance(last, str) and ALIASES.get(last, last) in FORMS
        if not 1 <= len(value) <= 3 or (len(value) == 3 and not isinstance(last, str)):
            raise UserError(f"layers: {value!r} is no layer; write {shown}")
        return Layer(value[0], activation=value[1]) if len(value) == 2 and known else Layer(*value)
    if isinstance(value, Mapping):
        try:
            return Layer(**value)
        except TypeError:
            raise UserError(f"layers: {value!r} are not the arguments of a layer; write {shown}") from None
    return value


def named(layers: Sequence[Layer], values: Mapping[str, Any]) -> list[Layer]:
    """The layers with the names of a list's arrays: 0 is parameters[0], "0.1" parameters[0][1]."""

    def own(name: Any) -> Any:
        text = str(name)
        listed = "parameters" + "".join(f"[{i}]" for i in text.split("."))
        return None if name is None else listed if text not in values and listed in values else text

    found = []
    for layer in layers:
        slopes = {k: own(v) if isinstance(v, str) else v for k, v in layer.activation_parameters.items()}
        found.append(
            replace(layer, weight=own(layer.weight), bias=own(layer.bias), activation_parameters=slopes)
        )
    return found


def used(layers: Sequence[Layer]) -> list[str]:
    """The names of the parameters that the layers use."""
    names: list[str] = []
    for layer in layers:
        slopes = [v for v in layer.activation_parameters.values() if isinstance(v, str)]
        names += [str(n) for n in (layer.weight, layer.bias, *slopes) if n is not None]
    return list(dict.fromkeys(names))


def need_gradients(layers: Sequence[Layer], hand: Mapping[str, Any], what: str) -> None:
    """Raise UserError where a parameter that the layers use has no gradient (or no value after a step)."""
    if missing := [name for name in used(layers) if name not in hand]:
        raise UserError(
            f"no {what} of {', '.join(missing)}, which the layers use: give one of its shape, under its name"
        )


def need_masks(layers: Sequence[Layer]) -> None:
    """Raise UserError where a mask is not finite, or not 0/1 though it is said to be unscaled."""
    for i, layer in enumerate(layers, start=1):
        if layer.dropout is None:
            continue
        mask = as_float(layer.dropout.mask, f"mask of layer {i}")
        need_finite(mask, f"mask of layer {i}")
        if not layer.dropout.scaled and not np.isin(mask, (0, 1)).all():
            raise UserError(
                f"layer {i}: Dropout(scaled=False) takes a mask of 0 and 1, and this holds {mask.max():g}; "
                "if it already holds 1/(1 − p), say scaled=True"
            )


def penalty(given: Any, option: str, names: Mapping[str, Any]) -> Penalty | None:
    """The Penalty that a number stands for. Raises UserError for an array's name that is none."""
    if given is None or given is False:
        return None
    if isinstance(given, float | int | np.number):
        return Penalty(float(given))
    if not isinstance(given, Penalty):
        raise UserError(f"{option}={given!r}: give Penalty(…) or its coefficient")
    if given.per_array is not None:
        turned = {
            f"parameters[{k}]" if str(k) not in names and f"parameters[{k}]" in names else k: v
            for k, v in given.per_array.items()
        }
        given = replace(given, per_array=turned)
    for name, value in (given.per_array or {}).items():
        if str(name) not in names:
            raise UserError(f"{option}: per_array names {name!r}, and the parameters are {', '.join(names)}")
        if not math.isfinite(value):
            raise UserError(f"{option}: per_array gives {name!r} the coefficient {value}")
    return given


def need_previous(previous: Mapping[str, Array], values: Mapping[str, Array]) -> None:
    """Raise UserError where a gradient of the call before has another size than its parameter."""
    for name, value in previous.items():
        if name in values and value.size != values[name].size:
            shapes = f"has shape {value.shape}, the parameter {values[name].shape}"
            raise UserError(f"previous: the gradient of {name} {shapes}")
