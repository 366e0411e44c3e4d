"""What a call changes and what it keeps."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from manual.numbers import Array
from mlp_torch.check.report import CheckReport, Fault


def judge_purity(
    report: CheckReport,
    impure: list[str],
    steady: bool,
    hand: Mapping[str, Array],
    again: Mapping[str, Array],
    true: Mapping[str, Array],
) -> CheckReport:
    faults = list(report.faults)
    if impure:
        text = f"the call changes the caller's {', '.join(impure)} in place"
        faults.append(Fault("mutated_input", None, tuple(impure), text, "compared before and after the call"))
    if not steady:
        if grown(hand, again, true):
            faults = [f for f in faults if f.kind != "constant_factor" or set(f.arrays) != set(hand)]
            text = "a second call adds its gradient to the first one's: not set to 0 between calls"
            faults.append(
                Fault("stale_gradient", None, tuple(hand), text, "two calls with the same arguments")
            )
        elif not impure:
            text = (
                "a second call with the same arguments gives another gradient: something is kept and changed"
            )
            faults.append(
                Fault("mutated_input", None, tuple(hand), text, "two calls with the same arguments")
            )
    new = [f for f in faults if f not in report.faults]
    if not new:
        return report
    added = " ".join(f"{f.detail}." for f in new)
    message = f"{report.message} {added}".strip() if report.verdict != "right" else added
    return replace(report, verdict="wrong", faults=faults, message=message)


def grown(first: Mapping[str, Array], second: Mapping[str, Array], true: Mapping[str, Array]) -> bool:
    """The second call gives the first gradient plus the true one, or twice the first: a sum goes on."""
    if not any(v.any() for v in first.values()):
        return False
    if not all(second[n].shape == v.shape == true[n].shape for n, v in first.items()):
        return False

    def added(step: Mapping[str, Array]) -> bool:
        return all(_near(second[n] - v, step[n]) for n, v in first.items())

    return added(true) or added(first)


def _near(a: Array, b: Array) -> bool:
    return bool(np.allclose(a, b, rtol=1e-6, atol=1e-9 * max(1.0, float(np.abs(b).max(initial=0)))))
