"""One row of a comparison: the numbers of one array on both sides, and its verdict."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlp_torch.verify.certificate import NOT_JUDGED, Judgement, Verdict


@dataclass(frozen=True)
class ComparisonRow:
    """One parameter's gradient or one stage, as two engines have it.

    `equal` of `size` entries are bit-equal; the largest difference `max_abs` stands at `index`, with
    the two values there; `relative` is ‖Δ‖/‖g‖, g autograd's array; `bound` is what rounding may make
    of the difference at most, the largest over the entries; `ratio` is the largest difference in units
    of its bound, NaN where none is known. `stage` names the stage that the verdict blames, `evidence` the
    certificates behind it. `apart` holds, for a stage without a truth, how far each engine's value lies
    from the plain formula on the same inputs, in units of its norm.
    """

    name: str
    shape: tuple[int, ...]
    equal: int
    size: int
    max_abs: float
    index: tuple[int, ...]
    manual: float
    autograd: float
    relative: float
    bound: float
    ratio: float
    verdict: Verdict
    stage: str | None = None
    note: str = ""
    units: tuple[tuple[str, tuple[int, ...]], ...] = ()
    evidence: Mapping[str, Judgement] = field(default_factory=dict)
    apart: Mapping[str, float] = field(default_factory=dict)

    def unjudged(self) -> str:
        """Why nothing is known of this row, where nothing is; a unit at a kink is known to be right."""
        notes = [j.note for j in self.evidence.values() if j.note in NOT_JUDGED]
        return notes[0] if notes and self.verdict == "undecided" else ""

    def cells(self) -> list[str]:
        """What the tables show of this row, the verdict last."""
        return [
            self.name,
            "×".join(map(str, self.shape)) or "–",
            f"{self.equal}/{self.size}",
            f"{self.max_abs:.1e}" if self.max_abs else "0",
            ",".join(map(str, self.index)),
            f"{self.manual:.6g}",
            f"{self.autograd:.6g}",
            f"{self.relative:.1e}" if self.relative else "0",
            "–" if math.isnan(self.ratio) else f"{self.ratio:.2g}" if self.ratio else "0",
            self.verdict,
        ]

    def blame(self) -> str:
        """One sentence for a row that is not right, else an empty string."""
        lines = []
        for engine, j in self.evidence.items():
            if j.verdict == "wrong":
                other = "" if math.isnan(j.other) else f" (the other engine's {j.other:.17g})"
                lines.append(
                    f"{engine}'s {j.stage}{list(j.index)} is {j.value:.17g}{other}, proven to be "
                    f"{j.truth:.17g}: off by {j.error:.2g}, and rounding explains {j.bound:.2g}"
                )
        return "; ".join(lines)
