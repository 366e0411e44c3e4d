"""The verdict on a function of the author's file: its process reports; right is what values bear out."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.gradients import check_gradients
from mlp_torch.check.report import CheckReport, sentence
from mlp_torch.check.submission.confirming import Found, confirm
from mlp_torch.check.submission.process import Process
from mlp_torch.errors import UserError


def judged(
    path: str, function: str, described: Mapping[str, Any], timeout: float, seconds: float, memory: float
) -> CheckReport:
    """The report on `function` of the file at `path`, which is run in a process of its own.

    `described`: the options of check_gradients that were said; `timeout`: seconds for the guilty lines;
    `seconds` and `memory` (GB): what the process may take for the rest.
    """
    request = {"path": path, "function": function, "described": described, "timeout": timeout,
               "seconds": seconds + timeout, "memory": memory}  # fmt: skip
    with Process(path, seconds + timeout, request) as process:
        process.start()
        said = process.answer()
        if "own" in said:
            return _of_own(said["own"], tuple(said.get("notes", ())), described, f"{path}:{function}")
        report = said.get("report")
        if not isinstance(report, CheckReport):
            raise UserError(f"{path}: its process gives no report; nothing was judged")
        return _confirmed(report, process, described) if report.verdict == "right" else report


def _of_own(given: Any, notes: tuple[str, ...], described: Mapping[str, Any], shown: str) -> CheckReport:
    """What a function without arguments gave: the arguments of check_gradients, or a report."""
    if isinstance(given, CheckReport):
        if given.verdict == "right":
            raise UserError(
                f"{shown}: gives a report of its own, which proves nothing here; let it give (function, "
                "parameters, x, y), or the arguments of check_gradients as a dict"
            )
        return replace(given, notes=(*given.notes, *notes))
    try:
        report = check_gradients(**{**described, **given})
    except TypeError as error:
        raise UserError(
            f"{shown}: gives a dict that check_gradients cannot be called with: {error}"
        ) from None
    return replace(report, notes=(*report.notes, *notes))


def _confirmed(report: CheckReport, process: Process, described: Mapping[str, Any]) -> CheckReport:
    """The report if the values that are asked for here, losses and gradients, bear it out; else another."""
    evidence = process.answer()
    start = _arrays(evidence.get("start"))
    names = [n for n, row in report.arrays.items() if row.verdict == "right"]
    if not names or any(n not in start or not start[n].size for n in names):
        return CheckReport("not_comparable", {}, message="nothing was judged", notes=report.notes)

    def ask(arrays: Mapping[str, Array], gradients: bool) -> tuple[float, Mapping[str, Array]]:
        said = process.ask({"at": {**start, **arrays}, "gradients": gradients})
        loss = said.get("loss")
        known = isinstance(loss, int | float)
        return (float(loss) if known and loss is not None else math.nan), _arrays(said.get("gradients"))

    found = confirm(ask, {n: start[n] for n in names})
    if other := _doubt(found, names):
        return replace(other, notes=report.notes, method="slopes of the loss")
    return _as_described(report, ask(start, True), evidence, start, described)


def _arrays(given: Any) -> dict[str, Array]:
    """Those of numbers."""
    items = given.items() if isinstance(given, dict) else ()
    return {str(n): v for n, v in items if isinstance(v, np.ndarray) and v.dtype.kind in "biufc"}


def _doubt(found: Found, names: list[str]) -> CheckReport | None:
    """Another verdict than right, where the values do not bear it out."""
    if found.contradicted:
        parts = [
            f"d{n}: along a random direction the loss changes at a rate of {slope:.6g}, by your gradient it "
            f"would at {told:.6g}."
            for n, (slope, told) in found.contradicted.items()
        ]
        return CheckReport("wrong", {}, message=" ".join(parts))
    left = [n for n in names if n not in found.confirmed | found.small]
    if left:
        text = "the loss has no slope there that its own values tell (a kink, or noise); nothing confirms it"
        return CheckReport("not_comparable", {}, message=f"{sentence(left)}: {text}")
    if not found.confirmed:
        text = "the loss is the same whatever the parameters are, up to its rounding: nothing was judged"
        return CheckReport("not_comparable", {}, message=text)
    return None


def _as_described(
    report: CheckReport, there: tuple[float, Mapping[str, Array]], evidence: Mapping[str, Any],
    start: Mapping[str, Array], described: Mapping[str, Any],
) -> CheckReport:  # fmt: skip
    """With a description of the network that was said on the command line: by our own forward pass too."""
    if "activations" not in described:
        return report
    data = evidence.get("data")
    if not isinstance(data, list | tuple) or len(data) < 2:
        raise UserError("the data x and y are no arrays: the network described cannot be judged on them")
    loss, gradients = there
    own = check_gradients(start, gradients, data[0], data[1], loss_value=loss, **described)
    return report if own.verdict == "right" else replace(own, notes=(*own.notes, *report.notes))
