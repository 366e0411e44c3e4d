"""What a verdict covers, in words: the author's output and loss, what was judged, what no layer mentions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe import arguments as must
from mlp_torch.check.describe.forward import Network
from mlp_torch.check.describe.kinks import Taken
from mlp_torch.check.describe.layout import Given
from mlp_torch.check.describe.noise import DOUBLE, SINGLE
from mlp_torch.check.describe.readings import Reading
from mlp_torch.check.describe.shapes import MisfitError, orient
from mlp_torch.check.report import CheckReport, Fault, sentence

NOTHING = "nothing was judged: "
RIGHT = "every gradient is right"


@dataclass(frozen=True)
class Asked:
    """What the author's arrays are held against besides: output and loss value, and the ε they came with."""

    output: Array | None = None
    loss_value: float | None = None
    unit: float = DOUBLE

    @property
    def slack(self) -> float:
        """How far the author's output and loss may lie from ours, relatively."""
        return {DOUBLE: 1e-7, SINGLE: 1e-4}.get(self.unit, 8 * self.unit)


def same_loss(p: Network, asked: Asked) -> bool:
    assert asked.loss_value is not None
    return abs(p.loss_value() - asked.loss_value) <= asked.slack * abs(asked.loss_value)


def same_output(p: Network, asked: Asked) -> bool:
    assert asked.output is not None
    try:
        mine = orient(asked.output, p.samples, p.output.shape[1], p.choices["output_samples"], "output")
    except MisfitError:
        return False
    scale = max(float(np.linalg.norm(p.output)), 1e-300)
    return float(np.linalg.norm(mine - p.output)) <= asked.slack * scale


def forward_mismatch(p: Network, output: Array) -> CheckReport:
    try:
        mine = orient(output, p.samples, p.output.shape[1], p.choices["output_samples"], "output")
        index = np.unravel_index(int(np.argmax(np.abs(mine - p.output))), mine.shape)
        where = [int(i) for i in index]
        evidence = (
            f"your output{where} is {mine[index]:.6g}, the described network gives {p.output[index]:.6g}"
        )
    except MisfitError as misfit:
        evidence = str(misfit)
    fault = Fault(
        "forward_mismatch", None, ("output",), "the forward pass differs from the layers described", evidence
    )
    text = f"your forward pass is not the one described, so gradients cannot be compared: {evidence}."
    return CheckReport("not_comparable", {}, [fault], message=text)


def ambiguous(problems: list[Network]) -> str:
    differing = [
        option
        for option in ("samples", "weight_layout", "output_samples")
        if len({str(p.choices[option]) for p in problems}) > 1
    ]
    if "samples" in differing:
        differing = [d for d in differing if d != "output_samples"]
    choices = {
        "samples": "'rows' or 'columns'",
        "output_samples": "'rows' or 'columns'",
        "weight_layout": "'in,out' or 'out,in'",
    }
    asked = " and ".join(f"{option}={choices[option]}" for option in differing)
    return f"the shapes allow more than one layout; say {asked or 'samples='}"


def unmentioned(given: Given) -> list[str]:
    """Parameters that no layer, slope or penalty mentions."""
    used = {*must.used(given.layers)}
    return [name for name in given.parameters if name not in used]


def nothing(why: str) -> CheckReport:
    """The report where there is nothing to judge."""
    return CheckReport("not_comparable", {}, message=f"{NOTHING}{why}")


def told(report: CheckReport, given: Given, hand: Mapping[str, Array], p: Network | None) -> CheckReport:
    """The report with what it covers and what it does not."""
    message, notes, verdict = report.message, report.notes, report.verdict
    if verdict == "right" and message == RIGHT:
        message = f"{RIGHT}: {sentence(list(report.arrays))}"
    added = " ".join(f.detail for f in report.faults)
    for name in unmentioned(given):
        if f"bias={name!r}" in added:
            continue
        said = f"{name} is in your parameters and in no layer: nothing was said of it"
        if name not in hand:
            notes = (*notes, f"note: {said}, and it has no gradient")
        elif verdict == "right" or message.startswith(name):
            verdict = "not_comparable"
            rest = "" if message.startswith(name) else f". Of the others {message}"
            message = f"{said}; {_remedy(name, given, p)}{rest}"
        else:
            notes = (*notes, f"note: {said}; {_remedy(name, given, p)}")
    return replace(report, verdict=verdict, message=message, notes=notes)


def _remedy(name: str, given: Given, p: Network | None) -> str:
    size = given.parameters[name].size
    for layer, asked in zip(p.layers if p else (), given.layers, strict=False):
        if asked.bias is None and asked.bias_in_weight is None and size in (1, layer.W.shape[1]):
            return f"add bias={name!r} to layer {layer.index}, or leave it out"
    return "describe the layer that uses it, or leave it out"


def hidden(report: CheckReport, names: Sequence[str], unit: float) -> CheckReport:
    """Nothing is wrong, and rounding leaves arrays in which a slip would not be seen."""
    names = [name for name in dict.fromkeys(names) if name in report.arrays]
    remedy = (
        "compute in float64"
        if unit > DOUBLE
        else "take a batch that saturates fewer units, or a larger lr for a step"
    )
    rows = {n: replace(row, verdict="hidden") if n in names else row for n, row in report.arrays.items()}
    text = f"rounding hides {sentence(names)}: there is little more than rounding there; {remedy}"
    rest = [n for n in rows if n not in names]
    text += f". Right: {sentence(rest)}" if rest else ""
    return replace(report, verdict="not_comparable", arrays=rows, message=text)


