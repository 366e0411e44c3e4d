"""Naming without a described network: what two arrays, hand-written and true, show on their own."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import combinations

import numpy as np

from manual.numbers import Array
from mlp_torch.check.report import ArrayRow, Fault, length, row

Arrays = Mapping[str, Array]


def compare(
    hand: Arrays,
    true: Arrays,
    allowed: Mapping[str, float],
    constants: Mapping[str, float],
    values: Arrays | None = None,
    undecided: AbstractSet[str] = frozenset(),
    apart: Mapping[str, Array | None] | None = None,
) -> tuple[str, dict[str, ArrayRow], list[Fault]]:
    """(verdict, rows, faults) of arrays by name; `allowed` is ‖h − t‖ that is still right, by name.

    `constants` are named factors (N, K …) that a whole gradient may be off by; `values` the parameters;
    `undecided` the arrays whose difference no slip needs to have made; `apart` the entries beyond rounding.
    """
    rows = {}
    for name, t in true.items():
        h = hand[name]
        fits = h.shape == t.shape or (h.size == t.size and h.squeeze().shape == t.squeeze().shape)
        near = fits and bool(length(h.ravel() - t.ravel()) <= allowed[name])
        beyond = (apart or {}).get(name)
        single = near and beyond is not None and bool(beyond.any())
        rows[name] = row(name, h, t, near and not single, name in undecided)
        if single and beyond is not None:  # hidden by the rest of its array: the row shows where
            rows[name] = _shown(rows[name], h, t, beyond)
    wrong = [r for r in rows.values() if r.verdict not in ("right", "not_comparable")]
    if not wrong:
        return "right" if all(r.verdict == "right" for r in rows.values()) else "not_comparable", rows, []
    faults, rest = _exchanged(hand, true, wrong, values or {}, allowed)
    shared: dict[str, list[ArrayRow]] = {}
    limit = _limit(hand, wrong, len(rest) == len(rows))
    for r in rest:
        kind, detail = _kind(hand[r.name], true[r.name], r, constants, limit)
        if not kind:
            return "wrong", rows, faults
        shared.setdefault(f"{kind}|{detail}", []).append(r)
    for key, members in shared.items():
        kind, _, detail = key.partition("|")
        faults.append(Fault(kind, None, tuple(r.name for r in members), detail, _evidence(members[0], true)))
    whole = len(wrong) == len(rows) and len(faults) == 1
    verdict = "scaled" if whole and faults[0].kind == "constant_factor" else "wrong"
    return verdict, rows, faults


def _shown(r: ArrayRow, h: Array, t: Array, beyond: Array) -> ArrayRow:
    """The row with the largest of the entries that are beyond rounding."""
    flat, size = h.astype(float).reshape(t.shape), np.where(beyond, np.abs(h.reshape(t.shape) - t), -1.0)
    place = tuple(int(i) for i in np.unravel_index(int(np.argmax(size)), t.shape))
    return replace(r, index=place, value=float(flat[place]), truth=float(t[place]))


def _evidence(r: ArrayRow, true: Arrays) -> str:
    if np.isnan(r.value):
        return f"d{r.name} has shape {r.shape}, the parameter {true[r.name].shape}"
    return f"d{r.name}{list(r.index)} is {r.value:.6g}, the true one {r.truth:.6g}"


def _exchanged(
    hand: Arrays, true: Arrays, wrong: Sequence[ArrayRow], values: Arrays, allowed: Mapping[str, float]
) -> tuple[list[Fault], list[ArrayRow]]:
    """Gradients that stand under each other's names, and parameters that stand for theirs; what remains."""
    faults, gone = [], set()

    def same(h: Array, t: Array, within: float) -> bool:
        return h.shape == t.shape and length(h - t) <= within and bool(t.any())

    for a, b in combinations([r.name for r in wrong], 2):
        if same(hand[a], true[b], allowed[b]) and same(hand[b], true[a], allowed[a]):
            text = f"d{a} and d{b} are swapped"
            faults.append(
                Fault(
                    "swapped_gradients", None, (a, b), text, f"d{a} is the true d{b}, and d{b} the true d{a}"
                )
            )
            gone |= {a, b}
    for r in wrong:
        theta = values.get(r.name)
        if r.name not in gone and theta is not None and same(hand[r.name], theta, 0.0):
            text = f"d{r.name} is {r.name} itself"
            faults.append(Fault("parameter_returned", None, (r.name,), text, _evidence(r, true)))
            gone.add(r.name)
    return faults, [r for r in wrong if r.name not in gone]


def _limit(hand: Arrays, wrong: Sequence[ArrayRow], whole: bool) -> str:
    """What says that arrays were cut to a length: one for all of them together, or one for each."""
    short = [r for r in wrong if r.verdict == "scaled" and 0 < r.ratio < 1]
    norms = [length(hand[r.name]) for r in short]
    if not short or all(hand[r.name].size == 1 for r in short):
        return ""
    if len(short) > 1 and all(_round(n) and abs(n - norms[0]) <= 1e-6 * n for n in norms):
        return f"is cut to the length {norms[0]:.6g}"
    together = length(np.array([length(h) for h in hand.values()]))
    one = all(abs(r.ratio - short[0].ratio) <= 1e-6 * short[0].ratio for r in short)
    if whole and one and len(short) == len(hand) > 1 and _round(together):
        return f"is cut: all gradients together have the length {together:.6g}"
    return ""


