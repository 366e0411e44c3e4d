"""A standard loss over an array of somebody's forward pass: another one's gradient, the network behind it."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe import layout
from mlp_torch.check.describe.layers import Penalty
from mlp_torch.check.describe.losses import LOSSES
from mlp_torch.check.describe.shapes import MisfitError
from mlp_torch.check.gradients import prepare
from mlp_torch.check.report import CheckReport, Fault, sentence
from mlp_torch.check.search.diagnosis import Case, diagnose
from mlp_torch.errors import UserError

CLOSE = 1e-6  # an ε inside a log or a division leaves that much
# a loss over probabilities and its sibling over logits are one function of the parameters
SIBLINGS = {"bce_with_logits": "bce", "cross_entropy_from_logits": "cross_entropy"}

Gradient = Mapping[str, Array]


@dataclass(frozen=True)
class Reading:
    """A standard loss over one array: its value and, where the forward pass was traced, its gradient."""

    loss: str
    reduction: str
    over: str
    value: float
    gradient: Gradient | None
    penalty: Mapping[str, float] = field(default_factory=dict)  # λ of ½·λ·Σθ² beside it, by name
    factor: float = 0.0  # where the author's loss is this one times a constant
    broadcast: int = 0  # N where every output meets every target
    rank: tuple[bool, ...] = ()  # the lower, the likelier to be meant by the author

    @property
    def family(self) -> str:
        return SIBLINGS.get(self.loss, self.loss)

    @property
    def extra(self) -> str:
        """What the author's loss holds beside this one."""
        if self.factor:
            return f", times {self.factor:.6g}"
        groups: dict[str, list[str]] = {}
        for n, v in self.penalty.items():
            groups.setdefault(f"{v:.6g}", []).append(n)
        return "".join(f", plus ½·{v}·Σθ² of {' and '.join(names)}" for v, names in groups.items())

    def __str__(self) -> str:
        square = f" broadcast to ({self.broadcast}, {self.broadcast})" if self.broadcast else ""
        return f"{self.loss} over {self.over}{square}, reduction {self.reduction}{self.extra}"


def distinct(found: list[Reading]) -> list[Reading]:
    """One reading of each loss and reduction: over a named array, and the first that gives it."""
    kept: dict[tuple[str, str, int], Reading] = {}
    for r in reversed(found):
        key = (r.family, r.reduction, r.broadcast)
        if key not in kept or r.rank < kept[key].rank:
            kept[key] = r
    ordered = sorted(kept.values(), key=lambda r: (r.broadcast, r.rank, list(LOSSES).index(r.loss)))
    return [r for r in ordered if not r.broadcast or r is ordered[0]][:4]


def near(g: Gradient | None, wanted: Gradient, close: float, times: float = 1.0) -> bool:
    """‖times · g − wanted‖ ≤ 10 · close · ‖wanted‖ of all arrays together; asked for one by one."""
    if g is None:
        return True
    most = 10 * close * np.sqrt(sum(float(np.sum(w**2)) for w in wanted.values()))
    gaps = itertools.accumulate(float(np.sum((times * g[n] - wanted[n]) ** 2)) for n in g)
    return all(np.sqrt(gap) <= most for gap in gaps)


