"""The chain of factors from the loss down to one entry of one parameter, read off two traces.

    ∂L/∂w₁ = ∂L/∂f₃ ∂f₃/∂a₃ ∂a₃/∂f₂ ∂f₂/∂a₂ ∂a₂/∂f₁ ∂f₁/∂a₁ ∂a₁/∂w₁

Each factor keeps only the units that the entry needs; `contract` multiplies them, and the product is the
entry of the gradient. What the layer above has computed already is marked: re-use (propagate)!
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manual.numbers import Array
from manual.structure.trace import Stage, Trace
from mlp_torch.explanation.factors import LAST, LocalDerivative, last, local
from mlp_torch.explanation.killer import Killer, gains, killer
from mlp_torch.verify.certificate import Verdict
from mlp_torch.verify.report import ComparisonReport
from mlp_torch.verify.row import ComparisonRow
from mlp_torch.verify.verdicts import compare_traces

START = "start"
REUSE = "already computed, re-use (propagate)!"


@dataclass(frozen=True)
class Factor:
    """∂numerator/∂denominator, and what the product has become with it.

    `rule` is the einsum that takes the product so far and `values` to the next product (`factors.py`);
    `manual` and `autograd` are that product as each engine's trace holds it under the name `stage`.
    `units` are the columns of the stage that the entry needs. `forward` stands above `backward`.
    """

    stage: str
    layer: int
    kind: str
    row: str
    numerator: str
    denominator: str
    forward: str
    backward: str
    rule: str
    label: str
    values: Array
    units: tuple[int, ...]
    reused: bool
    manual: Array
    autograd: Array
    verdict: Verdict
    note: str

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain numbers and lists."""
        table = dict(vars(self))
        arrays = {name: np.asarray(table[name]) for name in ("values", "manual", "autograd")}
        lists: dict[str, Any] = {name: value.astype(float).tolist() for name, value in arrays.items()}
        return table | lists | {"shape": list(arrays["values"].shape), "units": list(self.units)}


@dataclass(frozen=True)
class Explanation:
    """One entry ∂L/∂parameter[index] and the factors whose product it is.

    `product` is contracted from the factors in float64; `tolerance` is what rounding may make of its
    distance to `manual`, the hand-written gradient's entry. `report` is the instrument's, on both traces.
    """

    parameter: str
    symbol: str
    index: tuple[int, ...]
    loss: float
    factors: tuple[Factor, ...]
    product: float
    manual: float
    autograd: float
    tolerance: float
    report: ComparisonReport
    traces: tuple[Trace, Trace]
    title: str = ""

    @property
    def name(self) -> str:
        return f"{self.parameter}[{','.join(map(str, self.index))}]"

    @property
    def entry(self) -> str:
        """The entry's name inside the chain rule, `W1[2,0]`."""
        return f"{self.symbol}[{','.join(map(str, self.index))}]"

    @property
    def multiplies(self) -> bool:
        """Whether the product of the factors is the entry of the hand-written gradient."""
        return bool(abs(self.product - self.manual) <= self.tolerance)

    @property
    def row(self) -> ComparisonRow:
        """The instrument's row of the whole gradient that the entry belongs to."""
        return self.report.parameters[self.parameter]

    @property
    def holds(self) -> bool:
        """The product is the gradient, and nothing on the way is proven wrong."""
        return self.multiplies and self.row.verdict != "wrong" and not self.wrong

    @property
    def wrong(self) -> list[Factor]:
        return [factor for factor in self.factors if factor.verdict == "wrong"]

    def __repr__(self) -> str:
        from mlp_torch.explanation.notebook import text  # it builds explanations

        return text(self)

    def _repr_html_(self) -> str:
        from mlp_torch.explanation.notebook import page

        return page(self)

    @property
    def killer(self) -> Killer | None:
        """The factor that makes the product nearly 0, if one does."""
        return killer(self)

    def marked(self, factor: Factor) -> str:
        """What is written beside a factor: why it kills the gradient, if it does."""
        found = self.killer
        return found.mark if found is not None and found.stage == factor.stage else ""

    def to_dict(self) -> dict[str, Any]:
        """What `--json` prints: multiply by `product = einsum(rule, product, values)` from the first on."""
        return {
            "parameter": self.parameter,
            "index": list(self.index),
            "title": self.title,
            "holds": self.holds,
            "verdict": self.row.verdict,
            "loss": self.loss,
            "dtype": self.report.dtype,
            "samples": self.report.samples,
            "gradient": {"manual": self.manual, "autograd": self.autograd},
            "product": self.product,
            "tolerance": self.tolerance,
            "killer": None if self.killer is None else vars(self.killer),
            "factors": [
                factor.to_dict() | {"gain": gain}
                for factor, gain in zip(self.factors, gains(self.factors), strict=True)
            ],
        }


