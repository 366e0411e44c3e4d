"""The runs that kernels fail in: one row a run, how it is made, and the words where it fails."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mlp_torch.check.operations import layouts
from mlp_torch.check.operations.bench import (
    Bench,
    Runner,
    Trial,
    redrawn,
    some_outputs,
    sparse,
    twice,
    uninitialized,
    upstream,
)
from mlp_torch.check.operations.between import (
    batch_of,
    changed,
    elsewhere,
    expanded,
    laid_out,
    rows_expanded,
    subsets,
    two_forwards,
)
from mlp_torch.check.operations.calls import FROZEN_LEAF, RaisedError
from mlp_torch.check.operations.judging import near
from mlp_torch.check.operations.memory import filled
from mlp_torch.check.operations.misses import MISS, is_rounding, points
from mlp_torch.check.report import Fault


@dataclass(frozen=True)
class Run:
    """`when` follows "wrong only"; `why` is said where the suspected arrays are the author's ("" else).

    `optional`: a function that raises here refuses what it need not take.
    """

    name: str
    kind: str
    make: Runner
    when: str
    why: str = ""
    always: str = ""
    optional: bool = False


SHOWN = 4  # runs that follow from another fault
NOT_LINEAR = "a gradient is linear in the upstream, which is clipped or compared here"
# whose label is not known where it raises
SOME = {
    "requires_grad_subset": "some inputs need",
    "unused_output": "some outputs are",
    "upstream_values": "with zeros",
}
READ = "it is read as if it were contiguous"
RUNS = (
    Run("expanded upstream", "upstream_layout", upstream(layouts.expanded),
        "for an expanded upstream (as .sum().backward() hands down)", READ),
    Run("broadcast upstream", "upstream_layout", upstream(layouts.rows),
        "for one broadcast along the first axis (as .mean(0) hands down)", READ),
    Run("strided upstream", "upstream_layout", upstream(layouts.strided),
        "for a strided one (as [..., ::2])", READ),
    Run("offset upstream", "upstream_layout", upstream(layouts.offset),
        "for an upstream that begins inside its memory", ""),
    Run("transposed upstream", "upstream_layout", upstream(layouts.transposed),
        "for a transposed one", READ),
    Run("channels-last upstream", "upstream_layout", upstream(layouts.channels_last),
        "for a channels-last one", READ),
    Run("zero upstream", "upstream_layout", upstream(layouts.zero), "where the upstream is 0"),
    Run("sparse upstreams", "upstream_values", sparse, "for an upstream {label}",
        always="its values are taken for a mask"),
    Run("other upstreams", "upstream_values", redrawn, "for an upstream {label}",
        always="a gradient is linear in the upstream"),
    Run("tiny upstream", "upstream_values", upstream(layouts.scaled(-30)),
        "for a tiny upstream (times 2⁻³⁰, as from a mean over many entries)", always=NOT_LINEAR),
    Run("large upstream", "upstream_values", upstream(layouts.scaled(20)),
        "for a large upstream (times 2²⁰, as from loss scaling)", always=NOT_LINEAR),
    Run("strided inputs", "input_layout", laid_out(layouts.strided), "for strided inputs", optional=True),
    Run("offset inputs", "input_layout", laid_out(layouts.offset),
        "for inputs that begin inside their memory", optional=True),
    Run("transposed inputs", "input_layout", laid_out(layouts.transposed),
        "for transposed inputs", optional=True),
    Run("channels-last inputs", "input_layout", laid_out(layouts.channels_last),
        "for inputs in channels-last format", optional=True),
    Run("broadcast inputs", "input_layout", elsewhere(rows_expanded, expanded),
        "for expanded inputs", optional=True),
    Run("subsets of requires_grad", "requires_grad_subset", subsets, "where only {label} a gradient",
        "a reentrant checkpoint gives nothing to what it captures where none of its arguments needs any"),
    Run("backward twice", "backward_twice", twice,
        "in a second backward on one graph (retain_graph=True)",
        "the first one's result is returned again",
        always="the first one changes what forward saved"),
    Run("two forwards, then backward", "two_forwards", two_forwards,
        "where another forward{label} comes between forward and backward",
        "the other forward's values are used: what backward needs lies outside of its ctx",
        always="what backward needs lies outside of its ctx"),
    Run("inputs changed in between", "changed_inputs", changed(outputs=False),
        "where inputs are changed in place between forward and backward",
        always="nothing is raised: ctx.save_for_backward would"),
    Run("outputs changed in between", "changed_inputs", changed(outputs=True),
        "where outputs are changed in place between forward and backward",
        always="nothing is raised: ctx.save_for_backward would"),
    Run("some outputs used", "unused_output", some_outputs, "where {label} used"),
    Run("uninitialized memory", "uninitialized_memory", uninitialized,
        "where fresh memory holds NaN",
        always="entries of torch.empty or np.empty are read before they are written"),
    Run("batch of 1", "batch_size", elsewhere(batch_of(1)), "for a batch of 1", optional=True),
    Run("batch of 0", "batch_size", elsewhere(batch_of(0)), "for a batch of 0", optional=True),
)  # fmt: skip


def outcome(run: Run, bench: Bench, reference: Bench, tag: str) -> tuple[str, Fault | None]:
    """(what the report lists, the fault): "right", "" where the run does not apply, "refused: …", "wrong".

    Nobody is held to a run that the reference fails in: as_strided reads its memory by definition.
    """
    said, fault = _made_run(run, bench, tag)
    if fault and _made_run(run, reference, tag)[0] not in ("right", ""):
        return "not judged: the reference fails too", None
    if fault and not _made_run(run, bench, tag, MISS)[1]:
        failing = (_made_run(run, there, tag)[1] is not None for there in points(bench))
        if is_rounding(failing):
            return "right", None
    return said, fault


def _only_memory(run: Run, bench: Bench) -> bool:
    """The run is right but for the entries that are NaN where fresh memory is."""
    try:
        with filled(math.nan):
            trials = list(run.make(bench))
    except RaisedError:
        return False
    return all(
        h.shape == t.shape and near(np.where(np.isnan(h), t, h), t, trial.floor, n, trial.weight)
        for trial in trials
        for n, h in trial.hand.items()
        for t in (trial.true[n],)
    )


def _made_run(run: Run, bench: Bench, tag: str, times: float = 1.0) -> tuple[str, Fault | None]:
    made, remark = 0, ""
    try:
        for trial in run.make(bench):
            made, remark = made + 1, trial.remark or remark
            wrong = [
                n
                for n, h in trial.hand.items()
                if not near(h, trial.true[n], trial.floor, n, trial.weight, times=times)
            ]
            if wrong:
                return "wrong", _fault(run, trial, wrong, tag)
    except RaisedError as error:
        if error.who != bench.side.who or FROZEN_LEAF in str(error.error):
            return "", None
        if run.optional:
            return f"refused: {error.line}", None
        when = run.when.format(label=SOME.get(run.kind, ""))
        text = f"raises only {when}: {error.line}"
        return "wrong", Fault(run.kind, None, (error.stage,), text, f"{tag}: {error.stage}")
    return (f"right: {remark}" if remark else "right" if made else ""), None


def _fault(run: Run, trial: Trial, wrong: list[str], tag: str) -> Fault:
    why = run.always
    if run.why:
        try:
            suspected = trial.suspect()
        except RaisedError:
            suspected = None
        if suspected and all(near(trial.hand[n], suspected[n], trial.floor, n, trial.weight) for n in wrong):
            why = run.why
    h, t = trial.hand[wrong[0]], trial.true[wrong[0]]
    evidence = f"{tag}: shape {h.shape}, true {t.shape}"
    if h.shape == t.shape:
        with np.errstate(all="ignore"):
            gap = np.where(np.isfinite(h), np.abs(h - t), np.inf)
        at = np.unravel_index(int(np.argmax(gap)), gap.shape) if gap.size else ()
        place = f"[{', '.join(str(int(i)) for i in at)}]"
        evidence = f"{tag}: {wrong[0]}{place} is {h[at]:.6g}, the true one {t[at]:.6g}"
    text = f"wrong only {run.when.format(label=trial.label)}" + (f": {why}" if why else "")
    return Fault(run.kind, None, tuple(wrong), text, evidence)


def _causes(failed: Mapping[str, Fault], bench: Bench) -> list[Fault]:
    """One cause, said once: the runs that memory alone fails are named with it."""
    memory = next((n for n, fault in failed.items() if fault.kind == "uninitialized_memory"), None)
    if memory is None:
        return list(failed.values())
    follow = [
        run.name for run in RUNS if run.name in failed and run.name != memory and _only_memory(run, bench)
    ]
    shown = follow if len(follow) <= SHOWN else [*follow[: SHOWN - 1], f"{len(follow) - SHOWN + 1} more"]
    more = f" (and so in the runs: {', '.join(shown)})" if follow else ""
    said = replace(failed[memory], detail=failed[memory].detail + more)
    return [said if name == memory else fault for name, fault in failed.items() if name not in follow]


def merged(failed: Mapping[str, Fault], bench: Bench) -> list[Fault]:
    """One fault for several runs that fail alike: "wrong only A, B and C: why"."""
    together: dict[tuple[str, ...], list[Fault]] = {}
    for fault in _causes(failed, bench):
        opening, why = fault.detail.split(" ")[0], fault.detail.partition(": ")[2]
        together.setdefault((fault.kind, opening, why, *fault.arrays), []).append(fault)
    found = []
    for (kind, opening, why, *arrays), some in together.items():
        when = [f.detail.partition(": ")[0].removeprefix(f"{opening} only ") for f in some]
        said = " and ".join([", ".join(when[:-1]), when[-1]]) if len(when) > 1 else when[0]
        detail = f"{opening} only {said}" + (f": {why}" if why else "")
        found.append(Fault(kind, None, tuple(arrays), detail, some[0].evidence))
    return found
