"""The losses a person may have written: value, derivative, and the slips people make in the derivative."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from manual.activations import sigmoid
from manual.catalogue.activations import softmax
from manual.numbers import Array

REDUCTIONS = ("sum", "mean_over_samples", "mean_over_all")


@dataclass(frozen=True)
class LossForm:
    """`terms(o, y)` (N, K), whose sum is the loss before reduction, and their derivative by o."""

    terms: Callable[[Array, Array], Array]
    derivative: Callable[[Array, Array], Array]
    line: str
    labels: str  # what y holds: "real", "binary" 0/1, "sign" ±1, "class" one-hot rows


@dataclass(frozen=True)
class Steps:
    """A loss whose derivative is made of steps: `margin(o, y)` is 0 at its kinks, NaN where there is none.

    `derivative(active, o, y)`: by o, from active = [margin > 0]; `at` is torch's `active` at a kink.
    """

    margin: Callable[[Array, Array], Array]
    derivative: Callable[[Array, Array, Array], Array]
    at: float


def _others(p: Array) -> Array:
    """1 − pᵢ of softmax's rows without the cancellation: the likeliest class as the sum of the others."""
    rest = 1 - p
    top = np.argmax(p, axis=1)[:, None]
    without = p.copy()
    np.put_along_axis(without, top, 0.0, axis=1)
    np.put_along_axis(rest, top, without.sum(axis=1, keepdims=True), axis=1)
    return rest


# pᵢ Σy − yᵢ = pᵢ (Σy − yᵢ) − yᵢ (1 − pᵢ), exact where p is 0 or 1 to all digits
def _p_minus_y(p: Array, y: Array) -> Array:
    return p * (y.sum(axis=1, keepdims=True) - y) - y * _others(p)


# σ(z) − y = (1 − y) σ(z) − y σ(−z)
def _sigmoid_minus_y(z: Array, y: Array) -> Array:
    return (1 - y) * sigmoid(z) - y * sigmoid(-z)


# (p − y)/(p (1 − p)), which is −1/p for y = 1 and 1/(1 − p) for y = 0
def _d_bce(p: Array, y: Array) -> Array:
    quotient = (p - y) / (p * (1 - p))
    return np.where(y == 1, -1 / p, np.where(y == 0, 1 / (1 - p), quotient))


def _onto(y: Array, terms: Array) -> Array:
    """y · terms, where y = 0 silences an infinite term."""
    return np.where(y == 0, 0.0, y * terms)


def _log_softmax(o: Array) -> Array:
    shifted = o - o.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def margins(o: Array, y: Array) -> Array:
    """1 + oⱼ − o_y for every j but y, where it is positive; else 0."""
    right = (o * y).sum(axis=1, keepdims=True)
    return np.where(y > 0.5, 0.0, np.maximum(0, 1 + o - right))


def _d_multiclass(o: Array, y: Array) -> Array:
    active = (margins(o, y) > 0).astype(float)
    return active - y * active.sum(axis=1, keepdims=True)


LOSSES: dict[str, LossForm] = {
    "squared_error": LossForm(lambda o, y: (o - y) ** 2, lambda o, y: 2 * (o - y), "2(ŷ − y)", "real"),
    "half_squared_error": LossForm(lambda o, y: (o - y) ** 2 / 2, lambda o, y: o - y, "ŷ − y", "real"),
    "absolute_error": LossForm(
        lambda o, y: np.abs(o - y), lambda o, y: np.sign(o - y), "sign(ŷ − y)", "real"
    ),
    "bce": LossForm(
        lambda o, y: -_onto(y, np.log(o)) - _onto(1 - y, np.log1p(-o)),
        _d_bce,
        "(p − y) / (p (1 − p))",
        "binary",
    ),
    "cross_entropy": LossForm(lambda o, y: -_onto(y, np.log(o)), lambda o, y: -y / o, "−y / p", "class"),
    "bce_with_logits": LossForm(
        lambda o, y: np.logaddexp(0, o) - y * o, _sigmoid_minus_y, "σ(ŷ) − y", "binary"
    ),
    "cross_entropy_from_logits": LossForm(
        lambda o, y: -y * _log_softmax(o),
        lambda o, y: _p_minus_y(softmax(o), y),
        "softmax(ŷ) − y",
        "class",
    ),
    "hinge": LossForm(
        lambda o, y: np.maximum(0, 1 - y * o),
        lambda o, y: np.where(1 - y * o > 0, -y, 0.0),
        "−y [y ŷ < 1]",
        "sign",
    ),
    "huber": LossForm(
        lambda o, y: np.where(np.abs(o - y) <= 1, (o - y) ** 2 / 2, np.abs(o - y) - 0.5),
        lambda o, y: np.clip(o - y, -1, 1),
        "ŷ − y, cut to ±1",
        "real",
    ),
    # the root of the mean over all entries: with mean_over_all the terms sum to it
    "rmse": LossForm(
        lambda o, y: (o - y) ** 2 / np.sqrt(((o - y) ** 2).mean()),
        lambda o, y: (o - y) / np.sqrt(((o - y) ** 2).mean()),
        "(ŷ − y) / RMSE",
        "real",
    ),
    "multiclass_hinge": LossForm(
        margins, _d_multiclass, "[margin > 0], minus their count at the right class", "class"
    ),
}


