"""check_function: a person's loss_and_gradients against the derivative of their own forward pass."""

import copy
import inspect
import linecache
import math
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from manual.numbers import Array
from mlp_torch.check.describe.layers import align, flatten
from mlp_torch.check.functions.calling import calls as calling
from mlp_torch.check.functions.calling.adapters import adapt
from mlp_torch.check.functions.calling.calls import (
    changed,
    fresh,
    gradients_of,
    need_finite,
    need_numbers,
    nested,
    quietly,
    result_of,
)
from mlp_torch.check.functions.comparison import sizes
from mlp_torch.check.functions.derivative import differentiate
from mlp_torch.check.functions.purity import REMEDY, grown, judge_purity, unsettled, wrong_elsewhere
from mlp_torch.check.functions.standard_losses import SLIGHT, against_standard
from mlp_torch.check.functions.verdict import Judged, judge
from mlp_torch.check.lines.guilty import NAMED, TIMEOUT, guilty_lines
from mlp_torch.check.report import CheckReport, Fault, row, sentence
from mlp_torch.errors import UserError


@quietly
def check_function(
    loss_and_gradients: Callable[..., Any], parameters: Any, *data: Any, timeout: float | None = None,
    **description: Any,
) -> CheckReport:  # fmt: skip
    """Judge `loss_and_gradients(parameters, *data)`, which gives (loss, gradients), on its own forward pass.

    `parameters`: arrays in any nesting, object, dataclass or named tuple, gradients in the same or by names
    such as dW1; `data` as the function takes it, x, y first. Other orders, f(x, y, p) or f(W1, b1, x, y), are
    told by the signature or by trying, other results ({"loss": …, "grads": …}, (loss, dW1, db1, …)) by what
    they hold; notes say so. A method or object that holds its parameters is judged on copies of it:
    `check_function(net, x, y)` where it has a method that gives both, or forward, loss and backward. Keyword
    arguments that the function takes are its own, also where a description's option has that name (then
    hand over a lambda).

    The derivative is torch.autograd's of the author's own NumPy code, or complex-step or Richardson where
    tracing fails; `.method` and `.resolution` say which, and what it sees. Purity, shapes and dtypes come
    first; the noise floor is measured, and what is no rounding is none of it: at a kink both one-sided
    derivatives (or their mean) are right, and a note names it. With `layers=` or `activations=` and `loss=`
    (any option of `check_gradients`) the faults are named too, and the loss is compared with the standard
    ones. Where gradients are wrong, `.lines` names the lines of the author's source that are to blame, each
    proven by repair on two draws of the data; `timeout` is the seconds for that (10, and 2 where the fault
    has a name already). Raises UserError where the
    function gives something else.
    """
    author = adapt(loss_and_gradients, parameters, data, description)
    call, parameters, data, description = author.fresh, author.parameters, author.data, author.description
    names = flatten(parameters)
    given = {name: np.asarray(v) for name, v in names.items() if v is not None}
    kept = copy.deepcopy((parameters, data))
    mine = copy.deepcopy((parameters, data))
    seed()
    loss, gradients, output = result_of(call(mine[0], *mine[1]))
    impure = changed(kept[0], mine[0], "parameters") + [
        name
        for i, (a, b) in enumerate(zip(kept[1], mine[1], strict=True))
        for name in changed(a, b, f"data[{i}]")
    ]
    need_finite(loss, given, data)
    values, notes = _judged(names, given, gradients)
    notes = [*author.notes, *notes]
    if not values:
        return CheckReport("not_comparable", {}, message="nothing was judged", notes=tuple(notes))
    hand = gradients_of(names, gradients, values)
    need_numbers(hand)
    seed()
    loss_again, gradients_again, _ = result_of(call(*fresh(kept)))
    again = gradients_of(names, gradients_again, values)
    cause = unsettled(loss_and_gradients, loss, loss_again)
    if cause:
        return CheckReport("not_comparable", {}, message=f"{cause}. {REMEDY[0].upper()}{REMEDY[1:]}")
    steady = all(np.array_equal(hand[n], again[n], equal_nan=True) for n in hand)
    floats = {name: v.astype(np.float64) for name, v in values.items()}

    def only_loss(arrays: dict[str, Any]) -> Any:
        return given_at(call, parameters, kept, {**given, **arrays})[0]

    def traced_loss(arrays: dict[str, Any]) -> Any:
        seed()
        return author.result(nested(parameters, {**given, **arrays}), *kept[1])

    seed()
    exact = float(np.real(only_loss(dict(floats))))
    found = differentiate(traced_loss, only_loss, values, exact, author.read)
    if found.traced is None and (digits := _rounded_to(only_loss, floats)) is not None:
        text = f"your loss is rounded to {digits} digits, and no trace tells what it was before"
        remedy = "return it unrounded, and round it where it is printed"
        return CheckReport("not_comparable", {}, message=f"{text}; {remedy}", notes=tuple(notes))
    if found.traced is not None and found.traced.rounded:
        where, exact = found.traced.run.rounded, found.traced.run.unrounded[0]
        notes.append(f"note: your loss is rounded {where}; its derivative is that before the rounding")
    judged = judge(found, call, kept, names, values, hand, steady, sizes(values, data))
    report, true, allowed, exactly = judged.report, judged.true, judged.allowed, judged.hand
    for name, v in hand.items():
        if v.dtype.kind in "iub":
            notes.append(f"note: d{name} has the integer dtype {v.dtype}; fractions are lost")
    report = replace(report, notes=(*notes, *report.notes))
    if ("layers" in description or "activations" in description) and "loss" in description:
        report = _described(report, values, hand, data, loss, output, description)
    elif description:
        raise UserError("check_function: a description needs layers= or activations=, and loss=")
    elif len(data) > 1 and report.verdict != "not_comparable":
        report = against_standard(
            report, judged.traced, exact, output, kept[1], floats, exactly, true, allowed
        )
    if report.verdict == "right" and steady:
        beyond = wrong_elsewhere(call, traced_loss, only_loss, author.read, kept, names, values)
        report = _also_elsewhere(report, beyond, hand)
    if report.verdict == "wrong" and not report.faults and not description:
        hint = "note: with activations=[…] or layers=[…], and loss=…, the fault is searched layer by layer"
        report = replace(report, notes=(*report.notes, hint))
    if steady and author.kept is not None:  # the object may keep what it adds to
        first, second = (
            gradients_of(names, result_of(author.kept(*fresh(kept)))[1], values) for _ in range(2)
        )
        if grown(first, second, true):
            hand, again, steady = first, second, False
    report = judge_purity(report, impure, steady, hand, again, true)
    report = _worded(report, judged, found.method, _epsilon(loss_and_gradients))
    if report.verdict in ("wrong", "scaled", "other_loss") and steady and not impure:
        seconds = timeout if timeout is not None else NAMED if report.faults else TIMEOUT
        lines, why = guilty_lines(author.fresh, author.loss, floats, kept[1], judged.rounded, seconds)
        unexplained = not report.faults and any(line.mended is not None for line in lines)
        message = f"{sentence([n for n, r in report.arrays.items() if r.verdict != 'right'])}."
        report = replace(
            report,
            lines=tuple(lines),
            message=message if unexplained else report.message,
            notes=(*report.notes, *([f"note: {why}"] if why else [])),
        )
    return report


