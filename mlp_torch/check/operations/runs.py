"""The runs that kernels fail in: one row a run, how it is made, and the words where it fails."""

from dataclasses import dataclass

import numpy as np

from mlp_torch.check.operations import layouts
from mlp_torch.check.operations.bench import (
    Bench,
    Runner,
    Trial,
    alone,
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


NOT_LINEAR = "a gradient is linear in the upstream, which is clipped or compared here"
# whose label is not known where it raises
SOME = {
    "requires_grad_subset": "some inputs need",
    "unused_output": "one output",
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
    Run("one output used", "unused_output", alone, "where {label} alone is used"),
    Run("uninitialized memory", "uninitialized_memory", uninitialized,
        "where fresh memory holds NaN", always="entries of torch.empty are read before they are written"),
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
    return said, fault


def _made_run(run: Run, bench: Bench, tag: str) -> tuple[str, Fault | None]:
    made = 0
    try:
        for trial in run.make(bench):
            made += 1
            wrong = [
                n for n, h in trial.hand.items() if not near(h, trial.true[n], trial.floor, n, trial.weight)
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
    return ("right" if made else ""), None


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