def _round(value: float) -> bool:
    """A number that somebody would write: two digits at most."""
    return value > 0 and abs(float(f"{value:.1e}") - value) <= 1e-6 * value


def _kind(h: Array, t: Array, r: ArrayRow, constants: Mapping[str, float], limit: str) -> tuple[str, str]:
    """(fault kind, detail) of one wrong array, or ("", "") where nothing fits."""
    if np.isnan(r.value):
        if h.ndim == 2 and h.shape == t.T.shape:
            same = _same(h, t.T)
            return ("transpose", "has the transposed shape") if same else ("", "")
        for axis in range(h.ndim):
            total = h.sum(axis=axis)
            if total.size == t.size:
                for value in (total, total / h.shape[axis]):
                    if _same(value.ravel(), t.ravel()):
                        return "bias_not_summed", f"has shape {h.shape}: the samples are not summed"
        if h.size == 1 and _same(h.ravel(), t.sum().reshape(1)):
            return "wrong_bias_reduction", "is one number, the sum over all axes"
        return "", ""
    if r.verdict == "zero":
        return "zero_gradient", "is all zero"
    if r.verdict == "scaled":
        return _factor(r, h.size, constants, limit)
    if h.ndim == 2 and h.shape == t.T.shape and _same(h, t.T):
        return "transpose", "is transposed"
    if h.size > 1 and _same(h, np.full(h.shape, t.sum())):
        return "wrong_bias_reduction", "is the sum over all axes"
    return "", ""


def _same(a: Array, b: Array) -> bool:
    """Equal but for rounding, whatever the arrays' own size."""
    return bool(np.allclose(a, b, rtol=1e-7, atol=1e-12 * float(np.max(np.abs(b), initial=0.0))))


def _factor(r: ArrayRow, size: int, constants: Mapping[str, float], limit: str) -> tuple[str, str]:
    """The word for an array that is the true one times a number."""
    if abs(r.ratio - 1) < 1e-6:
        return "", ""  # more than rounding, and no factor
    if abs(r.ratio + 1) < 1e-6:
        return "sign", "has the opposite sign"
    if limit and 0 < r.ratio < 1:
        return "clipping", limit
    for name, value in constants.items():
        for c, words in (
            (value, f"times {_equals(name, value)}"),
            (1 / value, f"divided by {_equals(name, value)}"),
        ):
            if abs(r.ratio - c) <= 1e-6 * abs(c):
                return "constant_factor", f"is the true one {words}"
    for (one, p), (two, q) in combinations(constants.items(), 2):
        for c, words in (
            (p / q, f"times {one}/{two} = {p:g}/{q:g}"), (q / p, f"times {two}/{one} = {q:g}/{p:g}"),
            (p * q, f"times {one}·{two} = {p * q:g}"), (1 / (p * q), f"divided by {one}·{two} = {p * q:g}"),
        ):  # fmt: skip
            if abs(r.ratio - c) <= 1e-7 * abs(c) and abs(c - 1) > 1e-6:
                return "constant_factor", f"is the true one {words}"
    if size == 1:
        return "", ""  # one number is any other times something
    shown = f"{r.ratio:.6g}"
    shown = f"1 {'+' if r.ratio > 1 else '−'} {abs(r.ratio - 1):.3g}" if shown == "1" else shown
    return "constant_factor", f"is the true one times {shown}"


def _equals(name: str, value: float) -> str:
    return name if name == f"{value:g}" else f"{name} = {value:g}"


def sizes(values: Arrays, data: Sequence[object]) -> dict[str, float]:
    """The numbers that a mean may be over, by the words for them: N, then the data's other sizes."""
    found: dict[str, float] = {"N": 1.0, "2": 2.0, "4": 4.0}
    arrays = [np.asarray(d) for d in data if isinstance(d, np.ndarray | list | tuple) and _numeric(d)]
    for i, a in enumerate(arrays[:2]):
        word = ("x", "y")[i]
        if not i and a.ndim:
            found["N"] = float(len(a))
        for axis, n in enumerate(a.shape):
            name = (
                f"len({word})"
                if not axis
                else f"columns of {word}"
                if a.ndim == 2
                else f"{word}.shape[{axis}]"
            )
            found.setdefault(name, float(n))
        found.setdefault(f"{word}.size", float(a.size))
    for name, v in values.items():
        for axis, n in enumerate(v.shape if v.ndim > 1 else ()):
            found.setdefault(f"{name}.shape[{axis}]", float(n))
    kept: dict[str, float] = {}
    for name, value in found.items():
        if value > 1 and value not in kept.values():
            kept[name] = value
    return kept


def _numeric(value: object) -> bool:
    try:
        return np.asarray(value).dtype.kind in "fiub"
    except ValueError:  # ragged
        return False
