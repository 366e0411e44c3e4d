"""The author's loss value against the described loss: a constant, another loss, or wrong."""

import numpy as np

from mlp_torch.check.describe.forward import Network
from mlp_torch.check.describe.losses import LOSSES, REDUCTIONS
from mlp_torch.check.faults.claims import Evidence
from mlp_torch.check.faults.factors import common
from mlp_torch.check.report import Fault


def judge_loss(
    c: Evidence, value: float, chosen: list[Fault], verdict: str, notes: tuple[str, ...], single: bool
) -> tuple[list[Fault], str, tuple[str, ...]]:  # fmt: skip
    """The author's loss value against the described loss; a constant or another loss may explain both."""
    p = c.problem
    slack = 1e-4 if single else 1e-7
    mine = p.loss_value()
    if not np.isfinite(mine):
        return (
            chosen,
            verdict,
            (*notes, "note: the described loss is infinite here; the loss value was not compared"),
        )

    def near(other: float) -> bool:
        return abs(other - value) <= slack * max(abs(value), abs(other)) + 1e-12

    if near(mine):
        return chosen, verdict, notes
    words = f"your loss is {value:.9g}, the described one {mine:.9g}"
    found = []
    for loss, reduction, total in _standard(p):
        if near(total):
            found.append(f"{loss}, reduction {reduction}")
    if near(p.loss_value(penalty=False)) and mine != p.loss_value(penalty=False):
        found.append(f"{p.loss} without its penalty")
    if found:
        words += f": that is {found[0]}"
    kinds = {f.kind for f in chosen}
    if verdict == "other_loss" and any(chosen[0].detail.endswith(x) for x in found):
        return chosen, verdict, (*notes, f"note: {words}")
    if "constant_factor" in kinds and near(
        mine * (common(c, {q: t for q, t in p.true().items() if q in c.h}) or np.nan)
    ):
        return chosen, verdict, (*notes, f"note: {words}, by the same factor")
    if "broadcast" in kinds:
        return chosen, verdict, (*notes, f"note: {words}")
    n, k = p.output.shape
    if k == 1 and n > 1:
        y = np.broadcast_to(p.y.T, (n, n))
        with np.errstate(all="ignore"):
            terms = LOSSES[p.loss].terms(np.broadcast_to(p.output, (n, n)), np.ascontiguousarray(y))
        rest = mine - p.loss_value(penalty=False)
        if (
            near(float(terms.mean()) + rest)
            or near(float(terms.sum()) + rest)
            or near(float(terms.sum()) / n + rest)
        ):
            detail = f"(N,) against (N, 1) broadcasts to ({n}, {n}) in the loss"
            return [*chosen, Fault("broadcast", None, ("loss",), detail, words)], "wrong", notes
    fault = Fault(
        "wrong_loss_value", None, ("loss",), "the loss value is not that of the described loss", words
    )
    return [*chosen, fault], "wrong", notes


def _standard(p: Network) -> list[tuple[str, str, float]]:
    """Values of the standard losses on the same forward pass, with the penalties."""
    from mlp_torch.check.faults.output import coded

    extra = p.loss_value() - p.loss_value(penalty=False)
    per = {"sum": 1, "mean_over_samples": p.samples, "mean_over_all": p.output.size}
    found = []
    for loss in LOSSES:
        y = p.y if loss == p.loss else coded(loss, p.y)
        if y is None:
            continue
        with np.errstate(all="ignore"):
            terms = float((LOSSES[loss].terms(p.output, y) * p.weight).sum())
        for reduction in REDUCTIONS:
            found.append((loss, reduction, terms * per[p.reduction] / per[reduction] + extra))
    return found
