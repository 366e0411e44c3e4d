"""`mlp check`: reads an .npz of arrays, or a function of a Python file, and prints the report."""

import sys
from collections.abc import Mapping
from typing import Any

from mlp_torch.archives import arrays_of
from mlp_torch.check.authors_file import listing
from mlp_torch.check.config import Check
from mlp_torch.check.describe.activations import FORMS
from mlp_torch.check.describe.layers import Dropout, Layer, Penalty, as_float, layers_in_order
from mlp_torch.check.gradients import check_gradients, check_step
from mlp_torch.check.lines.line import diff, write
from mlp_torch.check.report import CheckReport
from mlp_torch.check.submission.judged import judged
from mlp_torch.errors import UserError


def run(config: Check) -> int:
    """0: right, 1: wrong, scaled or another loss's, 2: not comparable. Raises UserError for a mistake."""
    if not config.function and not config.file.endswith(".npz"):
        print(listing(config.path))
        return 2
    report = _of_arrays(config) if config.file.endswith(".npz") else _of_function(config)
    print(report.to_json() if config.json else report)
    if config.fix or config.write:
        _mend(config, report)
    return {"right": 0, "not_comparable": 2}.get(report.verdict, 1)


def _mend(config: Check, report: CheckReport) -> None:
    """The diff of the lines that mend, on stderr beside --json; written where that is asked for."""
    text = diff(report.lines)
    out = sys.stderr if config.json else sys.stdout
    print(text or "no line that mends it was found", end="" if text else "\n", file=out)
    if not text or not config.write:
        return
    if not config.yes:
        if not sys.stdin.isatty():
            raise UserError("--write: asks before it changes a file; say --yes where nobody can answer")
        if input("write this? [y/N] ").strip().lower() not in ("y", "yes"):
            return
    for file in write(report.lines):
        print(f"written: {file}; the original is {file}.orig", file=out)


def options(config: Check) -> dict[str, Any]:
    """The keyword arguments that the flags stand for, layers aside."""
    layout: Any = config.weight_layout or None
    found: dict[str, Any] = {
        "loss": config.loss,
        "reduction": config.reduction,
        "samples": config.samples,
        "output_samples": config.output_samples,
        "weight_layout": layout[0] if layout and len(layout) == 1 else layout,
        "ones_in_x": config.ones_in_x,
        "ascent": config.ascent,
    }
    if config.l2:
        found["l2"] = Penalty(config.l2, not config.l2_full, config.l2_over_samples, config.l2_on_biases)
    if config.l1:
        found["l1"] = Penalty(config.l1)
    return found


def _of_arrays(config: Check) -> CheckReport:
    arrays = arrays_of(config.file, config.max_bytes)
    for name in ("x", "y"):
        if name not in arrays:
            raise UserError(f"{config.file}: holds no {name}; it holds {', '.join(arrays) or 'nothing'}")
    x, y = arrays.pop("x"), arrays.pop("y")
    extra: dict[str, Any] = {k: arrays.pop(k) for k in ("output", "sample_weight") if k in arrays}
    if (loss := arrays.pop("loss", arrays.pop("loss_value", None))) is not None:
        if loss.size != 1 or loss.dtype.kind not in "biuf":
            raise UserError(f"{config.file}: loss is {loss.dtype} of shape {loss.shape}; it must be a number")
        extra["loss_value"] = float(loss.reshape(()))
    masks = {k: arrays.pop(k) for k in list(arrays) if k.startswith("mask")}
    parameters, gradients, after = sorted_out(arrays)
    if not gradients and not after:
        raise UserError(
            f"{config.file}: holds no gradient; name it dW1, grad_W1 or W1_grad, or W1_after after a step"
        )
    extra |= options(config)
    extra["layers"] = _layers(config, parameters, x, masks)
    if not gradients:
        if config.lr is None:
            raise UserError("--lr: say the learning rate; the file holds parameters before and after a step")
        return check_step(parameters, after, config.lr, x, y, **extra)
    return check_gradients(parameters, gradients, x, y, lr=config.lr, **extra)


def sorted_out(arrays: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """(parameters, gradients, parameters after a step), told apart by the names of a file's arrays."""
    parameters: dict[str, Any] = {}
    gradients: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for name, value in arrays.items():
        for shown, found in (("d{}", gradients), ("d_{}", gradients), ("grad_{}", gradients),
                             ("{}_grad", gradients),
                             ("g{}", gradients), ("{}_after", after), ("after_{}", after)):  # fmt: skip
            head, _, tail = shown.partition("{}")
            bare = name[len(head) : len(name) - len(tail)]
            if name.startswith(head) and name.endswith(tail) and bare in arrays and bare != name:
                found[bare] = value
                break
        else:
            parameters[name] = value
    return parameters, gradients, after


def _layers(config: Check, parameters: dict[str, Any], x: Any, masks: Mapping[str, Any]) -> list[Layer]:
    plain = layers_in_order({k: as_float(v, k) for k, v in parameters.items()}, list(config.activations), x)
    if config.dropout is not None and not masks:
        raise UserError(f"--dropout: {config.file} holds no masks; name them mask1, mask2 …, one a layer")
    if strange := [m for m in masks if m not in {f"mask{i}" for i, _ in enumerate(plain, start=1)}]:
        raise UserError(f"{config.file}: {', '.join(strange)} is the mask of no layer; mask1 is the first's")
    layers = []
    for i, layer in enumerate(plain, start=1):
        name = layer.activation
        constants = (
            {"alpha": config.alpha} if config.alpha is not None and "alpha" in FORMS[name].defaults else {}
        )
        dropout = None
        if f"mask{i}" in masks:
            if config.dropout is None:
                raise UserError("--dropout: say the probability of dropping; the file holds dropout masks")
            dropout = Dropout(config.dropout, masks[f"mask{i}"], not config.mask_unscaled)
        layers.append(Layer(layer.weight, layer.bias, name, constants, config.bias_in_weight, dropout))
    return layers


def _of_function(config: Check) -> CheckReport:
    if config.dropout is not None:
        raise UserError("--dropout: serves FILE.npz with masks; a function draws or holds its own")
    described = {k: v for k, v in options(config).items() if v not in (None, False)} if config.loss else {}
    if config.activations:
        described["activations"] = list(config.activations)
    return judged(
        config.path, config.function, described, config.timeout, config.max_seconds, config.max_memory
    )