def contract(factors: Sequence[tuple[str, Any]]) -> float:
    """The product of (rule, values) in float64, from the loss down; the first is the start."""
    product = np.array(factors[0][1], dtype=np.float64, order="C")
    for rule, values in factors[1:]:
        product = np.einsum(rule, product, np.array(values, dtype=np.float64, order="C"))
    return float(product)


def path(trace: Trace, end: Stage) -> list[Stage]:
    """The stages from the loss's gradient to that one: each one's first read is the one before."""
    stages = [end]
    by_name = {s.name: s for s in trace}
    while stages[0].kind != "loss_gradient":
        stages.insert(0, by_name[stages[0].reads[0]])
    return stages


def explain(
    ours: Trace,
    theirs: Trace,
    parameter: str,
    index: tuple[int, ...],
    title: str = "",
    report: ComparisonReport | None = None,
) -> Explanation:
    """Explain ∂L/∂parameter[index] from the manual trace and autograd's of the same leaves.

    `parameter` is a `state_dict` name and `index` valid for its shape. The backward pass is read, never
    run again: a factor is its stage's own function on unit gradients. `report` is the instrument's on
    both traces, where there is one already.
    """
    report = report or compare_traces(ours, theirs)
    stages = path(ours, _gradient(ours, parameter))
    end, units = last(stages[-1], ours, index)
    above, columns = _descend(stages[:-1], ours, units)
    locals_ = [*above, end]
    reused = _already(ours, stages[-1].layer)
    factors = tuple(
        _factor(s, part, c, ours, theirs, report, s.name in reused)
        for s, part, c in zip(stages, locals_, [*columns, np.array(index)], strict=True)
    )
    scale = contract([(part.rule, part.magnitude) for part in locals_])
    limits = np.finfo(ours["z1"].dtype)
    terms = sum(part.terms for part in locals_)
    return Explanation(
        parameter=parameter,
        symbol=stages[-1].name[1:],
        index=index,
        loss=float(ours.loss),
        factors=factors,
        product=contract([(f.rule, f.values) for f in factors]),
        manual=float(ours.gradients[parameter][index]),
        autograd=float(theirs.gradients[parameter][index]),
        tolerance=float(terms * (limits.eps * scale + limits.smallest_normal)),
        report=report,
        traces=(ours, theirs),
        title=title,
    )


def to_units(
    ours: Trace, theirs: Trace, stage: str, units: Sequence[int], report: ComparisonReport
) -> tuple[Factor, ...]:
    """The factors from the loss down to the `units` of a stage that passes a gradient on, such as `dz1`."""
    stages = path(ours, ours.stage(stage))
    parts, columns = _descend(stages, ours, np.array(units))
    reused = _already(ours, stages[-1].layer)
    return tuple(
        _factor(s, part, c, ours, theirs, report, s.name in reused)
        for s, part, c in zip(stages, parts, columns, strict=True)
    )


def _gradient(trace: Trace, parameter: str) -> Stage:
    return next(s for s in trace if s.parameter == parameter)


def _descend(
    stages: Sequence[Stage], trace: Trace, units: Array
) -> tuple[list[LocalDerivative], list[Array]]:
    """The local derivatives from the loss down to the last stage's `units`, and the units of each stage."""
    locals_: list[LocalDerivative] = []
    columns = [units]
    for stage in reversed(stages[1:]):
        locals_.insert(0, local(stage, trace, units))
        if locals_[0].rule.startswith("nk"):
            units = np.arange(trace[stage.reads[0]].shape[1])
        columns.insert(0, units)
    start = trace["dloss"][:, units]
    return [LocalDerivative(START, "∂loss", start, np.abs(start), 1), *locals_], columns


def _already(trace: Trace, layer: int) -> set[str]:
    """The stages that the weights of the layer above have needed already."""
    above = [s for s in trace if s.kind == "linear_backward_weight" and s.layer == layer + 1]
    return {s.name for s in path(trace, above[0])} if above else set()


def _factor(
    stage: Stage,
    part: LocalDerivative,
    columns: Array,
    ours: Trace,
    theirs: Trace,
    report: ComparisonReport,
    reused: bool,
) -> Factor:
    row = report.stages[stage.name]
    above = "loss"
    if part.rule != START:
        above = stage.reads[0][1:]
        if stage.reads[0] == "dloss":
            above = ours.stage("loss").reads[0]
    where: Any = tuple(columns) if part.rule == LAST else np.s_[:, columns]
    return Factor(
        stage=stage.name,
        layer=stage.layer,
        kind=stage.kind,
        row=stage.row,
        numerator=above,
        denominator=ours.stage("loss").reads[0] if part.rule == START else stage.name[1:],
        forward=ours.stage(above).formula,
        backward=stage.formula,
        rule=part.rule,
        label=part.label,
        values=part.values,
        units=tuple(int(c) for c in columns),
        reused=reused,
        manual=ours[stage.name][where],
        autograd=theirs[stage.name][where],
        verdict=row.verdict,
        note=row.blame() or row.note,
    )