STEPS: dict[str, Steps] = {
    "absolute_error": Steps(lambda o, y: o - y, lambda active, o, y: 2 * active - 1, 0.5),
    "hinge": Steps(lambda o, y: 1 - y * o, lambda active, o, y: -y * active, 0.0),
    "multiclass_hinge": Steps(
        lambda o, y: np.where(y > 0.5, np.nan, 1 + o - (o * y).sum(axis=1, keepdims=True)),
        lambda active, o, y: active - y * active.sum(axis=1, keepdims=True),
        0.0,
    ),
}


# What one ε leaves of the derivative where it is a difference
DIFFERENCES: dict[str, Callable[[Array, Array], Array]] = {
    "squared_error": lambda o, y: 2 * (np.abs(o) + np.abs(y)),
    "half_squared_error": lambda o, y: np.abs(o) + np.abs(y),
    "bce_with_logits": lambda o, y: sigmoid(o) + np.abs(y),
    "cross_entropy_from_logits": lambda o, y: softmax(o) + np.abs(y),
}


def fused(loss: str, activation: str, o: Array, y: Array, z: Array) -> Array | None:
    """dz of the pairs that cancel, p − y, where the quotient alone would be 0/0 for a saturated p."""
    if loss == "cross_entropy" and activation == "softmax":
        return _p_minus_y(o, y)
    if loss == "bce" and activation == "sigmoid":
        return _sigmoid_minus_y(z, y)
    return None


