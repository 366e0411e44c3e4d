"""What torch, Keras, scikit-learn and textbooks call the losses and activations, and what they are here."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ParamSpec

import numpy as np

from mlp_torch.check.describe.activations import ALIASES, FORMS
from mlp_torch.check.describe.losses import LOSSES
from mlp_torch.check.report import CheckReport
from mlp_torch.errors import UserError

P = ParamSpec("P")

SPREAD = ("squared_error", "half_squared_error", "absolute_error", "bce", "bce_with_logits")
# Compared without case, underscores and blanks, and without a trailing "loss" or "cost".
ACTIVATIONS = {
    **ALIASES,
    "lin": "identity",
    "id": "identity",
    "": "identity",
    "sigm": "sigmoid",
    "expit": "sigmoid",
    "logsig": "sigmoid",
    "leaky": "leaky_relu",
    "parametric_relu": "prelu",
    "hard_tanh": "hardtanh",
    "soft_plus": "softplus",
    "soft_max": "softmax",
    "rectifier": "relu",
    "rectified_linear": "relu",
    "gelu_new": "gelu_tanh",
    "gelu_approximate": "gelu_tanh",
}
NAMES = {
    "mse": "squared_error",
    "l2": "squared_error",
    "squared": "squared_error",
    "square": "squared_error",
    "mean_squared_error": "squared_error",
    "quadratic": "squared_error",
    "half_mse": "half_squared_error",
    "half_l2": "half_squared_error",
    "mae": "absolute_error",
    "l1": "absolute_error",
    "absolute": "absolute_error",
    "mean_absolute_error": "absolute_error",
    "binary_cross_entropy": "bce",
    "binary_crossentropy": "bce",
    "bce_with_logits": "bce_with_logits",
    "bce_logits": "bce_with_logits",
    "bce_from_logits": "bce_with_logits",
    "binary_cross_entropy_with_logits": "bce_with_logits",
    "sigmoid_cross_entropy": "bce_with_logits",
    "sigmoid_cross_entropy_with_logits": "bce_with_logits",
    "categorical_cross_entropy": "cross_entropy",
    "sparse_categorical_cross_entropy": "cross_entropy",
    "categorical_crossentropy": "cross_entropy",
    "sparse_categorical_crossentropy": "cross_entropy",
    "crossentropy": "cross_entropy",
    "ce": "cross_entropy",
    "xent": "cross_entropy",
    "softmax_cross_entropy": "cross_entropy",
    "softmax_cross_entropy_with_logits": "cross_entropy_from_logits",
    "sparse_softmax_cross_entropy_with_logits": "cross_entropy_from_logits",
    "cross_entropy_with_logits": "cross_entropy_from_logits",
    "nll": "cross_entropy",
    "negative_log_likelihood": "cross_entropy",
    "logloss": "cross_entropy",
    "log": "cross_entropy",
    "logistic": "bce",
    "hinge": "hinge",
    "svm": "multiclass_hinge",
    "multi_margin": "multiclass_hinge",
    "multiclass_svm": "multiclass_hinge",
}
# By the activation of the output layer: a name that stands for probabilities and for logits alike.
OVER = {
    ("cross_entropy", "identity"): "cross_entropy_from_logits",
    ("bce", "identity"): "bce_with_logits",
}
EXACT = ("bceloss",)  # takes probabilities, whatever it is given
ONE = {"cross_entropy": "bce", "cross_entropy_from_logits": "bce_with_logits"}  # over one output


def bare(name: Any) -> str:
    """The last part of a dotted name, without case, underscores, hyphens, blanks and ()."""
    return "".join(c for c in str(name).rpartition(".")[2].lower() if c.isalnum())


_LOSSES = {bare(name): meant for name, meant in (*NAMES.items(), *((n, n) for n in LOSSES))}
_ACTIVATIONS = {bare(name): meant for name, meant in (*ACTIVATIONS.items(), *((n, n) for n in FORMS))}


def _text(given: Any) -> str:
    """A name, or that of a function, a class, or a class's object (torch.nn.ReLU, torch.nn.MSELoss())."""
    return given if isinstance(given, str) else str(getattr(given, "__name__", type(given).__name__))


def activation(given: Any) -> Any:
    """Our name of an activation, or the name that was given where it is none of those that are known."""
    return "identity" if given is None else _ACTIVATIONS.get(bare(_text(given)), _text(given))


def loss(given: Any, last: str | None = None, outputs: int | None = None) -> tuple[Any, str]:
    """(our name of a loss, a note where it is another than the given one); as given where it is unknown.

    `last` is the output's activation, `outputs` how many there are. Torch's cross_entropy and NLLLoss take
    logits, ours of the same name takes probabilities: the last activation tells which is meant. Raises
    UserError for cross_entropy over one output.
    """
    if given is None:
        return None, ""
    shown, key = _text(given), bare(_text(given))
    meant = _LOSSES.get(key) or _LOSSES.get(key.removesuffix("loss")) or _LOSSES.get(key.removesuffix("cost"))
    if meant is None:
        return shown, ""
    if outputs == 1 and meant in ONE and last in ("sigmoid", "identity"):
        if shown in LOSSES:
            best = ONE[meant]
            raise UserError(f"loss={shown!r}: over one {last} output {best} is meant; say loss={best!r}")
        meant = ONE[meant]
    settled = meant if key in EXACT else OVER.get((meant, last or ""), meant)
    if shown == settled or (shown in LOSSES and shown != "cross_entropy"):
        return shown, ""
    over = f", because the last activation is {last}" if settled != _LOSSES.get(key) and last else ""
    return settled, f"note: loss={shown!r} was taken for {settled}{over}"


def understood(judge: Callable[P, CheckReport]) -> Callable[P, CheckReport]:
    """A judge of (parameters, …) that takes other people's names of losses and activations, and says so."""

    @functools.wraps(judge)
    def judged(*args: P.args, **options: P.kwargs) -> CheckReport:
        given: dict[str, Any] = dict(options)
        layers, activations = given.get("layers"), given.get("activations")
        if isinstance(activations, list | tuple):
            activations = given["activations"] = [activation(a) for a in activations]
        last = _last(layers, activations)
        if "loss" in given:
            given["loss"], note = loss(given["loss"], last, _outputs(args, layers, activations))
            if note and given["loss"] in SPREAD and "reduction" not in given:
                note += "; torch's and Keras' mean over entries is reduction='mean_over_all'"
        report = judge(*args, **given)
        return replace(report, notes=(*report.notes, note)) if "loss" in given and note else report

    return judged


def _last(layers: Any, activations: Any) -> str | None:
    """The output's activation, where the description has the form of one."""
    if isinstance(layers, list | tuple) and layers:
        return getattr(layers[-1], "activation", None)
    return activations[-1] if isinstance(activations, list) and activations else None


def _outputs(args: Sequence[Any], layers: Any, activations: Any) -> int | None:
    """How many outputs the last layer has, by its bias, else by a weight of one column or row."""
    try:
        from mlp_torch.check.describe.layers import (
            flatten,  # which takes its activations' names from here
            layers_in_order,
        )

        values = {n: np.asarray(v) for n, v in flatten(args[0]).items() if v is not None}
        used = layers or layers_in_order(values, list(activations or ()), np.zeros((1, 1)))
        if used[-1].bias is not None:
            return int(values[str(used[-1].bias)].size)
        return 1 if 1 in values[str(used[-1].weight)].shape else None
    except (UserError, KeyError, IndexError, AttributeError, TypeError, ValueError):
        return None  # what is wrong with the parameters is told where they are read
