"""check_autograd_function: a torch callable with a hand-written backward against autograd of a reference."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from mlp_torch.check.lines.guilty import NAMED, TIMEOUT
from mlp_torch.check.lines.tensors.guilty import tensor_lines
from mlp_torch.check.operations.calls import kept_state
from mlp_torch.check.operations.judging import Finding
from mlp_torch.check.operations.place import Place
from mlp_torch.check.operations.tensors import Arguments, arguments, differentiable, flat
from mlp_torch.check.report import CheckReport, Fault
from mlp_torch.errors import UserError

RIGHT = ("right", "not_comparable", "not judged")
ORDER = ("wrong", "not_comparable", "scaled", "right")


def check_autograd_function(
    function: Any,
    reference: Callable[..., Any],
    inputs: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    devices: Sequence[str] | None = None,
    dtypes: Sequence[torch.dtype] | None = None,
    double_backward: bool = False,
    timeout: float | None = None,
) -> CheckReport:
    """Judge the backward of `function` by autograd of `reference`.

    `function` is a torch.autograd.Function or any torch callable; both are called with `inputs` and `kwargs`,
    tensors nested in lists, tuples and dicts included, under one seed. Where any tensor requires a gradient,
    only those are judged; else all floating and complex ones (a complex one as its real and imaginary parts).

    `dtypes`: what the floating inputs are cast to, one check each; the default is float64, if the function
    keeps it through, and the dtypes given. `devices`: the CPU, and a GPU where there is one.

    The noise floor is 4 times what rounding is measured to do to the reference's gradient (inputs moved by
    one unit of the dtype, every operation rounded, the reference's own error in that dtype against float64)
    plus a few units; `resolution` in the report says how small a slip would show. A single entry that is off
    by more than its own rounding is looked at under 40 other inputs and upstreams: rounding changes sides
    there, and a slip does not. Entries on a kink, where the gradient jumps, are told from rounding and named;
    there any one-sided derivative, or a mixture of them, is right.

    Where the gradient is right, the runs that kernels fail in are made (`report.runs`): upstreams and inputs
    of other layouts, other upstreams (a gradient is linear in them), subsets of requires_grad, backward
    twice, two forwards, inputs changed in between, some outputs used, uninitialized memory, batches of 1 and
    0. Where one fails, the verdict is "wrong" and the fault says in which alone. The second derivative is a
    note, and counts with `double_backward=True`.

    Where a gradient is wrong, `.lines` names the lines of the author's source that are to blame, each proven
    on two draws of the inputs and the upstream, or the output of a compiled kernel that is; `timeout` is the
    seconds for that (10, and 2 where the fault has a name already).

    "not_comparable", with the cause: a reference that is random, NaN or ill-conditioned at these inputs,
    another forward pass, nothing to differentiate. Raises UserError where one of the functions raises in its
    forward pass, where an output has another shape than the reference's, and for tensors without entries.
    """
    given = arguments(inputs, kwargs)
    places = list(devices or ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
    if any(torch.device(d).type == "meta" for d in places):
        raise UserError("devices: a meta tensor holds no values to compare")
    findings: list[Finding] = []
    with kept_state():
        for device in places:
            place = Place(_callable(function), _callable(reference), given, device, double_backward)
            findings += place.findings(dtypes)
        report = _report(findings, given)
        return _with_lines(report, function, reference, given, places[0], timeout)


def _with_lines(
    report: CheckReport, function: Any, reference: Any, given: Arguments, device: str, timeout: float | None
) -> CheckReport:
    """The report with the lines that are to blame, where gradients of the plain run are wrong."""
    wrong = {name.rsplit(" ", 2)[0] for name, row in report.arrays.items() if row.verdict not in RIGHT}
    raising = any(f.kind == "backward_raises" for f in report.faults)
    if report.verdict not in ("wrong", "scaled") or not (wrong or raising):
        return report
    seconds = timeout if timeout is not None else NAMED if report.faults and not raising else TIMEOUT
    names = list(wrong) if wrong else given.judged_names
    lines, why = tensor_lines(_widened(function), _widened(reference), given, names, device, seconds)
    return replace(report, lines=tuple(lines), notes=(*report.notes, *([f"note: {why}"] if why else [])))


def _widened(function: Any) -> Any:
    """What is called, in float64."""
    if isinstance(function, torch.nn.Module):
        return copy.deepcopy(function).double()
    return _callable(function)


def _callable(function: Any) -> Callable[..., Any]:
    is_class = isinstance(function, type) and issubclass(function, torch.autograd.Function)
    found = function.apply if is_class else function
    if isinstance(found, torch.nn.Module):
        return _cast(found)
    if not callable(found):
        raise UserError(f"give a torch.autograd.Function or a callable, not a {type(found).__name__}")
    return found


def _cast(module: torch.nn.Module) -> Callable[..., Any]:
    """A copy of the module in each dtype and on each device that it is called with: the caller's stays."""
    copies: dict[Any, torch.nn.Module] = {}

    def call(*inputs: Any, **kwargs: Any) -> Any:
        leaves = flat([inputs, kwargs], "", [])
        first = next((v for _, v in leaves if differentiable(v)), None)
        if first is None:
            return module(*inputs, **kwargs)
        key = (first.dtype, first.device)
        if key not in copies:
            copies[key] = copy.deepcopy(module).to(dtype=first.dtype, device=first.device)
        return copies[key](*inputs, **kwargs)

    return call


