"""From what was handed over to the verdict: layouts, the author's output, other descriptions."""

import time
from collections.abc import Iterator
from dataclasses import replace

from mlp_torch.check.describe import layout, readings, scope
from mlp_torch.check.describe.forward import Network
from mlp_torch.check.describe.scope import Asked, ambiguous, forward_mismatch, same_loss, same_output
from mlp_torch.check.describe.shapes import MisfitError
from mlp_torch.check.network import all_match, diagnosed, finite, parts_of, right_as_described
from mlp_torch.check.report import CheckReport
from mlp_torch.check.search.diagnosis import Case
from mlp_torch.errors import UserError

PATIENCE = 1.2  # seconds of work for other descriptions


def judge(given: layout.Given, case: Case, asked: Asked) -> CheckReport:
    """The report. Raises UserError where the shapes leave a choice."""
    case = replace(case, output_known=asked.output is not None, loss_given=asked.loss_value is not None)
    report, p = _as_described(given, case, asked)
    uncovered = any(name in case.hand for name in scope.unmentioned(given))
    blank = report.message.startswith(scope.NOTHING)
    if (report.verdict != "right" or uncovered) and not blank and (p is not None or asked.output is not None):
        report = _reread(given, case, asked, report)
    if report.verdict == "wrong" and {f.kind for f in report.faults} == {"forward_mismatch"}:
        report = replace(
            report, verdict="not_comparable"
        )  # another network is described: no fault of the author
    return scope.told(report, given, case.hand, p)


def _as_described(given: layout.Given, case: Case, asked: Asked) -> tuple[CheckReport, Network | None]:
    """(report, the network that it is about) of the description as it stands."""
    try:
        problems = [replace(p, unit=asked.unit) for p in layout.readings(given)]
    except MisfitError as misfit:
        return CheckReport("not_comparable", {}, message=f"the shapes fit no layout: {misfit}"), None
    if asked.output is not None:
        matching = [p for p in problems if same_output(p, asked)]
        if not matching:
            return forward_mismatch(problems[0], asked.output), None
        problems = matching
    if len(problems) > 1 and asked.loss_value is not None:
        problems = [p for p in problems if same_loss(p, asked)] or problems
    if len(problems) > 1:
        for p in problems:
            report = right_as_described(p, case, asked) if finite(p, case) else None
            if report is not None and (report.passed or report.message.startswith(scope.NOTHING)):
                return report, p
        raise UserError(ambiguous(problems))
    return diagnosed(problems[0], case, asked), problems[0]


def _candidates(
    given: layout.Given, asked: Asked, unbiased: bool = False
) -> Iterator[tuple[readings.Reading, Network]]:
    for reading in readings.changes(given, unbiased):
        try:
            found = layout.readings(reading.given)
        except (MisfitError, UserError):
            continue
        for p in found[:8]:
            p = replace(p, unit=asked.unit)
            if asked.output is None or same_output(p, asked):
                yield reading, p


def _judges(reading: readings.Reading, p: Network, case: Case, asked: Asked) -> bool:
    """Whether the report under another description says what is right or wrong, and not that nothing is."""
    if asked.output is None or not parts_of(p, case) or not finite(p, case):
        return False
    found = diagnosed(p, case, asked)
    return found.verdict != "not_comparable" and bool(found.faults or found.passed)


def _reread(given: layout.Given, case: Case, asked: Asked, report: CheckReport) -> CheckReport:
    """The report with what a small change of the description would make of it."""
    mismatch = any(f.kind == "forward_mismatch" and f.arrays == ("output",) for f in report.faults)
    unbiased = mismatch or any(f.kind == "forward_mismatch" and "bias" in f.detail for f in report.faults)
    end = time.thread_time() + PATIENCE
    forward: readings.Reading | None = None
    proved: list[readings.Reading] = []
    fitting: list[readings.Reading] = []
    for reading, p in _candidates(given, asked, unbiased):
        if time.thread_time() > end:
            break
        if report.verdict == "right" and not reading.write.startswith("bias='"):
            continue  # all is right but an array that no layer mentions
        if mismatch and forward is None and _judges(reading, p, case, asked):
            forward = reading
        if not all_match(p, case) or not finite(p, case):
            continue
        found = right_as_described(p, case, replace(asked, loss_value=None))
        if found is None or found.verdict != "right":
            continue
        known = asked.loss_value is not None and same_loss(p, asked)
        if asked.loss_value is not None and not known:
            continue  # the author's loss value says that it is another network
        (proved if known or mismatch else fitting).append(reading)
        if len(proved) + len(fitting) >= 3:
            break
    return scope.reread(report, [*proved, *fitting], bool(proved), forward)