def other_loss(
    report: CheckReport, every: list[Reading], own: list[Reading], values: Gradient, hand: Gradient,
    true: Gradient, allowed: Mapping[str, float],
) -> CheckReport:  # fmt: skip
    """`other_loss` where the hand-written gradient is another standard loss's, to the noise floor.

    The penalty of the author's loss is taken to be in the gradient too. A constant beside the other loss,
    and a wrong penalty's gradient, are told as faults.
    """
    if any(hand[n].size != t.size for n, t in true.items()):
        return report
    rest: dict[str, Array] = {n: np.zeros(t.shape) for n, t in true.items()}
    if own and own[0].gradient is not None and own[0].extra and not own[0].factor:
        rest = {n: t - own[0].gradient[n] for n, t in true.items()}
    h = {n: hand[n].astype(float).reshape(t.shape) for n, t in true.items()}
    wrong = tuple(n for n, row in report.arrays.items() if row.verdict != "right")
    h = {n: v - rest[n] for n, v in h.items()}
    data = {n: t - rest[n] for n, t in true.items()}
    every = [r for r in every if r.gradient is not None and not r.broadcast and _along(h, r, allowed)]
    every = [r for r in every if _reaches(r, true) and not near(r.gradient, data, 1e-9)]  # the author's own
    fits = [r for r in every if _equal(h, r, 1.0, allowed)]
    constant = 1.0
    if not fits and not (own and own[0].extra):
        summed = [r for r in every if r.reduction == "sum" and not _same_way(r, true)]
        shares = {id(r): _share(h, r) for r in summed}
        fits = [r for r in summed if shares[id(r)] > 0 and _equal(h, r, shares[id(r)], allowed)]
        constant = shares[id(distinct(fits)[0])] if fits else 1.0
    if own and any((r.family, r.reduction) == (own[0].family, own[0].reduction) for r in distinct(fits)[:1]):
        fits = []  # the same loss over another array: no other loss is what was meant
    if not fits:
        return _penalised(report, own, values, hand, true, wrong)
    is_own = (
        f"the loss you return is {own[0]}" if own else "the loss you return is none of the standard losses"
    )
    sets = [[Fault("loss_mismatch", None, wrong, f"is right for {r}", is_own)] for r in distinct(fits)]
    first = distinct(fits)[0]
    for r in distinct(fits) if own else ():
        if r.family == own[0].family and constant == 1:  # the same loss, summed or averaged otherwise
            words = f"has its data part times {r.value / own[0].value:.6g}" if own[0].value else ""
            sets += [[Fault("constant_factor", None, wrong, words, is_own)]] if words else []
    names = (first.loss, own[0].loss if own else "none of the standard losses")
    if own and first.loss == own[0].loss:
        names = (f"{first.loss}, reduction {first.reduction}", f"{own[0].loss}, reduction {own[0].reduction}")
    verb = "is" if len(wrong) == 1 else "are"
    message = f"your gradient is right for {names[0]}, but the loss you return is {names[1]}"
    message += f" ({sentence(wrong)} {verb} the derivative of {first}"
    if constant == 1:
        return replace(
            report, verdict="other_loss", faults=sets[0], alternatives=sets[1:], message=f"{message})"
        )
    words = f"is that derivative times {constant:.6g}"
    sets = [[*s, Fault("constant_factor", None, wrong, words, f"of {first}")] for s in sets]
    message = f"{message}, times {constant:.6g})"
    return replace(report, faults=sets[0], alternatives=sets[1:], message=message)


def _equal(h: Gradient, r: Reading, share: float, allowed: Mapping[str, float]) -> bool:
    assert r.gradient is not None
    return all(_fits(h[n], share * g, allowed[n]) for n, g in r.gradient.items())


def _along(h: Gradient, r: Reading, allowed: Mapping[str, float]) -> bool:
    """Every array is some number times the other loss's; without it no one number can be all of theirs."""
    assert r.gradient is not None
    return all(
        _fits(h[n], float((h[n] * g).sum()) / (float((g * g).sum()) or 1.0) * g, allowed[n])
        for n, g in r.gradient.items()
    )


def _fits(h: Array, g: Array, allowed: float) -> bool:
    return bool(np.linalg.norm(h - g) <= allowed + 1e-9 * np.linalg.norm(h))


def _reaches(r: Reading, true: Gradient) -> bool:
    """Its gradient is 0 in no array where the author's own loss has one that is not."""
    assert r.gradient is not None
    return all(g.any() or not true[n].any() for n, g in r.gradient.items())


def _share(h: Gradient, r: Reading) -> float:
    assert r.gradient is not None
    square = sum(float((g * g).sum()) for g in r.gradient.values())
    return sum(float((h[n] * g).sum()) for n, g in r.gradient.items()) / square if square else 0.0


def _same_way(r: Reading, true: Gradient) -> bool:
    """The other loss's gradient is the author's own times a constant."""
    share = _share(true, r)
    assert r.gradient is not None
    return all(np.linalg.norm(t - share * r.gradient[n]) <= 1e-6 * np.linalg.norm(t) for n, t in true.items())