def _report(findings: list[Finding], given: Arguments) -> CheckReport:
    verdict = min((f.verdict for f in findings), key=ORDER.index)
    faults: list[Fault] = []
    for found in findings:
        faults += [f for f in found.faults if (f.kind, f.arrays) not in {(g.kind, g.arrays) for g in faults}]
    notes = list(dict.fromkeys(f"{f.tag}: {text}" for f in findings for text in f.notes))
    runs: dict[str, str] = {}
    for found in findings:
        runs |= {f"{name} {found.tag}": said for name, said in found.runs.items()}
    resolution = max((f.resolution for f in findings), default=math.nan)
    others = [n for n, v in zip(given.names, given.leaves, strict=True)
              if isinstance(v, torch.Tensor) and n not in given.judged_names]  # fmt: skip
    if others:
        notes.append(f"not judged: {', '.join(others)} (no gradient is asked for)")
    if runs:
        notes += _runs_note(findings)
    rows = {f"{name} {f.tag}": row for f in findings for name, row in f.rows.items()}
    return CheckReport(
        verdict,
        rows,
        faults,
        message=_message(verdict, findings, faults, given),
        notes=tuple(notes),
        method="torch.autograd of the reference",
        runs=runs,
        resolution=resolution,
    )


def _message(verdict: str, findings: list[Finding], faults: list[Fault], given: Arguments) -> str:
    if verdict == "right":
        judged = ", ".join(given.judged_names)
        each = " and ".join(map(_resolved, findings))
        count = sum(sum(said == "right" for said in f.runs.values()) for f in findings)
        return f"every gradient is right: {judged} {each}, in {count} runs"
    if verdict == "not_comparable":
        return next((f.message for f in findings if f.verdict == verdict), "")
    parts = [_sentence(f) for f in faults]
    parts += [f.message for f in findings if f.message and f.verdict in ("wrong", "scaled")]
    return " ".join(dict.fromkeys(parts))


def _resolved(found: Finding) -> str:
    """How small a slip of an array, and of a single entry, would show."""
    single = f", a typical entry to {found.entries:.1g}" if found.entries else ""
    return f"to {found.resolution:.1g} in {found.tag}{single}" if found.resolution else f"in {found.tag}"


def _sentence(fault: Fault) -> str:
    if fault.arrays in (("forward",), ("backward",)):
        return f"the {fault.arrays[0]} {fault.detail}."
    plural = {"is ": "are ", "has ": "have ", "lacks ": "lack ", "comes ": "come "}
    detail = fault.detail
    if len(fault.arrays) > 1:
        for one, many in plural.items():
            if detail.startswith(one):
                detail = many + detail.removeprefix(one)
    return f"{' and '.join(fault.arrays)}: {detail}."


def _runs_note(findings: list[Finding]) -> list[str]:
    """The runs made, once for all dtypes and devices; those that failed or were refused alone."""
    made = dict.fromkeys(name for f in findings for name, said in f.runs.items() if said == "right")
    failed = [
        f"{f.tag}: {name}: {said}"
        for f in findings
        for name, said in f.runs.items()
        if said != "right" and not said.startswith("wrong")
    ]
    return ([f"right in the runs: {', '.join(made)}"] if made else []) + failed