def slips(loss: str, o: Array, y: Array) -> list[tuple[str, Array]]:
    """Derivatives that people write by mistake for this loss: (what it is, its value (N, K))."""
    d = o - y
    found: list[tuple[str, Array]] = []
    if loss in ("squared_error", "half_squared_error", "absolute_error"):
        found += [
            ("the loss itself, (ŷ − y)², in place of its derivative", d * d),
            ("|ŷ − y|, its sign lost", np.abs(d)),
            ("ŷ alone, without y", o),
            ("−y alone, without ŷ", -y),
            ("(ŷ − y)³", d**3),
        ]
    if loss in ("bce", "cross_entropy"):
        found += [
            ("−y/p alone, without (1 − y)/(1 − p)", -y / o),
            ("(1 − y)/(1 − p) alone, without −y/p", (1 - y) / (1 - o)),
            ("−y/p − (1 − y)/(1 − p), one sign wrong", -y / o - (1 - y) / (1 - o)),
            ("the logarithm, −y log p, in place of its derivative", -_onto(y, np.log(o))),
            ("the loss itself in place of its derivative", LOSSES[loss].terms(o, y)),
            ("(p − y)/p, a denominator lost", d / o),
            ("(p − y)/(1 − p), a denominator lost", d / (1 - o)),
            ("p − y in place of the derivative by p", d),
            ("−1/p, without y", -1 / o),
            ("−y, without 1/p", -y),
            ("−p/y upside down", np.where(y == 0, 0.0, -o / np.where(y == 0, 1, y))),
        ]
    if loss == "bce_with_logits":
        s = sigmoid(o)
        found += [
            ("σ(ŷ) alone, without y", s),
            ("−y alone", -y),
            ("(σ(ŷ) − y) σ′(ŷ), the sigmoid's derivative once too often", (s - y) * s * (1 - s)),
            ("(σ(ŷ) − y)/(σ(1 − σ)), the derivative by p, the sigmoid's forgotten", (s - y) / (s * (1 - s))),
            ("ŷ − y, the sigmoid forgotten", d),
        ]
    if loss == "cross_entropy_from_logits":
        s = softmax(o)
        found += [
            ("softmax(ŷ) alone, without y", s),
            ("−y alone, without softmax(ŷ)", -y),
            ("−y/p, the derivative by p", -y / s),
            ("ŷ − y, the softmax forgotten", d),
            ("softmax over the samples", softmax(o.T).T - y),
        ]
    if loss == "hinge":
        m = y * o
        found += [
            ("−y for every sample, the mask [y ŷ < 1] forgotten", -y),
            ("−y where y ŷ > 1, the mask turned round", np.where(m > 1, -y, 0.0)),
            ("−y where y ŷ < 0, the margin 1 forgotten", np.where(m < 0, -y, 0.0)),
            ("−1 where y ŷ < 1, y forgotten", np.where(m < 1, -1.0, 0.0)),
            ("−ŷ where y ŷ < 1", np.where(m < 1, -o, 0.0)),
            ("−y times the loss, in place of the mask", -y * np.maximum(0, 1 - m)),
            ("≤ for < at y ŷ = 1", np.where(m <= 1, -y, 0.0)),
        ]
    if loss == "multiclass_hinge":
        margin = margins(o, y)
        active = (margin > 0).astype(float)
        any_active = (active.sum(axis=1, keepdims=True) > 0).astype(float)
        free = np.where(y > 0.5, 0.0, ((o - (o * y).sum(axis=1, keepdims=True)) > 0).astype(float))
        found += [
            ("the right class left out", active),
            ("−1 at the right class in place of minus the count", active - y),
            ("−1 at the right class where any margin is active", active - y * any_active),
            ("the right class alone", -y * active.sum(axis=1, keepdims=True)),
            ("the margin 1 forgotten in the mask", free - y * free.sum(axis=1, keepdims=True)),
            ("every class active, the mask forgotten", 1 - y - y * (1 - y).sum(axis=1, keepdims=True)),
            ("the margins in place of their mask", margin - y * margin.sum(axis=1, keepdims=True)),
            ("the right class counted too", active + y - y * (active + y).sum(axis=1, keepdims=True)),
        ]
    return found


def recoded(labels: str, y: Array) -> list[tuple[str, Array]]:
    """Other codings of the same labels that people take by mistake: (what it is, y′ (N, K))."""
    found: list[tuple[str, Array]] = []
    n, k = y.shape
    values = set(np.unique(y).tolist())
    one_hot = k > 1 and values <= {0.0, 1.0, -1.0} and bool(np.all((y == y.max()).sum(axis=1) == 1))
    if one_hot:
        low, high = float(y.min()), float(y.max())
        index = np.argmax(y, axis=1).astype(float)[:, None]
        empty_up, empty_down = np.full_like(y, low), np.full_like(y, low)
        empty_up[:, 1:], empty_down[:, :-1] = y[:, :-1], y[:, 1:]
        found += [
            ("labels one too high (the last wraps to the first)", np.roll(y, 1, axis=1)),
            ("labels one too low (the first wraps to the last)", np.roll(y, -1, axis=1)),
            ("labels one too high (the last class has none)", empty_up),
            ("labels one too low (the first class has none)", empty_down),
            ("class indices in place of one-hot rows", np.broadcast_to(index, y.shape).copy()),
            ("class indices from 1 in place of one-hot rows", np.broadcast_to(index + 1, y.shape).copy()),
            ("the classes in reverse order", y[:, ::-1].copy()),
            ("0 and 1 exchanged", high + low - y),
        ]
    if k > 1:
        found += [("one-hot of the wrong axis (reshaped, not transposed)", y.T.reshape(n, k))]
        if n == k:
            found += [("one-hot of the wrong axis (transposed)", y.T.copy())]
    if values <= {0.0, 1.0} and len(values) == 2:
        found += [
            ("±1 in place of 0/1", 2 * y - 1),
            ("0 and 1 exchanged", 1 - y),
            ("1/2 in place of 0/1", y + 1),
        ]
    if values <= {-1.0, 1.0} and len(values) == 2:
        found += [("0/1 in place of ±1", (y + 1) / 2), ("+1 and −1 exchanged", -y)]
    if n > 1:
        found += [("labels in another order: shifted by a sample", np.roll(y, s, axis=0)) for s in (1, -1)]
        found += [("labels in reverse order", y[::-1].copy())]
    return found