def _penalised(
    report: CheckReport, own: list[Reading], values: Gradient, hand: Gradient, true: Gradient,
    wrong: tuple[str, ...],
) -> CheckReport:  # fmt: skip
    """Every wrong array is the true one plus one number times the parameter: a penalty's slip."""
    amounts = {}
    for n in wrong:
        theta, gap = values[n], hand[n].reshape(true[n].shape) - true[n]
        amount = float((gap * theta).sum()) / max(float((theta * theta).sum()), 1e-300)
        if theta.size < 3 or np.linalg.norm(gap - amount * theta) > 1e-7 * np.linalg.norm(gap):
            return report
        amounts[n] = amount
    faults = []
    for shown in dict.fromkeys(f"{v:.6g}" for v in amounts.values()):
        names = tuple(n for n, v in amounts.items() if f"{v:.6g}" == shown)
        words = f"is the derivative of your loss plus {shown}·θ: the penalty's gradient is another one"
        faults.append(Fault("wrong_regulariser", None, names, words, f"your loss is {own[0]}" if own else ""))
    if not faults or report.faults:
        return report
    return replace(report, faults=faults)


HIDDEN = ("relu", "tanh", "sigmoid", "leaky_relu", "softplus", "elu", "selu", "identity")
OUTPUT = ("identity", "softmax", "sigmoid", "tanh", "relu", "softplus")
MIXED = 3  # hidden layers whose activations may differ from one another


def describe(
    own: Sequence[Reading], values: Mapping[str, Array], data: Sequence[Array], loss: float, true: Gradient
) -> dict[str, Any] | None:
    """Options of `check_gradients` under which `true` and `loss` come out, or None.

    `own`: readings of the function's loss as a standard one. It is the same function of the parameters only
    where the loss and every gradient agree.
    """
    if not own or own[0].broadcast or own[0].factor or len(data) < 2:
        return None
    names = {loss: other for other, loss in SIBLINGS.items()}
    for reading in own:
        for name in dict.fromkeys((reading.loss, SIBLINGS.get(reading.loss), names.get(reading.loss))):
            for activations in _activations(values) if name else ():
                options: dict[str, Any] = {"loss": name, "reduction": reading.reduction}
                if reading.penalty:
                    options["l2"] = Penalty(None, half=True, on_biases=True, per_array=reading.penalty)
                found = _fitting(values, data, activations, options, loss, true)
                if found is not None:
                    return found
    return None


def _activations(values: Mapping[str, Array]) -> Iterator[list[str]]:
    """Activations of as many layers as there are matrices, the likeliest first."""
    matrices = sum(v.ndim == 2 and min(v.shape) > 1 for v in values.values())
    for depth in dict.fromkeys((len(values) // 2, len(values), matrices)):
        if not 0 < depth <= 8:
            continue
        one = [(name,) * (depth - 1) for name in (HIDDEN if depth > 1 else HIDDEN[:1])]
        mixed = itertools.product(HIDDEN, repeat=depth - 1) if 1 < depth - 1 <= MIXED else ()
        for hidden in dict.fromkeys((*one, *mixed)):
            for last in OUTPUT:
                yield [*hidden, last]


def _fitting(
    values: Mapping[str, Array], data: Sequence[Array], activations: list[str], options: dict[str, Any],
    loss: float, true: Gradient,
) -> dict[str, Any] | None:  # fmt: skip
    try:
        problems = layout.readings(prepare(dict(values), data[0], data[1], None, activations, **options))
    except (MisfitError, UserError):
        return None
    for p in problems:
        if not abs(p.loss_value() - loss) <= CLOSE * abs(loss):
            continue
        report = diagnose(p, Case({n: np.asarray(v) for n, v in true.items()}), loss, search=False)
        if report is not None and report.verdict == "right":
            settled = {k: p.choices[k] for k in ("samples", "output_samples", "weight_layout")}
            return {"activations": activations, **options, **settled}
    return None
