"""The sentence that a teacher would write."""

from collections.abc import Mapping

from mlp_torch.check.report import ArrayRow, Fault, sentence


def _plural(detail: str) -> str:
    """What one array lacks, several lack: the verb in the plural."""
    verb, _, rest = detail.partition(" ")
    irregular = {"is": "are", "has": "have", "goes": "go", "multiplies": "multiply", "its": "their"}
    return f"{irregular.get(verb, verb.removesuffix('s'))} {rest}"


def message_of(
    verdict: str,
    chosen: list[Fault],
    others: list[list[Fault]],
    rows: Mapping[str, ArrayRow],
    first: int | None,
) -> str:
    if verdict == "right":
        return "every gradient is right"
    if not chosen:
        good = [n for n, r in rows.items() if r.verdict == "right"]
        text = f"unexplained, first wrong at layer {first}"
        return text + (f"; {sentence(good)} {'is' if len(good) == 1 else 'are'} right" if good else "")
    lines = []
    for fault in chosen:
        if fault.arrays in (("loss",), ("output",)):
            lines.append(f"{fault.detail}: {fault.evidence}.")
            continue
        wrong = [a for a in fault.arrays if a in rows and rows[a].verdict != "right"] or list(fault.arrays)
        top = wrong[-2:] if fault.layer else wrong
        top = [a for a in wrong if a in top]
        names = sentence(top)
        where = f" at layer {fault.layer}" if fault.layer else ""
        rule = fault.evidence.split(";")[0] if ";" in fault.evidence else ""
        said = fault.detail if len(top) == 1 else _plural(fault.detail)
        lines.append(f"{names} {said}{where}" + (f" (chain rule: {rule})." if rule else "."))
    good = [n for n, r in rows.items() if r.verdict == "right"]
    if good:
        lines.append(f"Right: {sentence(good)}.")
    if others:
        lines.append(
            "Or it is "
            + ", or ".join(" and ".join(f.kind for f in o) for o in others)
            + ": the arrays fit either."
        )
    return " ".join(lines)