def blank(report: CheckReport) -> CheckReport:
    """All is right because all of it is 0, as it would be of a wrong backward pass."""
    rows = {n: replace(row, verdict="hidden") for n, row in report.arrays.items()}
    exact = all(row.truth == 0 for row in rows.values())
    text = (
        f"{NOTHING}every true gradient is 0 here{'' if exact else ' up to rounding'}, and so are yours: the "
        "loss has no slope at these values, and a wrong backward pass gives 0 too. Change y or a parameter, "
        "and check again"
    )
    return replace(report, verdict="not_comparable", arrays=rows, message=text, notes=())


NEITHER = (
    "a kink has no derivative, and this is neither of the one-sided ones nor their mean: move x, a weight or "
    "a bias a little, so that nothing lies on the kink, and check again"
)


def between(report: CheckReport, way: Taken, names: Sequence[str]) -> CheckReport:
    """All is right but what was taken at a kink, which lies between its sides."""
    rows = {
        n: replace(row, verdict="not_comparable") if n in names else row for n, row in report.arrays.items()
    }
    rest = [n for n in rows if n not in names]
    said = _taken(way) if way.one or way.proven else f"{_taken(way)}, or others between them"
    text = f"at a kink, {said}: {NEITHER}. {sentence(names)} {_is(names)} right away from it"
    text += f". Right: {sentence(rest)}" if rest else ""
    return replace(report, verdict="not_comparable", arrays=rows, message=text)


def outside(report: CheckReport, way: Taken, names: Sequence[str]) -> CheckReport:
    """All is right but what was taken at a kink, which neither side of it nor anything between them is."""
    layers = [place.key for place, _ in way.odd() if isinstance(place.key, int)]
    kind = "wrong_activation_derivative" if layers else "wrong_loss_derivative"
    if not layers and any(place.group == "l1" for place, _ in way.odd()):
        kind = "wrong_regulariser"
    words = f"at a kink, {_taken(way)}"
    wrong = [n for n in names if n in report.arrays and report.arrays[n].verdict != "right"]
    fault = Fault(kind, layers[0] if len(layers) == 1 else None, tuple(wrong), words, words)
    text = f"{words}, outside both: {sentence(wrong)} {_is(wrong)} right away from it [{kind}]."
    right = [n for n, row in report.arrays.items() if row.verdict == "right"]
    text += f" Right: {sentence(right)}." if right else ""
    return replace(report, verdict="wrong", faults=[fault], message=text, first_wrong=None)


def _taken(way: Taken) -> str:
    said = []
    for place, value in way.odd():
        more = f" (and {place.count - 1} more)" if place.count > 1 else ""
        said.append(f"{place.shown}{more}, your {value}")
    return "; ".join(dict.fromkeys(said))


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def reread(
    report: CheckReport, found: Sequence[Reading], proved: bool, forward: Reading | None, covered: bool = True
) -> CheckReport:
    """The report with the descriptions under which everything is right, or that give the author's output.

    `proved`: the author's output or loss value is that of the first; `forward`: the one whose output it is.
    """
    if not found:
        if forward is None:
            return report
        text = f"{report.message} With {forward.words} it is: if your network is really so, {_AGAIN}."
        return replace(report, message=text)
    first = found[0]
    others = "".join(f", or with {r.words}" for r in found[1:] if not proved)
    right = f"with {first.words}{others} {RIGHT}"
    alternatives = [[_fault(r)] for r in found]
    if report.verdict == "right":  # all but an array that no layer mentions
        return replace(report, notes=(*report.notes, f"note: {right}"))
    if proved or not report.faults or report.verdict == "not_comparable":
        why = "your own values are not those of" if proved else "nothing explains your gradients in"
        text = f"{why} the network described; {right}"
        return replace(
            report, verdict="not_comparable", message=text, faults=[_fault(first)],
            alternatives=alternatives[1:], first_wrong=None,
        )  # fmt: skip
    if {f.kind for f in report.faults} == {"forward_mismatch"}:  # the report has said so, not how to write it
        words = f"If your network is really so, describe it so: {first.words}, and check again."
        return replace(report, message=f"{report.message} {words}")
    text = f"{report.message} Or your description differs from your code: {right}."
    return replace(report, message=text, alternatives=[*report.alternatives, *alternatives])


_AGAIN = "describe it so and check again"


def _fault(reading: Reading) -> Fault:
    detail = f"another description: {reading.words}"
    return Fault("forward_mismatch", reading.layer, ("output",), detail, f"{RIGHT} with {reading.words}")


def listed(tree: Any, names: Mapping[str, Any]) -> dict[str, str]:
    """The names of a list's arrays by what `flatten` calls them: 0.1 is parameters[0][1]."""
    if isinstance(tree, Mapping):
        return {name: name for name in names}
    return {
        name: "parameters" + "".join(f"[{i}]" for i in name.split("."))
        if re.fullmatch(r"\d+(\.\d+)*", name)
        else name
        for name in names
    }


def spaced(report: CheckReport) -> CheckReport:
    """d parameters[0] for dparameters[0], wherever it stands."""

    def wide(text: str) -> str:
        return re.sub(r"\bdparameters\[", "d parameters[", text)

    def fault(f: Fault) -> Fault:
        return replace(f, detail=wide(f.detail), evidence=wide(f.evidence))

    return replace(
        report,
        message=wide(report.message),
        notes=tuple(wide(note) for note in report.notes),
        faults=[fault(f) for f in report.faults],
        alternatives=[[fault(f) for f in other] for other in report.alternatives],
    )
