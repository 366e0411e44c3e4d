"""The sentence that a teacher would write: what was done, in which arrays, and what it may be as well."""

import math
from collections.abc import Mapping, Sequence

from mlp_torch.check.report import ArrayRow, Fault, sentence

# what settles an unexplained gradient, the most useful first
ASKED = {
    "output": "output= (your network's)",
    "loss_value": "loss_value=",
    "previous": "previous= (the gradients of the call before)",
    "lr": "lr=",
}


def _plural(detail: str) -> str:
    """What one array lacks, several lack: the verb in the plural."""
    verb, _, rest = detail.partition(" ")
    irregular = {"is": "are", "has": "have", "goes": "go", "multiplies": "multiply", "its": "their"}
    text = f"{irregular.get(verb, verb.removesuffix('s'))} {rest}"
    for one, many in (
        ("its length", "their lengths"),
        ("the true one ", "the true ones "),
        ("the parameter itself, not its gradient", "the parameters themselves, not their gradients"),
        ("multiplied by the parameter itself", "multiplied by the parameters themselves"),
        ("the parameter after its step", "the parameters after their step"),
        ("holds each", "hold each"),
        ("its data part", "their data part"),
        ("it was not set", "they were not set"),
    ):
        text = text.replace(one, many)
    return text


def _of_set(faults: Sequence[Fault], rows: Mapping[str, ArrayRow], places: Mapping[int, str]) -> str:
    """One sentence a fault: the arrays, what was done, where, the line of the chain rule, the word."""
    lines: list[str] = []
    told: set[str] = set()
    for fault in faults:
        if fault.arrays in (("loss",), ("output",)):
            lines.append(f"{fault.detail}: {fault.evidence} [{fault.kind}].")
            continue
        wrong = [a for a in fault.arrays if a in rows and rows[a].verdict != "right"] or list(fault.arrays)
        rule = fault.evidence.split(";")[0] if ";" in fault.evidence else ""
        of_chain = fault.layer and rule.startswith(("dz", "da", "dŷ")) and fault.kind != "loss_mismatch"
        top = wrong[-2:] if of_chain else wrong
        told |= {*top}
        said = fault.detail if len(top) == 1 else _plural(fault.detail)
        where = f" in {places[fault.layer]}" if fault.layer and of_chain else ""
        if "," in said or ":" in said:
            where = f",{where}" if where else ""
        below = [a for a in wrong if a not in told]
        told |= {*top, *below}
        if below:
            rule += f"; {sentence(below)} below {'is' if len(below) == 1 else 'are'} wrong because of it"
        lines.append(f"{sentence(top)} {said}{where}{f', {rule}' if rule else ''} [{fault.kind}].")
    return " ".join(lines)


def message_of(
    verdict: str,
    chosen: list[Fault],
    others: list[list[Fault]],
    rows: Mapping[str, ArrayRow],
    first: int | None,
    *,
    places: Mapping[int, str],
    reading: str = "",
    ask: Sequence[str] = (),
    parts: Mapping[str, str] | None = None,
) -> str:
    """The whole message. `places`: what layers are called; `reading`: a description under which all is right;
    `ask`: the options not given that would settle what is unexplained; `parts`: where an array is wrong, if
    that is a part of it.
    """
    if verdict == "right":
        return "every gradient is right"
    good = [n for n, r in rows.items() if r.verdict == "right"]
    right = f"Right: {sentence(good)}." if good else ""
    if not chosen:
        bad = [n for n, r in rows.items() if r.verdict != "right"]
        zero = [n for n in bad if math.isnan(rows[n].ratio) and rows[n].index and rows[n].verdict == "wrong"]
        text = f"unexplained: {sentence(bad)} {'is' if len(bad) == 1 else 'are'} wrong"
        if len(bad) == 1 and (where := (parts or {}).get(bad[0], "")):
            text += f" {where} alone"
        if len(bad) > 1 and first:
            text += f", first at {places[first]}"
        if zero:
            text += f"; the true {sentence(zero)} {'is' if len(zero) == 1 else 'are'} 0"
        lines = [f"{text}. {right}".strip()]
        if ask and not any(math.isnan(rows[n].value) and not rows[n].index for n in bad):
            lines.append(f"what would settle it: {', '.join(ASKED[option] for option in ask)}")
        return "\n".join(lines)
    lines = [_of_set(chosen, rows, places)]
    told = {name for fault in chosen for name in fault.arrays}
    rest = [n for n, r in rows.items() if r.verdict != "right" and n not in told]
    if rest:
        lines[0] += f" {sentence(rest)} {'is' if len(rest) == 1 else 'are'} wrong, unexplained."
    if right:
        lines[0] += f" {right}"
    if reading:
        lines.append(f"or your description differs from your code: every gradient is right for {reading}")
    lines += [f"or: {_of_set(faults, rows, places)}" for faults in others[: 1 if reading else 2]]
    return "\n".join(lines)
