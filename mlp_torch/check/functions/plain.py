"""Naming without a described network: what two arrays, hand-written and true, show on their own."""

from collections.abc import Mapping

import numpy as np

from manual.numbers import Array
from mlp_torch.check.report import ArrayRow, Fault, row


def compare(
    hand: Mapping[str, Array],
    true: Mapping[str, Array],
    allowed: Mapping[str, float],
    constants: Mapping[str, float],
) -> tuple[str, dict[str, ArrayRow], list[Fault]]:
    """(verdict, rows, faults) of arrays by name; `allowed` is ‖h − t‖ that is still right, by name.

    `constants` are named factors (N, K …) that a whole gradient may be off by.
    """
    rows = {}
    for name, t in true.items():
        h = hand[name]
        fits = h.shape == t.shape or (h.size == t.size and h.squeeze().shape == t.squeeze().shape)
        near = fits and bool(np.linalg.norm(h.ravel() - t.ravel()) <= allowed[name])
        rows[name] = row(name, h, t, near)
    wrong = [r for r in rows.values() if r.verdict != "right"]
    if not wrong:
        return "right", rows, []
    faults: list[Fault] = []
    shared: dict[str, list[ArrayRow]] = {}
    for r in wrong:
        kind, detail = _kind(hand[r.name], true[r.name], r, constants)
        if not kind:
            return "wrong", rows, []
        shared.setdefault(f"{kind}|{detail}", []).append(r)
    for key, members in shared.items():
        kind, _, detail = key.partition("|")
        first = members[0]
        evidence = f"d{first.name} has shape {first.shape}, the parameter {true[first.name].shape}"
        if not np.isnan(first.value):
            evidence = (
                f"d{first.name}{list(first.index)} is {first.value:.6g}, the true one {first.truth:.6g}"
            )
        faults.append(Fault(kind, None, tuple(r.name for r in members), detail, evidence))
    whole = len(wrong) == len(rows) and len(faults) == 1
    verdict = "scaled" if whole and faults[0].kind == "constant_factor" else "wrong"
    return verdict, rows, faults


def _kind(h: Array, t: Array, r: ArrayRow, constants: Mapping[str, float]) -> tuple[str, str]:
    """(fault kind, detail) of one wrong array, or ("", "") where nothing fits."""
    if np.isnan(r.value):
        if h.ndim == 2 and h.shape == t.T.shape:
            same = np.allclose(h, t.T, rtol=1e-7, atol=1e-12)
            return ("transpose", "has the transposed shape") if same else ("", "")
        for axis in range(h.ndim):
            total = h.sum(axis=axis)
            if total.size == t.size:
                for value in (total, total / h.shape[axis]):
                    if np.allclose(value.ravel(), t.ravel(), rtol=1e-7, atol=1e-12):
                        return "bias_not_summed", f"has shape {h.shape}: the samples are not summed"
        if h.size == 1 and np.isclose(float(h.ravel()[0]), t.sum(), rtol=1e-7):
            return "wrong_bias_reduction", "is one number, the sum over all axes"
        return "", ""
    if r.verdict == "zero":
        return "zero_gradient", "is all zero"
    if r.verdict == "scaled":
        if abs(r.ratio - 1) < 1e-6:
            return "", ""  # more than rounding, and no factor
        if abs(r.ratio + 1) < 1e-6:
            return "sign", "has the opposite sign"
        for name, value in constants.items():
            for c, words in (
                (value, f"times {name} = {value:g}"),
                (1 / value, f"divided by {name} = {value:g}"),
            ):
                if abs(r.ratio - c) <= 1e-6 * abs(c):
                    return "constant_factor", f"is the true one {words}"
        if 0 < r.ratio < 1:
            return "clipping", f"points the right way and is {r.ratio:.6g} times as long"
        return "constant_factor", f"is the true one times {r.ratio:.6g}"
    if h.ndim == 2 and h.shape == t.T.shape and np.allclose(h, t.T, rtol=1e-7, atol=1e-12):
        return "transpose", "is transposed"
    if h.size > 1 and np.allclose(h, t.sum(), rtol=1e-7):
        return "wrong_bias_reduction", "is the sum over all axes"
    return "", ""
