"""Layouts from shapes: every reading of the author's arrays that fits, and canonical arrays of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.activations import FORMS
from mlp_torch.check.describe.forward import Affine, Network, Part, Penalties
from mlp_torch.check.describe.layers import LAYOUTS, Layer, Penalty, as_float
from mlp_torch.check.describe.shapes import MisfitError, orient, target
from mlp_torch.errors import UserError


@dataclass(frozen=True)
class Given:
    """What the author gave, arrays in float64 under their names, before any layout is chosen."""

    parameters: Mapping[str, Array]
    layers: Sequence[Layer]
    x: Array
    y: Array
    loss: str
    reduction: str
    samples: str | None = None
    output_samples: str | None = None
    weight_layout: Any = None
    ones_in_x: bool = False
    l2: Penalty | None = None
    l1: Penalty | None = None
    sample_weight: Array | None = None


def readings(given: Given) -> list[Network]:
    """Every Network that the shapes allow. Raises MisfitError where there is none."""
    problems: list[Network] = []
    broken: list[str] = []
    for side, x in _orientations(given):
        try:
            for layers in _walk(given, x.shape[1], 0):
                problems.append(_problem(given, side, x, layers))
        except MisfitError as misfit:
            broken.append(f"samples in {side}: {misfit}")
    if not problems:
        raise MisfitError("; ".join(dict.fromkeys(broken)) or "x has no shape that a network takes")
    return _plain(problems, given)


def _plain(problems: list[Network], given: Given) -> list[Network]:
    """Without duplicates, and without mixed weight layouts where one layout does for every layer."""
    unique: dict[Any, Network] = {}
    for p in problems:
        unique.setdefault((p.x.shape, p.x.tobytes(), p.y.tobytes(), *(v.W.tobytes() for v in p.layers)), p)
    kept = list(unique.values())
    if given.weight_layout is None or isinstance(given.weight_layout, str):
        uniform = [p for p in kept if len({lay for lay in p.choices["weight_layout"] if lay}) <= 1]
        kept = uniform or kept
    return kept


def _orientations(given: Given) -> list[tuple[str, Array]]:
    x = given.x
    if given.samples not in (None, "rows", "columns"):
        raise UserError(f"samples={given.samples!r}: is 'rows' or 'columns'")
    if x.ndim > 2:
        raise UserError(f"x has shape {x.shape}; give it as a matrix, x.reshape({x.shape[0]}, -1)")
    if x.ndim < 2:
        pairs = [("rows", x.reshape(1, -1)), ("rows", x.reshape(-1, 1))]
    else:
        pairs = [("rows", x), ("columns", x.T)]
        if given.samples is not None:
            first = [p for p in pairs if p[0] == given.samples]
            one = [p for p in pairs if p[0] != given.samples and len(p[1]) == 1]
            # one sample may lie either way: the other orientation only where the asked one cannot fit
            pairs = first + (one if not _fits(given, first[0][1]) else [])
    if given.ones_in_x:
        pairs = [(s, _strip(given, a)) for s, a in pairs if _has_ones(given, a)]
        if not pairs:
            raise UserError("ones_in_x=True: x has no column of ones where bias_in_weight says")
    return pairs


def _fits(given: Given, x: Array) -> bool:
    width = x.shape[1] - (1 if given.ones_in_x else 0)
    try:
        return bool(_walk(given, width, 0))
    except MisfitError:
        return False


def _side(given: Given) -> int:
    return 0 if given.layers[0].bias_in_weight == "first" else -1


def _has_ones(given: Given, x: Array) -> bool:
    if given.layers[0].bias_in_weight is None:
        raise UserError("ones_in_x=True: say bias_in_weight='first' or 'last' in the first Layer")
    return x.shape[1] > 1 and bool(np.all(x[:, _side(given)] == 1))


def _strip(given: Given, x: Array) -> Array:
    return x[:, 1:] if _side(given) == 0 else x[:, :-1]


def _layout_of(given: Given, i: int) -> tuple[str, ...]:
    asked = given.layers[i].weight_layout
    if asked is None and given.weight_layout is not None:
        layouts: Any = given.weight_layout
        if isinstance(layouts, str):
            asked = layouts
        elif isinstance(layouts, Mapping):
            asked = layouts.get(given.layers[i].weight)
        elif isinstance(layouts, Sequence) and i < len(layouts):
            asked = layouts[i]
    if asked is None:
        return LAYOUTS
    asked = asked.replace(" ", "") if isinstance(asked, str) else asked
    if asked not in LAYOUTS:
        raise UserError(f"weight_layout={asked!r}: is 'in,out' or 'out,in', or one of them a layer")
    return (asked,)


def _walk(given: Given, width: int, i: int) -> list[list[tuple[str | None, Array, Array | None]]]:
    """All (layout, W (in, out), b) of the layers from i on, for an input of `width`."""
    if i == len(given.layers):
        return [[]]
    layer = given.layers[i]
    name = str(layer.weight)
    raw = given.parameters[name]
    extra = 1 if layer.bias_in_weight else 0
    rows = width + extra
    options: list[tuple[str | None, Array]] = []
    if raw.ndim <= 1:
        if raw.size == rows:
            options.append((None, raw.reshape(rows, 1)))
        elif rows == 1:
            options.append((None, raw.reshape(1, -1)))
    elif raw.ndim == 2:
        for layout in _layout_of(given, i):
            W = raw if layout == "in,out" else raw.T
            if W.shape[0] == rows:
                options.append((layout, W))
    if not options:
        hint = ""
        if not extra and layer.bias is None and width + 1 in raw.shape:
            hint = "; if a row of it is the bias, set bias_in_weight"
        raise MisfitError(f"{name} has shape {raw.shape}, and {rows} inputs come to layer {i + 1}{hint}")
    found: list[list[tuple[str | None, Array, Array | None]]] = []
    broken: MisfitError | None = None
    for way, W in options:
        b: Array | None = None
        if extra:
            b = W[0] if layer.bias_in_weight == "first" else W[-1]
            W = W[1:] if layer.bias_in_weight == "first" else W[:-1]
        elif layer.bias is not None:
            b = given.parameters[str(layer.bias)].reshape(-1)
            if b.size not in (1, W.shape[1]):
                broken = MisfitError(
                    f"{layer.bias} has {b.size} entries, and layer {i + 1} has {W.shape[1]} outputs"
                )
                continue
        try:
            found += [[(way, W, b), *rest] for rest in _walk(given, W.shape[1], i + 1)]
        except MisfitError as misfit:
            broken = misfit
    if not found:
        raise broken or MisfitError("no layout fits")
    return found


def _problem(
    given: Given, samples: str, x: Array, walked: list[tuple[str | None, Array, Array | None]]
) -> Network:
    n = len(x)
    side = given.output_samples or samples
    layers: list[Affine] = []
    penalties: dict[tuple[int, str], Penalties] = {}
    for i, (asked, (layout, W, b)) in enumerate(zip(given.layers, walked, strict=True), start=1):
        name, fold = str(asked.weight), asked.bias_in_weight
        parts = [Part(name, i, "W", layout or "in,out", fold)]
        if fold:
            parts.append(Part(name, i, "b", layout or "in,out", fold))
        elif b is not None:
            parts.append(Part(str(asked.bias), i, "b"))
        constants: dict[str, Any] = dict(FORMS[asked.activation].defaults)
        for key, value in asked.activation_parameters.items():
            if key not in constants:
                raise UserError(f"activation_parameters: {asked.activation} has no {key!r}")
            if isinstance(value, str):
                parts.append(Part(value, i, "slope"))
                value = given.parameters[value].reshape(-1)
            constants[key] = np.asarray(value, dtype=float)
            if constants[key].size not in (1, W.shape[1]) or constants[key].ndim > 1:
                raise MisfitError(f"{key} of layer {i} has shape {constants[key].shape}; give one number")
        mask, keep, scaled = None, 1.0, True
        if asked.dropout is not None:
            mask = orient(as_float(asked.dropout.mask, "mask"), n, W.shape[1], side, f"mask of layer {i}")
            keep, scaled = 1 - asked.dropout.p, asked.dropout.scaled
        layers.append(Affine(i, W, b, asked.activation, constants, mask, keep, scaled, tuple(parts)))
        for part in parts:
            penalties[i, part.role] = Penalties(
                *(_coefficient(p, part, n, square) for p, square in ((given.l2, True), (given.l1, False)))
            )
    lowest = {part.name: part.layer for layer in reversed(layers) for part in layer.parts}
    for layer in layers:  # a weight used in several layers is penalised once
        for part in layer.parts:
            if lowest[part.name] != part.layer:
                penalties[part.layer, part.role] = Penalties()
    k = layers[-1].W.shape[1]
    y = target(given.loss, given.y, n, k, side)
    per = {"sum": 1, "mean_over_samples": n, "mean_over_all": n * k}[given.reduction]
    weight = np.full((n, 1), 1 / per)
    if given.sample_weight is not None:
        if given.sample_weight.size != n:
            raise MisfitError(f"sample_weight has {given.sample_weight.size} entries for {n} samples")
        weight = weight * given.sample_weight.reshape(n, 1)
    choices = {
        "samples": samples,
        "weight_layout": tuple(layout for layout, _, _ in walked),
        "output_samples": side,
        "n": n,
    }
    return Network(layers, x, y, given.loss, given.reduction, weight, given.sample_weight, penalties, choices)


def _coefficient(penalty: Penalty | None, part: Part, n: int, square: bool) -> float:
    if penalty is None or part.role == "slope":
        return 0.0
    c = penalty.of(part.name, part.role == "b")
    return c * (0.5 if square and penalty.half else 1.0) / (n if penalty.over_samples else 1)
