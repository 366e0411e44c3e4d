"""What one array can show on its own: given dz of its layer, every slip on the way to dW or db."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Part, Penalties
from mlp_torch.check.faults.bias import misfit, of_bias
from mlp_torch.check.faults.claims import Claim, Claims, Make, cost, norm
from mlp_torch.check.faults.evidence import Evidence
from mlp_torch.check.faults.factors import factor, follow
from mlp_torch.check.faults.penalty import by_name, missing_penalty, of_reduced_bias, penalty, slips
from mlp_torch.check.faults.samples import of_samples
from mlp_torch.check.faults.weights import of_other_layers, of_step, of_weight, returned

FEW = 5  # −2 to 2: how many margins of a hinge are active
LINES = {
    "W": "dW = aᵀ dz",
    "b": "db = Σ dz over the samples",
    "slope": "dα = Σ da z [z ≤ 0]",
}


def explain(
    c: Evidence, part: Part, dz: Array, da: Array, budget: int, data: Array | None = None,
    other: Array | None = None, hints: Sequence[Claim] = (),
) -> list[Claims]:  # fmt: skip
    """Every way within `budget` to get the author's array from dz (N, out) and da, cheapest first.

    `data` replaces aᵀdz where the array is used in several layers; `other` is another penalty's gradient
    that a claim of the caller's puts in the place of the right one; `hints` are claims that larger arrays
    show. An empty claim means right.
    """
    problem, h = c.problem, c.h[part]
    make = partial(Claim, layer=part.layer, name=part.name, line=LINES[part.role])
    D = problem.leaf(part, dz, da) if data is None else data
    R = c.regulariser(part) if other is None else other
    T = D + R
    if not np.isfinite(T).all():
        return []
    if h is None:
        shaped = list(misfit(c, part, dz, T, R, make)) if budget else []
        return shaped + (_otherwise(c, part, dz, da, budget, data, make) if other is None else [])
    if c.same(h, T, part):
        return [()]
    if budget == 0:
        return []
    found: list[Claims] = list(returned(c, part, h, T, make))
    if found and not c.same(h, R, part):  # where λ is 1 it may be the penalty's gradient alone
        return found
    if h.size <= 2:
        found += follow(c, part, h, D, R, hints, make)
    zero = norm(h) <= c.floor[part]
    if zero:
        text = "is all zero, up to rounding" if h.any() else "is all zero"
        found.append((make("zero_gradient", "zero", text, odd=1.1 if h.any() else 0.5),))
        if R.any() and c.same(h, D, part):
            found.append((missing_penalty(make),))
    else:
        found += list(_fits(c, part, h, D, R, budget, make))
        plain = any(len(f) == 1 and f[0].odd < 1.5 and f[0].variant != "penalty" for f in found)
        if h.size > 2 and plain and not (part.role == "b" and _few_values(dz)):
            return [f for f in found if cost(f) <= budget]
        found += _clipped(c, part, h, T, make)
        before = c.previous.get(part)
        if before is not None and c.same(h, T + before, part):
            found.append((make("stale_gradient", "previous", "holds what the call before left, too"),))
    if part.role == "W" and D.shape[0] == D.shape[1] > 1 and c.turned is None:
        claim = make("transpose", "dW", "is transposed", line="dW = aᵀ dz")
        found += [(claim, *more) for more in explain(_turned(c, part, h), part, dz, da, budget - 1, data)]
    if other is None:
        found += _otherwise(c, part, dz, da, budget, data, make)
    for claim, value, free in _variants(c, part, D, R, dz, da, make, data is None):
        for more in _fits(c, part, h, value, R, budget - 1, make, free):
            found.append((claim, *more))
    return [f for f in found if cost(f) <= budget]


def _few_values(dz: Array) -> bool:
    """All samples have one dz, or steps of a few sizes: a sum that keeps some of them is a constant too."""
    size = np.abs(dz).max()
    alike = bool((np.ptp(dz, axis=0) <= 1e-9 * size).all())
    return alike or len(np.unique(np.round(dz / size, 9))) <= FEW


def _otherwise(
    c: Evidence, part: Part, dz: Array, da: Array, budget: int, data: Array | None, make: Make
) -> list[Claims]:  # fmt: skip
    """Another slip beside a wrong penalty, in an array too small to fit both: the penalty by its name."""
    if budget < 2:
        return []
    found = []
    for claim, R in by_name(c, part, make):
        found += [(claim, *more) for more in explain(c, part, dz, da, budget - 1, data, R)]
    return [f for f in found if cost(f) <= budget]


def _turned(c: Evidence, part: Part, h: Array) -> Evidence:
    """The same question about the author's array transposed; asked once a part."""
    key = (part, "turned")
    if key not in c.rests:
        other = copy.copy(c)
        other.h, other.rests, other.turned = {**c.h, part: h.T}, {}, part
        c.rests[key] = other
    found: Evidence = c.rests[key]
    return found


