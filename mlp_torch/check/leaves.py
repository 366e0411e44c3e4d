"""What one array can show on its own: given dz of its layer, every slip on the way to dW or db."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from manual.numbers import Array
from mlp_torch.check.claims import Claim, Claims, Context
from mlp_torch.check.forward import Part, Penalties

LINES = {
    "W": "dW = aᵀ dz + the penalty's gradient",
    "b": "db = Σ dz over the samples",
    "slope": "dα = Σ da z [z ≤ 0]",
}


def explain(
    c: Context, part: Part, dz: Array, da: Array, budget: int, data: Array | None = None
) -> list[Claims]:
    """Every way within `budget` to get the author's array from dz (N, out) and da, cheapest first.

    `data` replaces aᵀdz where the array is used in several layers. An empty claim means right.
    """
    problem, h = c.problem, c.h[part]
    make = partial(Claim, layer=part.layer, name=part.name, line=LINES[part.role])
    D = problem.leaf(part, dz, da) if data is None else data
    R = problem.regulariser(part)
    T = D + R
    if not np.isfinite(T).all():
        return []
    if h is None:
        return list(_misfit(c, part, dz, T, make)) if budget else []
    if c.same(h, T, part):
        return [()]
    if budget == 0:
        return []
    found: list[Claims] = []
    if not h.any():
        return [(make("zero_gradient", "zero", "is all zero"),)]
    found += _constant(c, part, h, T, make)
    found += _regulariser(c, part, h, D, R, budget, make)
    if found and min(len(f) for f in found) == 1:
        return [f for f in found if len(f) <= budget]
    found += _clipped(c, part, h, T, make)
    if part.role == "W":
        found += _weight(c, part, h, D, R, dz, budget, make)
    if part.role == "b":
        found += _bias(c, part, h, R, dz, make)
    if part.role != "slope" and data is None:
        found += _samples(c, part, h, R, dz, budget, make)
    before = c.previous.get(part)
    if before is not None and c.same(h, T + before, part):
        found.append((make("stale_gradient", "previous", "still holds the gradient of the call before"),))
    return [f for f in found if len({x.key for x in f}) <= budget]


Make = partial[Claim]


def factor(c: Context, value: float, size: int, make: Make, bias: bool = False) -> Iterator[Claims]:
    """Claims for h = value · t: named readings, or a nameless factor where the array is large enough."""
    readings = c.name_constant(value)
    n = c.problem.samples
    if bias and n > 1:
        for v, words in (
            (1 / n, "is the mean over the samples where the sum belongs"),
            (float(n), "is the sum over the samples where the mean belongs"),
        ):
            if abs(value - v) <= 4 * c.rtol * v:
                yield (make("wrong_bias_reduction", f"{value:.9g}", words, odd=0.9),)
    for reading in readings:
        yield tuple(
            make(kind, variant, detail, odd=1.0 + 0.1 * len(reading)) for kind, variant, detail in reading
        )
    if not readings and size >= 3:
        if 0 < value < 1:
            yield (
                make("clipping", "norm", f"points the right way and is {value:.6g} times as long", odd=1.5),
            )
        else:
            yield (make("constant_factor", f"{value:.9g}", f"is the true one times {value:.6g}", odd=1.6),)


def _constant(c: Context, part: Part, h: Array, T: Array, make: Make) -> Iterator[Claims]:
    value = c.ratio(h, T)
    if value is not None:
        yield from factor(c, value, h.size, make, part.role == "b")


def _regulariser(
    c: Context, part: Part, h: Array, D: Array, R: Array, budget: int, make: Make
) -> Iterator[Claims]:
    """h − D is proportional to the parameter, alone or beside a constant on the data's part."""
    theta = c.problem.theta(part)
    if part.role == "slope" or not theta.any():
        return
    make = partial(make, line="dW = aᵀ dz + ∂penalty/∂W")
    true = c.problem.penalties[part.layer, part.role]
    if R.any() and c.same(h, D, part):
        yield (make("wrong_regulariser", "missing", "lacks the penalty's gradient", odd=0.5),)
        return
    if R.any() and c.same(h, R, part):
        yield (make("overwritten_gradient", "penalty", "holds the penalty's gradient alone: = for +="),)
    bases = [("l2", theta)] + ([("l1", np.sign(theta))] if true.l1 or not true.l2 else [])
    for label, base in bases:
        other = R - base * (2 * true.l2 if label == "l2" else true.l1)
        rest = h - D - other
        square = float((base * base).sum())
        value = float((rest * base).sum()) / square
        gap = float(np.linalg.norm(rest - value * base))
        if gap <= c.rtol * float(np.linalg.norm(h)) + c.floor[part] and (
            h.size > 2 or _known(c, value, true, label)
        ):
            yield (_penalty(c, part, value, true.l2 * 2 if label == "l2" else true.l1, label, make),)
    if R.any() and budget >= 1 and D.any():
        value2 = c.ratio(h - R, D)
        if value2 is not None:
            for reading in factor(c, value2, h.size, make, part.role == "b"):
                yield tuple(
                    Claim(x.kind, x.variant, f"its data part {x.detail}", x.layer, x.name, x.line, x.odd)
                    for x in reading
                )
    if budget >= 2:
        pair = c.fit(h, D, theta)
        if pair is not None and h.size > 3:
            wanted = 2 * true.l2
            for reading in factor(c, float(pair[0]), h.size, make, part.role == "b"):
                yield (*reading, _penalty(c, part, float(pair[1]), wanted, "l2", make))


