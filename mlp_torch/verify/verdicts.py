"""The verdicts: two traces of one network side by side, a row a stage and a row a gradient.

Each side's stages are certified on their own inputs (`certificate.py`), the two sides are held against
each other within the sum of their global bounds (`propagation.py`), and every row gets one verdict.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from manual.numbers import Array
from manual.structure.trace import Stage, Trace
from mlp_torch.verify.bounds import Bounds
from mlp_torch.verify.certificate import SEVERITY, Judgement, Verdict, certify, not_known
from mlp_torch.verify.local import NO_TRUTH
from mlp_torch.verify.propagation import propagate
from mlp_torch.verify.report import ComparisonReport
from mlp_torch.verify.row import ComparisonRow


def compare_traces(
    ours: Trace, theirs: Trace, engines: tuple[str, str] = ("manual", "autograd")
) -> ComparisonReport:
    """Two traces of the same stages and leaves: a row a stage, a row a parameter's gradient.

    A stage is judged by itself: the worse of the two certificates, `exact` where both are good and all
    entries bit-equal. A gradient is `wrong` where any stage that it follows from is; `undecided` where
    the two differ by more than rounding allows unless a unit at a kink fell on either side.
    """
    read = {name for stage in ours for name in stage.reads}
    for name in (stage.name for stage in ours if stage.name in read):
        a, b = np.shape(ours[name]), np.shape(theirs[name])
        if a != b:  # what follows from it has no shape to be judged in
            raise ValueError(f"{name} has shape {a} on one side and {b} on the other")
    traces = dict(zip(engines, (ours, theirs), strict=True))
    judgements = {engine: certify(t) for engine, t in traces.items()}
    bounds = [propagate(t) for t in traces.values()]
    units = _kink_units(bounds)
    smooth = [propagate(t, jumps=False) for t in traces.values()] if units else bounds
    behind = _ancestors(ours)
    stages: dict[str, ComparisonRow] = {}
    parameters: dict[str, ComparisonRow] = {}
    for stage in ours:
        evidence = {
            engine: _beside(judgements[engine][stage.name], traces[other])
            for engine, other in zip(engines, reversed(engines), strict=True)
        }
        numbers = _numbers(ours[stage.name], theirs[stage.name], bounds, stage.name)
        verdict: Verdict = max((j.verdict for j in evidence.values()), key=SEVERITY.index)
        if verdict == "certified" and numbers["equal"] == numbers["size"]:
            verdict = "exact"
        note = next((j.note for j in evidence.values() if j.note), "")
        apart = {}
        if note.startswith(NO_TRUTH):
            apart = {engine: _apart(stage, t) for engine, t in traces.items()}
        stages[stage.name] = ComparisonRow(
            stage.name,
            **numbers,
            verdict=verdict,
            stage=stage.name,
            note=note,
            evidence=evidence,
            apart=apart,
        )
        if stage.parameter is None:
            continue
        ancestors = [stages[name] for name in stages if name in behind[stage.name]]
        wrong = [row.name for row in ancestors if row.verdict == "wrong"]
        kinks = tuple(unit for unit in units if unit[0] in behind[stage.name])
        if wrong:
            verdict, note = "wrong", f"follows from {', '.join(wrong)}"
        elif (unjudged := next((row for row in ancestors if not_known(row.note)), None)) is not None:
            verdict, note = "undecided", f"{unjudged.name}: {unjudged.note}"
        elif numbers["ratio"] > 1:  # impossible from the same leaves, unless nothing could be judged
            verdict, note = "wrong", "differs by more than both sides' rounding"
        elif kinks and _numbers(ours[stage.name], theirs[stage.name], smooth, stage.name)["ratio"] > 1:
            verdict, note = "undecided", "a unit at a kink fell on different sides"
        parameters[stage.parameter] = ComparisonRow(
            stage.parameter,
            **numbers,
            verdict=verdict,
            stage=wrong[0] if wrong else stage.name,
            note=note,
            units=kinks,
            evidence=evidence,
        )
    loss = ours.stage("loss")
    return ComparisonReport(
        {name: parameters[name] for name in sorted(parameters, key=_module_order)},
        stages,
        str(ours["z1"].dtype),
        loss.row,
        str(loss.options["reduction"]),
        len(ours["x"]),
        engines=engines,
    )


def _beside(judgement: Judgement, other: Trace) -> Judgement:
    """The judgement with the other engine's value at the same entry."""
    value = np.asarray(other[judgement.stage])
    if judgement.verdict != "wrong" or len(judgement.index) != value.ndim:
        return judgement
    return replace(judgement, other=float(value[judgement.index]))