def _variants(
    c: Evidence, part: Part, D: Array, R: Array, dz: Array, da: Array, make: Make, samples: bool
) -> Iterator[tuple[Claim, Array, bool]]:
    """(claim, the data's gradient as written, whether a factor N or 1/N goes with it)."""
    if part.role == "W":
        yield from of_weight(c, part, D, R, dz, make)
    if part.role == "b":
        yield from of_bias(c, part, D, dz, make)
    theta = c.problem.theta(part)
    if part.role != "slope" and theta.size > 1 and theta.any() and D.shape == theta.shape:
        claim = make("parameter_multiplied_in", "theta", "is multiplied by the parameter itself", odd=1.2)
        yield claim, D * theta, False
    if part.role != "slope" and samples:
        yield from of_step(c, part, dz, da, make)
        yield from of_other_layers(c, part, dz, make)
        yield from of_samples(c, part, dz, make)


def _fits(
    c: Evidence, part: Part, h: Array, D: Array, R: Array, budget: int, make: Make, free: bool = False
) -> Iterator[Claims]:
    """h from the data's gradient D and the parameter: a constant, another penalty, or both."""
    if h.shape != D.shape or not c.spanned(part, D):
        return
    if c.same(h, D + R, part):
        yield ()
        return
    theta = c.problem.theta(part)
    true = c.problem.penalties.get((part.layer, part.role), Penalties())
    plain = part.role == "slope" or not theta.any()
    if free and (value := c.ratio(h - R, D, part)) is not None and _of_samples(c, value):
        yield ()
        return
    if budget < 1:
        return
    value = c.ratio(h, D + R, part)
    if value is not None:
        yield from factor(c, value, part, make)
    if plain:
        return
    make = partial(make, line="dW = aᵀ dz + ∂penalty/∂W")
    if R.any() and c.same(h, D, part):
        yield (missing_penalty(make),)
        return
    if R.any() and c.same(h, R, part):
        yield (make("overwritten_gradient", "penalty", "holds the penalty's gradient alone: = for +="),)
    yield from slips(c, part, h, D, R, make)
    if R.any() and (share := c.ratio(h - R, D, part)) is not None:
        for reading in factor(c, share, part, make):
            yield tuple(replace(x, detail=_of_data(x.detail)) for x in reading)
    if budget >= 2 and part.role == "b" and 1 < h.size <= 3 and value is None:
        yield from of_reduced_bias(c, part, h, D, R, make)
    if budget < 2 or h.size <= 3 or value is not None:
        return
    pair = c.fit(h, D, theta)
    if pair is None:
        return
    first, second, wanted = float(pair[0]), float(pair[1]), 2 * true.l2
    if abs(first) < 1e-300 or abs(first - 1) < 1e-7:
        return
    for reading in factor(c, first, part, make):
        # the constant, and the sign, multiplied the data's part alone, or the penalty's gradient too
        shares = (second / first, second / abs(first), second, second * np.sign(first))
        for amount in dict.fromkeys(shares):
            ratio = amount / wanted if wanted else np.nan
            if wanted and abs(ratio - 1) < 1e-8:
                yield reading
            elif np.isnan(ratio) or abs(ratio) < 1e-7 or abs(ratio + 1) < 1e-8 or c.name_constant(abs(ratio)):
                yield (*reading, penalty(c, part, amount, wanted, "l2", make))


def _of_data(detail: str) -> str:
    """What is said of the whole, of what the loss without its penalty gives."""
    true = "is the true one "
    if detail.startswith(true):
        return f"has its data part, without the penalty's gradient, {detail.removeprefix(true)}"
    return f"{detail} in its data part, without the penalty's gradient"


def _of_samples(c: Evidence, value: float) -> bool:
    n = c.problem.samples
    return abs(value - n) < 1e-8 * n or abs(value * n - 1) < 1e-8


def _clipped(c: Evidence, part: Part, h: Array, T: Array, make: Make) -> Iterator[Claims]:
    """h = clip(t, −v, v), entry by entry, where v is a limit."""
    v = float(np.abs(h).max())
    if h.size < 3 or not (np.abs(T) > v * (1 + 1e-6)).any() or not c.same(h, np.clip(T, -v, v), part):
        return
    if c.limits.is_limit(v, int((np.abs(h) >= v * (1 - 1e-12)).sum())):
        yield (make("clipping", f"entries {v:.6g}", f"is clipped entry by entry at ±{v:.6g}", value=v),)