def _known(c: Context, value: float, true: Penalties, label: str) -> bool:
    wanted = 2 * true.l2 if label == "l2" else true.l1
    if not wanted:
        return False
    return abs(value + wanted) <= 1e-8 * abs(wanted) or bool(c.name_constant(abs(value / wanted)))


def _penalty(c: Context, part: Part, value: float, wanted: float, label: str, make: Make) -> Claim:
    what = "λθ" if label == "l2" else "λ sign(θ)"
    if wanted == 0:
        where = "a bias" if part.role == "b" else part.name
        text = f"adds {value:.6g}·{'θ' if label == 'l2' else 'sign(θ)'} for {where}, which the loss does not penalise"
        return make("wrong_regulariser", "biases" if part.role == "b" else f"added {label}", text, odd=0.8)
    ratio = value / wanted
    if abs(ratio) < 1e-9:
        return make("wrong_regulariser", "missing", f"lacks the penalty's {label} gradient", odd=0.5)
    if abs(ratio + 1) < 1e-8:
        return make("wrong_regulariser", "sign", "subtracts the penalty's gradient", odd=0.8)
    names = [r for r in c.name_constant(ratio) if r[-1][0] == "constant_factor"]
    words = names[0][-1][2].removeprefix("is the true one ") if names else f"times {ratio:.6g}"
    return make("wrong_regulariser", f"{ratio:.7g}", f"has the penalty's gradient {what} {words}", odd=0.8)


def _clipped(c: Context, part: Part, h: Array, T: Array, make: Make) -> Iterator[Claims]:
    """h = clip(t, −v, v), entry by entry."""
    v = float(np.abs(h).max())
    if h.size > 2 and (np.abs(T) > v * (1 + 1e-6)).any() and c.same(h, np.clip(T, -v, v), part):
        yield (make("clipping", "entries", f"is clipped entry by entry at ±{v:.6g}"),)


def _weight(
    c: Context, part: Part, h: Array, D: Array, R: Array, dz: Array, budget: int, make: Make
) -> Iterator[Claims]:
    if h.shape[0] == h.shape[1] and h.shape[0] > 1:
        for turned in (D.T + R, (D + R).T):
            if c.same(h, turned, part):
                yield (make("transpose", "dW", "is transposed", line="dW = aᵀ dz"),)
                break
        value = c.ratio(h, (D + R).T)
        if value is not None and budget >= 2:
            for reading in factor(c, value, h.size, make):
                yield (make("transpose", "dW", "is transposed", line="dW = aᵀ dz"), *reading)
    below = part.layer - 1
    if below and c.problem.layers[below - 1].mask is not None:
        plain = c.problem.leaf(part, dz, None, c.problem.f[below])
        if c.same(h, plain + R, part):
            text = f"uses layer {below}'s activation without its dropout mask"
            yield (make("wrong_dropout_backward", "input", text, line="dW = (a · mask)ᵀ dz"),)