def _also_elsewhere(
    report: CheckReport, wrong: Mapping[str, tuple[Array, Array]], hand: Mapping[str, Array]
) -> CheckReport:
    if not wrong:
        return report
    if all(np.array_equal(h.ravel(), hand[n].ravel()) for n, (h, _) in wrong.items()):
        text = "your gradient is the same at other parameters, and wrong there"
        if any(note.startswith("note: at a kink") for note in report.notes):  # one of its sides by chance
            message = f"{text}; at these the loss lies on a kink. Move the data or the parameters off it"
            return replace(report, verdict="not_comparable", message=message)
        return replace(report, notes=(*report.notes, f"note: {text}; it was judged at these"))
    if all(math.isnan(r.cosine) for r in report.arrays.values()):
        return _solved(report, wrong)
    text = (
        "is right at the parameters handed over and wrong at others: a term too many or too few is 0 at these"
        " alone (as at b = 0), or a number of an earlier call (a cache) or of these parameters is used"
    )
    h, t = next(iter(wrong.values()))
    place = np.unravel_index(int(np.argmax(np.abs(h.astype(float) - t))), t.shape)
    seen = f"moved by 2 to 6 %: {next(iter(wrong))} gives {h[place]:.6g}, the true one {t[place]:.6g}"
    fault = Fault("stale_gradient", None, tuple(wrong), text, seen)
    return replace(report, verdict="wrong", faults=[fault], message="")


def _solved(report: CheckReport, wrong: Mapping[str, tuple[Array, Array]]) -> CheckReport:
    """Every true gradient is 0 at the parameters handed over: judged at the ones that were moved."""
    rows = {n: row(n, h.astype(float), t, right=False) for n, (h, t) in wrong.items()}
    factors = {f"{r.ratio:.6g}" for r in rows.values()}
    faults = []
    if len(factors) == 1 and all(r.verdict == "scaled" for r in rows.values()):
        factor = factors.pop()
        words = "has the opposite sign" if factor == "-1" else f"is the true one times {factor}"
        kind = "sign" if factor == "-1" else "constant_factor"
        faults = [Fault(kind, None, tuple(wrong), words, "the parameters moved by 2 to 6 %")]
    note = (
        "note: at the parameters handed over every true gradient is 0, and a wrong one may be; the table is "
    )
    note += "that of parameters moved by 2 to 6 %"
    arrays = {n: rows.get(n, r) for n, r in report.arrays.items()}
    return replace(
        report, verdict="wrong", arrays=arrays, faults=faults, message="", notes=(*report.notes, note)
    )


