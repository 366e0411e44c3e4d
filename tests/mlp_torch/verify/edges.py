"""Every kind of stage with the problem it is tried on, and errors planted at a given share of a bound."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from manual import ACTIVATIONS, LOSSES
from manual.numbers import Array
from manual.structure.trace import Stage, Trace
from mlp_torch.verify.enclosure import proven
from mlp_torch.verify.kinds import RULES
from mlp_torch.verify.local import Context, Local
from mlp_torch.verify.missing import OWN
from mlp_torch.verify.rounding import Rounding
from mlp_torch.verify.truth import FUNCTIONS, TERMS
from tests.problems import Problem

PROBLEM = Problem(13, (3, 7, 5), 4)
# The rows that can be judged: those with a truth.
TRUE_ACTIVATIONS = [name for name in ACTIVATIONS if name in {*FUNCTIONS, *OWN}]
TRUE_LOSSES = [name for name in LOSSES if name in {*TERMS, *OWN}]
EXACT = ("identity", "relu", "hardtanh")  # no operation of these rounds


@dataclass(frozen=True)
class Site:
    """One stage of one network: what is planted there is named by the stage's kind and row."""

    stage: str
    loss: str = "mse"
    training: bool = True
    probabilities: bool = False
    rows: tuple[tuple[str, Any], ...] = ()

    def trace(self, dtype: Any) -> Trace:
        """The manual pass."""
        model = PROBLEM.model(dtype, **dict(self.rows))
        model.training = self.training
        x, y = PROBLEM.batch(self.loss, dtype, self.probabilities)
        return model.trace(x, y, self.loss)

    def __str__(self) -> str:
        rows = " ".join(f"{value}" for _, value in self.rows)
        mode = "" if self.training else " evaluation"
        return f"{self.stage} {rows or self.loss}{mode}{' probabilities' * self.probabilities}"


def _sites() -> list[Site]:
    plain = [Site(name, rows=(("activation", "tanh"),)) for name in ("z1", "z2", "dW1", "dW2", "db1", "db2")]
    plain += [Site(name, rows=(("activation", "tanh"),)) for name in ("da1", "dx")]
    for row in TRUE_ACTIVATIONS:
        place, layer = ("output_activation", 2) if row == "softmax" else ("activation", 1)
        plain += [Site(f"{stage}{layer}", rows=((place, row),)) for stage in ("a", "dz")]
    plain.append(Site("dslope1", rows=(("activation", "prelu"),)))
    for loss in TRUE_LOSSES:
        plain += [Site(name, loss) for name in ("loss", "dloss")]
    plain += [Site(name, "cross_entropy", probabilities=True) for name in ("loss", "dloss")]
    dropout = (("activation", "tanh"), ("dropout", 0.3))
    plain += [Site(name, rows=dropout) for name in ("h1", "da1")]
    for normalization, training in (("batch_norm", True), ("batch_norm", False), ("layer_norm", True)):
        rows = (("activation", "tanh"), ("normalization", normalization))
        plain += [Site(name, training=training, rows=rows) for name in ("n1", "dgamma1", "dbeta1", "dz1")]
    return plain


SITES = {str(site): site for site in _sites()}


def local(t: Trace, name: str) -> Local:
    """The proven value of a stage and the bound that its own rounding is held to."""
    values = {n: np.asarray(v).astype(np.float64) for n, v in t.values.items()}
    stage = t.stage(name)
    with proven(), np.errstate(all="ignore"):
        return RULES[stage.kind](stage, Context(values, Rounding.of(t["z1"].dtype)))


def with_value(t: Trace, name: str, value: Any) -> Trace:
    """The trace with another value of one stage; nothing is computed anew."""
    return Trace(t.stages, t.leaves, {**t.values, name: value})


def planted(t: Trace, name: str, share: float, sign: int) -> tuple[Array, tuple[int, ...], float]:
    """The stage's array with one entry `share` of its bound from its proven value, where that is.

    The entry is the one whose floats allow the share best: a bound of half an ulp holds few of them.
    Returns the array, the index and the share that is reached.
    """
    rule, value = local(t, name), np.asarray(t[name])
    bound = np.broadcast_to(rule.bound, value.shape)
    moved = (rule.truth.hi + (rule.truth.lo + sign * share * bound)).astype(value.dtype)
    lower, _ = rule.truth.distance(moved)
    away = np.sign(moved.astype(np.float64) - rule.truth.hi - rule.truth.lo) == sign
    with np.errstate(all="ignore"):
        reached = np.where((bound > 0) & away, lower / bound, np.inf)
    index = tuple(int(i) for i in np.unravel_index(np.argmin(np.abs(reached - share)), value.shape))
    found = value.copy()
    found[index] = moved[index]
    return found, index, float(reached[index])


def is_exact(stage: Stage) -> bool:
    """Whether no operation of the stage rounds, so that its bound is 0."""
    return stage.row in EXACT and stage.kind.startswith("activation")