def _bias(c: Context, part: Part, h: Array, R: Array, dz: Array, make: Make) -> Iterator[Claims]:
    n, out = dz.shape
    total = dz.sum()
    wrong: list[tuple[str, str, Array]] = []
    if h.size > 1:
        for words, value in (
            ("is the sum over all axes", total),
            ("is the mean over all entries", total / dz.size),
            ("is the sum over all axes divided by N", total / n),
            ("is the sum over all axes divided by the outputs", total / out),
        ):
            wrong.append((words, "all", np.full_like(h, value)))
    elif out > 1:
        wrong.append(("is the mean over all entries", "all", np.full_like(h, total / dz.size)))
    if n == out and n > 1:
        wrong.append(("is summed over the neurons, not the samples", "axis", dz.sum(axis=1)))
        wrong.append(("is the mean over the neurons, not the samples' sum", "axis", dz.mean(axis=1)))
    if n > 1 and h.size == out:
        a = c.problem.a[part.layer - 1]
        if a.shape[1] in (1, out):
            wrong.append(("is multiplied by the input", "input", (a * dz).sum(axis=0)))
        wrong.append(("is the largest, not the sum", "max", dz.max(axis=0)))
    for words, variant, value in wrong:
        if c.same(h, value + R, part):
            yield (make("wrong_bias_reduction", variant, words),)


def _samples(
    c: Context, part: Part, h: Array, R: Array, dz: Array, budget: int, make: Make
) -> Iterator[Claims]:
    """The loop over the samples: only the last kept, only the first, or sums that were not reset."""
    n = len(dz)
    if n < 2:
        return
    cases = [
        (
            "overwritten_gradient",
            "last",
            "holds the last sample alone: = for += in the loop",
            _only(n, n - 1),
            0.9,
        ),
        (
            "missing_accumulation",
            "last",
            "holds one sample, the last: the others are not added",
            _only(n, n - 1),
            1.0,
        ),
        (
            "missing_accumulation",
            "first",
            "holds one sample, the first: the others are not added",
            _only(n, 0),
            1.0,
        ),
        ("overwritten_gradient", "butlast", "lacks the last sample", 1 - _only(n, n - 1), 1.3),
        ("overwritten_gradient", "butfirst", "lacks the first sample", 1 - _only(n, 0), 1.3),
        (
            "stale_gradient",
            "running",
            "counts early samples again and again: the sum is not set to 0",
            np.arange(n, 0, -1.0),
            1.0,
        ),
        ("stale_gradient", "running back", "counts late samples again and again", np.arange(1.0, n + 1), 1.2),
    ]
    for kind, variant, words, weights, odd in cases:
        D = c.problem.leaf(part, dz * weights[:, None])
        if c.same(h, D + R, part):
            yield (make(kind, variant, words, odd=odd),)
            continue
        value = c.ratio(h - R, D)
        if value is None or h.size < 2:
            continue
        if abs(value - n) < 1e-8 * n or abs(value * n - 1) < 1e-8:
            yield (make(kind, variant, words, odd=odd + 0.2),)
        elif budget >= 2:
            for reading in factor(c, value, h.size, make):
                yield (make(kind, variant, words, odd=odd), *reading)


def _only(n: int, i: int) -> Array:
    weights = np.zeros(n)
    weights[i] = 1
    return weights


def _misfit(c: Context, part: Part, dz: Array, T: Array, make: Make) -> Iterator[Claims]:
    """The author's array has another shape: not summed, summed over the wrong axis, transposed."""
    raw = c.raw[part.name]
    flat = raw.squeeze()
    n, out = dz.shape

    def ways(candidate: Array, claim: Claim) -> Iterator[Claims]:
        for turned in (candidate, candidate.T):
            if turned.squeeze().shape == flat.shape:
                value = c.ratio(flat, turned.squeeze())
                if value is None:
                    continue
                if abs(value - 1) <= 4 * c.rtol or abs(value * n - 1) <= 4 * c.rtol:
                    yield (claim,)
                else:
                    for reading in factor(c, value, flat.size, make):
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
