"""What one array can show on its own: given dz of its layer, every slip on the way to dW or db."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Part, Penalties
from mlp_torch.check.faults.bias import of_bias
from mlp_torch.check.faults.claims import Claim, Claims, Make, cost, norm
from mlp_torch.check.faults.evidence import Evidence
from mlp_torch.check.faults.penalty import beside_samples, by_name, of_reduced_bias, penalty, slips
from mlp_torch.check.faults.samples import of_samples
from mlp_torch.check.faults.weights import of_step, of_weight

LINES = {
    "W": "dW = aᵀ dz",
    "b": "db = Σ dz over the samples",
    "slope": "dα = Σ da z [z ≤ 0]",
}


def explain(
    c: Evidence, part: Part, dz: Array, da: Array, budget: int, data: Array | None = None,
    other: Array | None = None,
) -> list[Claims]:  # fmt: skip
    """Every way within `budget` to get the author's array from dz (N, out) and da, cheapest first.

    `data` replaces aᵀdz where the array is used in several layers; `other` is another penalty's gradient
    that a claim of the caller's puts in the place of the right one. An empty claim means right.
    """
    problem, h = c.problem, c.h[part]
    make = partial(Claim, layer=part.layer, name=part.name, line=LINES[part.role])
    D = problem.leaf(part, dz, da) if data is None else data
    R = problem.regulariser(part) if other is None else other
    T = D + R
    if not np.isfinite(T).all():
        return []
    if h is None:
        shaped = list(_misfit(c, part, dz, T, R, make)) if budget else []
        return shaped + (_otherwise(c, part, dz, da, budget, data, make) if other is None else [])
    if c.same(h, T, part):
        return [()]
    if budget == 0:
        return []
    found: list[Claims] = []
    zero = norm(h) <= c.floor[part]
    if zero:
        text = "is all zero, up to rounding" if h.any() else "is all zero"
        found.append((make("zero_gradient", "zero", text, odd=1.1 if h.any() else 0.5),))
    else:
        found += list(_fits(c, part, h, D, R, budget, make))
        if h.size > 2 and any(len(f) == 1 and f[0].odd < 1.5 and f[0].variant != "penalty" for f in found):
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
    if part.role != "slope" and samples:
        yield from of_step(c, part, dz, da, make)
        yield from of_samples(c, part, dz, make)


def factor(c: Evidence, value: float, part: Part, make: Make) -> Iterator[Claims]:
    """Claims for h = value · t: named readings, or a nameless factor where the array is large enough."""
    if abs(value - 1) < 1e-6 or not 1e-10 < abs(value) < 1e10:
        return  # rounding, or nothing that anybody wrote
    readings = c.name_constant(value, part)
    n = c.problem.samples
    h = c.h[part]
    slack = 4 * c.rtol + (0.0 if h is None else c.floor[part] / max(norm(h), 1e-300))
    if part.role == "b" and n > 1:
        for v, words in (
            (1 / n, "is the mean over the samples where the sum belongs"),
            (float(n), "is the sum over the samples where the mean belongs"),
        ):
            claim = make("wrong_bias_reduction", f"{v:.9g}", words, odd=0.9)
            if abs(value - v) <= slack * v:
                yield (claim,)
            for reading in c.name_constant(value / v, part):
                if len(reading) == 1:
                    yield claim, make(*reading[0])
    for reading in readings:
        yield tuple(
            make(kind, variant, detail, odd=0.6 if "rate" in kind else 1.0)
            for kind, variant, detail in reading
        )
    if readings:
        return
    size = c.raw[part.name].size  # of a folded bias, the array that was clipped
    longest = c.longest(part)
    turned = (make("sign", "sign", "has the opposite sign"),) if value < 0 else ()
    if 0 < abs(value) < 1 and (size >= 3 or longest):
        text = f"is cut to {abs(value):.6g} of its length, in the right direction"
        # what was cut to a length is the longest of all; any other length is a mistake of its own
        variant = "norm" if longest else f"norm {abs(value):.6g}"
        yield (*turned, make("clipping", variant, text, odd=1.5, nameless=not longest, value=value))
        return
    if size >= 2 and longest and abs(abs(value) - 1) > 1e-3:
        # a constant made it longer and the cut shorter: any constant that is large enough
        rate = [(1 / c.lr, "missing_learning_rate", f"divided by the learning rate {c.lr:g}")] if c.lr else []
        plain = [(v, "constant_factor", words[0][1]) for v, words in c.constants[:10]]
        for c0, kind, text in [*plain, *rate]:
            if c0 > abs(value):
                made = make(kind, f"is the true one {text}", f"is the true one {text}")
                cut = make("clipping", "norm", f"is cut to {abs(value) / c0:.6g} of that length", odd=1.5)
                yield (*turned, made, cut)
    if size >= 3:
        text = f"is the true one times {value:.6g}"
        yield (make("constant_factor", f"{value:.9g}", text, odd=1.6, nameless=True),)


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
        yield (make("wrong_regulariser", "missing", "lacks the penalty's gradient", odd=0.5),)
        return
    if R.any() and c.same(h, R, part):
        yield (make("overwritten_gradient", "penalty", "holds the penalty's gradient alone: = for +="),)
    yield from slips(c, part, h, D, R, make)
    if R.any() and (share := c.ratio(h - R, D, part)) is not None:
        for reading in factor(c, share, part, make):
            yield tuple(replace(x, detail=f"its data part {x.detail}") for x in reading)
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


def _of_samples(c: Evidence, value: float) -> bool:
    n = c.problem.samples
    return abs(value - n) < 1e-8 * n or abs(value * n - 1) < 1e-8


def _clipped(c: Evidence, part: Part, h: Array, T: Array, make: Make) -> Iterator[Claims]:
    """h = clip(t, −v, v), entry by entry."""
    v = float(np.abs(h).max())
    if h.size > 2 and (np.abs(T) > v * (1 + 1e-6)).any() and c.same(h, np.clip(T, -v, v), part):
        yield (make("clipping", "entries", f"is clipped entry by entry at ±{v:.6g}"),)


def _misfit(c: Evidence, part: Part, dz: Array, T: Array, R: Array, make: Make) -> Iterator[Claims]:
    """The author's array has another shape: not summed, summed over the wrong axis, transposed."""
    raw = c.raw[part.name]
    flat = raw.squeeze()
    n, out = dz.shape

    def ways(candidate: Array, claim: Claim) -> Iterator[Claims]:
        for turned in (candidate, candidate.T):
            if turned.squeeze().shape == flat.shape:
                value = c.ratio(flat, turned.squeeze())
                if R.any() and claim.kind == "bias_not_summed":
                    for more in beside_samples(c, part, flat, turned.squeeze(), R, make):
                        yield (claim, *more)
                elif value is None:
                    continue
                elif abs(value - 1) <= 4 * c.rtol or abs(value * n - 1) <= 4 * c.rtol:
                    yield (claim,)
                else:
                    for reading in factor(c, value, part, make):
                        yield (claim, *reading)
                return

    if part.role == "b" and part.fold is None:
        yield from ways(
            dz, make("bias_not_summed", "raw", f"has shape {raw.shape}: the samples are not summed")
        )
        if flat.size != n * out or out == 1:
            yield from ways(
                dz.sum(axis=1),
                make(
                    "wrong_bias_reduction",
                    "axis",
                    f"has shape {raw.shape}: summed over the neurons, not the samples",
                ),
            )
        if flat.size == 1:
            for words, value in (("sum", dz.sum()), ("mean", dz.mean()), ("sum over N", dz.sum() / n)):
                if abs(float(flat) - value) <= c.rtol * abs(value):
                    yield (make("wrong_bias_reduction", "all", f"is one number, the {words} over all axes"),)
                    break
        return
    if part.role == "W":
        whole = T
        if part.fold:
            mate = next(p for p in c.h if p.name == part.name and p.layer == part.layer and p.role == "b")
            bias = (c.problem.leaf(mate, dz) + c.problem.regulariser(mate)).reshape(1, -1)
            whole = np.vstack([bias, T] if part.fold == "first" else [T, bias])
        yield from ways(
            whole, make("transpose", "dW", f"has the transposed shape {raw.shape}", line="dW = aᵀ dz")
        )
    elif part.fold:
        yield ()
