"""What one dtype on one device showed."""

from dataclasses import dataclass, field

from mlp_torch.check.report import ArrayRow, Fault


@dataclass
class Finding:
    """`tag`: dtype and device; `message`: what no fault says; `runs` and `resolution` as in CheckReport."""

    tag: str
    verdict: str = "right"
    rows: dict[str, ArrayRow] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    message: str = ""
    runs: dict[str, str] = field(default_factory=dict)
    resolution: float = 0.0

    def wrong(self, kind: str, arrays: tuple[str, ...], detail: str, evidence: str) -> None:
        self.verdict = "wrong"
        self.faults.append(Fault(kind, None, arrays, detail, evidence))


class NotKeptError(Exception):
    """The function does not keep float64 through: it is judged in its own dtype."""