def _apart(stage: Stage, t: Trace) -> float:
    """‖value − plain formula‖ / ‖value‖ on this side's own inputs: what can be said without a truth."""
    with np.errstate(all="ignore"):
        value = np.asarray(t[stage.name], dtype=np.float64)
        gap = float(np.linalg.norm(np.ravel(value - np.asarray(stage.compute(t.values), dtype=np.float64))))
        size = float(np.linalg.norm(value.ravel()))
    return gap / size if size else gap


def _module_order(parameter: str) -> tuple[int, int, bool]:
    part, index, kind = parameter.split(".")
    return ("layers", "normalizations", "activations").index(part), int(index), kind == "bias"


def _ancestors(t: Trace) -> dict[str, set[str]]:
    """Each stage's own name and those of all stages that it follows from."""
    found: dict[str, set[str]] = {}
    for stage in t:
        found[stage.name] = {stage.name}.union(*(found.get(name, {name}) for name in stage.reads))
    return found


def _kink_units(bounds: Sequence[Bounds]) -> list[tuple[str, tuple[int, ...]]]:
    units: dict[tuple[str, tuple[int, ...]], None] = {}
    for b in bounds:
        for name, mask in b.kinks.items():
            for index in np.argwhere(mask):
                units[name, tuple(int(i) for i in index)] = None
    return list(units)


def _misshapen(b: Array) -> dict[str, Any]:
    """The numbers of two arrays that cannot be held side by side."""
    none = {"equal": 0, "size": b.size, "index": (), "manual": np.nan, "autograd": np.nan}
    far = {"max_abs": np.inf, "relative": np.inf, "bound": np.nan, "ratio": np.inf}
    return {"shape": b.shape, **none, **far}


def _numbers(ours: Any, theirs: Any, bounds: Sequence[Bounds], name: str) -> dict[str, Any]:
    a, b = np.asarray(ours), np.asarray(theirs)
    if a.shape != b.shape:
        return _misshapen(b)
    same = a == b
    if not same.all():
        same |= np.isnan(a) & np.isnan(b)
    a64, b64 = (array.astype(np.float64, copy=False) for array in (a, b))
    with np.errstate(all="ignore"):
        difference = np.where(same, 0.0, np.abs(a64 - b64))
        allowed = bounds[0].errors[name] + bounds[1].errors[name]
        share = np.divide(difference, allowed, out=np.zeros(a.shape), where=difference != 0)
    if not (np.isfinite(share).all() and np.isfinite(allowed).all()):
        share = np.where(np.isfinite(allowed), np.nan_to_num(share, nan=np.inf), 0.0)
    if name in bounds[0].unknown:
        share = np.full(a.shape, np.nan)
    known = difference if np.isfinite(difference).all() else np.nan_to_num(difference, nan=np.inf)
    index = np.unravel_index(int(np.argmax(known)), a.shape)
    with np.errstate(all="ignore"):  # a pass that overflowed is a verdict, not a warning
        size = float(np.linalg.norm(b64.ravel()))
        gap = float(np.linalg.norm(difference.ravel()))
    return {
        "shape": a.shape,
        "equal": int(same.sum()),
        "size": a.size,
        "max_abs": float(difference[index]),
        "index": tuple(int(i) for i in index),
        "manual": float(a64[index]),
        "autograd": float(b64[index]),
        "relative": gap / size if size else (0.0 if gap == 0 else float("inf")),
        "bound": float(np.max(allowed)),
        "ratio": float(share.max()),
    }