def _epsilon(function: Any) -> bool:
    """Whether the author's file holds an ε, or cannot be read."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(function) if callable(function) else type(function))
        lines = linecache.getlines(file or "")
    except (TypeError, ValueError):
        return True
    return not lines or bool(re.search(r"\de-\d|eps|ε|tiny|clip|10 ?\*\* ?-", "".join(lines)))


def _rounded_to(loss: Callable[[dict[str, Any]], Any], values: Mapping[str, Array]) -> int | None:
    """The decimals that the loss is cut to at several parameters; None where it is cut to none."""
    generator = np.random.default_rng(3)
    found: list[float] = []
    for _ in range(5):
        moved = {n: v + 0.03 * generator.normal(size=v.shape) * (np.abs(v) + 0.1) for n, v in values.items()}
        try:
            found.append(float(np.real(loss(moved))))
        except (Exception, SystemExit):
            return None
    if not np.isfinite(found).all() or len(set(found)) < 2:
        return None
    return next((k for k in range(1, 8) if all(v == round(v, k) for v in found)), None)


def seed() -> None:
    """Two calls must draw the same, from whichever of the global generators."""
    calling.seed()
    random.seed(0)
    torch.default_generator.manual_seed(0)


def given_at(call: Callable[..., Any], parameters: Any, kept: Any, arrays: Mapping[str, Any]) -> Any:
    """(loss, gradients, output) that the author's function gives for these parameters, on fresh data."""
    _, *rest = fresh(kept)
    seed()
    return result_of(call(nested(parameters, arrays), *rest))


def _judged(
    names: Mapping[str, Any], given: Mapping[str, Array], gradients: Any
) -> tuple[dict[str, Array], list[str]]:
    """The parameters that are differentiated, and a note of those that are not."""
    left = {n: v for n, v in given.items() if v.dtype.kind not in "fiu" or not v.size}
    whole = {n for n, v in given.items() if v.dtype.kind in "iu" and v.size}
    if whole:
        aligned = align(names, flatten(gradients, what="gradients"))
        left |= {n: given[n] for n in whole if aligned.get(n) is None}
    notes = []
    if left:
        text = ", ".join(f"{n} ({v.dtype if v.size else 'empty'})" for n, v in left.items())
        notes = [f"note: not judged, because it is never differentiated: {text}"]
    return {n: v for n, v in given.items() if n not in left}, notes


def _worded(report: CheckReport, judged: Judged, method: str, epsilon: bool) -> CheckReport:
    rows = report.arrays
    words = ""
    if report.verdict == "right":
        words = f"{sentence(list(rows))}: every gradient is the derivative of your own loss"
    told = list(report.faults)
    lost = [n for n, r in rows.items() if r.verdict not in ("right", "not_comparable")]
    lost = [n for n in lost if not any(n in f.arrays for f in told)]
    parts = [
        f"{f.detail}." if f.kind in OF_THEMSELVES else f"{', '.join('d' + a for a in f.arrays)}: {f.detail}."
        for f in told
    ]
    if lost:
        parts.append(f"{', '.join('d' + n for n in lost)}: wrong, unexplained")
    message = report.message or words or " ".join(parts)
    apart = max((rows[n].relative for n in lost), default=1.0)
    if report.verdict == "wrong" and epsilon and lost and 1e-12 < apart < SLIGHT:
        text = f"note: {apart:.1g} of the gradient is what an ε leaves that only one of the passes has"
        report = replace(report, notes=(*report.notes, f"{text} (log(p + ε), x/(s + ε))"))
    return replace(report, message=message, method=method, resolution=judged.resolution)


OF_THEMSELVES = ("swapped_gradients", "parameter_returned")  # whose words name the arrays


def _described(
    report: CheckReport, values: Mapping[str, Array], hand: Mapping[str, Array], data: tuple[Any, ...],
    loss: Any, output: Any, description: Mapping[str, Any],
) -> CheckReport:  # fmt: skip
    from mlp_torch.check.gradients import check_gradients

    if len(data) < 2:
        raise UserError("check_function: a description needs the data x and y")
    given = {"output": output, **description}
    named = check_gradients(values, hand, data[0], data[1], loss_value=float(loss), **given)
    if report.verdict == "right" and named.verdict not in ("right", "other_loss", "not_comparable"):
        own = "note: your gradients are the derivatives of your own loss; it is the loss that differs"
        if not named.faults:
            fault = Fault(
                "wrong_loss_value",
                None,
                ("loss",),
                "the loss is not the described one",
                "its own gradient is right",
            )
            named = replace(named, faults=[fault])
        return replace(named, notes=(*named.notes, own))
    return named
