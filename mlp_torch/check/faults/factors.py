"""Factors of one array, of the chain and of all arrays: a constant, a cut, or a number without a name."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Part
from mlp_torch.check.faults.claims import Claim, Claims, Make, norm
from mlp_torch.check.faults.evidence import Evidence


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
    alone = c.raw[part.name].size == 1
    for reading in readings:
        yield tuple(
            make(kind, variant, f"is off by a factor of {value:.6g}: one number proves no constant", odd=1.0)
            if alone and kind == "constant_factor"
            else make(kind, variant, detail, odd=0.6 if "rate" in kind else 1.5 if c.rare(variant) else 1.0)
            for kind, variant, detail in reading
        )
    if readings:
        return
    size = c.raw[part.name].size  # of a folded bias, the array that was clipped
    cut = abs(abs(value) - 1) > 1e-3 and c.limits.reaches(h, c.raw[part.name])
    turned = (make("sign", "sign", "has the opposite sign"),) if value < 0 else ()
    if cut and abs(value) < 1:
        text = f"is cut to {abs(value):.6g} of its length, in the right direction"
        yield (*turned, make("clipping", "norm", text, odd=1.5, value=abs(value)))
        return
    if cut and size >= 2:
        # a constant made it longer and the cut shorter: any constant that is large enough
        rate = [(1 / c.lr, "missing_learning_rate", f"divided by the learning rate {c.lr:g}")] if c.lr else []
        plain = [(x.value, "constant_factor", x.words[0][1]) for x in c.constants[:10]]
        for c0, kind, text in [*plain, *rate]:
            if c0 > abs(value):
                made = make(kind, f"is the true one {text}", f"is the true one {text}")
                left = make("clipping", "norm", f"is cut to {abs(value) / c0:.6g} of that length", odd=1.5)
                yield (*turned, made, left)
    if size >= 3:
        yield (nameless(value, make),)


def nameless(value: float, make: Make) -> Claim:
    """A factor that nobody has a word for."""
    text = f"is the true one times {value:.6g}"
    return make("constant_factor", f"{value:.9g}", text, odd=1.6, nameless=True, value=value)


def follow(
    c: Evidence, part: Part, h: Array, D: Array, R: Array, hints: Iterable[Claim], make: Make
) -> Iterator[Claims]:
    """An array of one or two entries by the number that a larger one shows: one factor, λ, limit for all."""
    theta = c.problem.theta(part)
    for hint in hints:
        v, place = hint.value, make(hint.kind, hint.variant, hint.detail, odd=hint.odd)
        if hint.nameless:
            fits = c.same(h, v * (D + R), part)
        elif hint.variant.startswith("entries"):
            fits = c.same(h, np.clip(D + R, -v, v), part)
        elif hint.variant.startswith(("added", "biases")) and not R.any():
            fits = c.same(h, D + v * (np.sign(theta) if "l1" in hint.variant else theta), part)
        else:
            continue
        if fits:
            yield (replace(place, nameless=hint.nameless, value=v),)


def chain_constants(
    c: Evidence, number: int, dz: Array, now: Claims, shared: Mapping[str, int]
) -> Iterator[tuple[Claims, float]]:
    """(`now` with a constant on dz of layer number, its value); `shared`: weights used in several layers."""
    seen: set[float] = set()
    for part in c.problem.layers[number - 1].parts:
        h = c.h.get(part)
        if h is None or part.role == "slope" or part.name in shared:
            continue
        D = c.problem.leaf(part, dz)
        if D.shape != h.shape or not c.spanned(part, D):
            continue
        R = c.regulariser(part)
        values: list[float] = []
        for rest in (h - R, h) if R.any() else (h,):
            value = c.ratio(rest, D, part)
            if value is None:
                fits = c.fit(h, D, c.problem.theta(part)) if h.size > 3 and part.role != "slope" else None
                value = None if fits is None else float(fits[0])
            if value is None:
                continue
            # what multiplies the arrays above multiplies these too
            values += [value, *(value / v for v in c.factors_of(x for x in now if x.name))]
        for value in values:
            if round(value, 12) in seen or abs(value - 1) < 1e-8:
                continue
            seen.add(round(value, 12))
            if any(abs(value - v) <= 1e-9 * v for v in _averages(c, number, now)):
                yield now, value
                continue
            line = c.names.delta(number)
            readings = c.name_constant(value, part)
            for reading in readings:
                yield (
                    (
                        *now,
                        *(
                            Claim(k, f"{v} {number}" if k == "sign" else v, d, number, line=line)
                            for k, v, d in reading
                        ),
                    ),
                    value,
                )
            if not readings and value < 0:  # turned round, then cut
                yield (
                    (*now, Claim("sign", f"sign {number}", "has the opposite sign", number, line=line)),
                    -1.0,
                )
            if not readings and h.size >= 3 and 1e-10 < value < 1e10:
                claim = Claim(
                    "constant_factor",
                    f"{value:.9g}",
                    f"is the true one times {value:.6g}",
                    number,
                    line=line,
                    odd=1.6,
                    nameless=True,
                )
                yield (*now, claim), value


def lacks_upstream(number: int, claims: Claims) -> str:
    """Which gradient above layer number is not multiplied in, if one of them is not."""
    for x in claims:
        if x.kind == "not_multiplied_by_upstream" and x.layer == number + (x.variant == "W"):
            return x.variant
    return ""


def _averages(c: Evidence, number: int, claims: Claims) -> tuple[float, ...]:
    """Where the upstream gradient is missing, its 1/N is too, or stands elsewhere: no second mistake."""
    missing, (n, k) = lacks_upstream(number, claims), c.problem.output.shape
    if not missing:
        return ()
    means = (1 / n, 1 / k, 1 / (n * k))
    return (*means, *(1 / v for v in means)) if missing == "G" else means


def each_scaled(c: Evidence, true: Mapping[Part, Array]) -> dict[Part, float]:
    """The factor of each array that is wrong, if all of them are the true ones times a number."""
    found = {}
    for part, t in true.items():
        h = c.h.get(part)
        if h is None:
            return {}
        if c.same(h, t, part):
            continue
        value = c.ratio(h, t, part)
        if value is None or norm(t) <= c.floor[part]:
            return {}
        found[part] = value
    return found


def overall(c: Evidence, true: Mapping[Part, Array]) -> tuple[float, Claims]:
    """(value, claims): one sign, or one constant with a name, on every array, each up to its own rounding:
    near saturation too, where little more than rounding is left and unlikelier slips make the same.
    """
    pairs = [(part, h, t) for part, t in true.items() if (h := c.h.get(part)) is not None]
    if len(pairs) < len(true) or not pairs:
        return 1.0, ()
    part, h, t = max(pairs, key=lambda pair: norm(pair[2]) / max(c.floor[pair[0]], 1e-300))
    square = float(np.vdot(t, t))
    if h.shape != t.shape or not 0 < square < np.inf or not np.isfinite(h).all():
        return 1.0, ()
    value, lost = float(np.vdot(h, t)) / square, c.rtol + c.floor[part] / norm(t)
    if not lost < 0.1:
        return 1.0, ()
    plain = [1.0, *(x.value for x in c.constants if len(x.words) == 1 and not x.rare)]
    if lost > 1e-6:  # many a number is near: only what people write most
        n, k = c.problem.output.shape
        sizes = [1.0 * n, 1.0 * k, 1.0 * n * k, 2.0, 4.0, 1.5, 10.0]
        plain = [1.0, *sizes, *(1 / v for v in sizes)]
    size = min(plain, key=lambda v: abs(abs(value) - v) / v)
    v = size if value > 0 else -size
    if v == 1 or not all(c.same(h, v * t, q, max(1.0, size)) for q, h, t in pairs):
        return 1.0, ()
    reading = next((r for r in c.name_constant(v) if "rate" not in r[-1][0]), [])
    claims = [
        Claim(kind, variant, detail, q.layer, q.name, odd=0.3)
        for kind, variant, detail in reading
        for q, _, _ in pairs
    ]
    return v, tuple(claims)


def common(c: Evidence, true: Mapping[Part, Array]) -> float | None:
    """The factor that all arrays share, if they do."""
    values: list[float] = []
    for part, t in true.items():
        h = c.h.get(part)
        if h is None or not np.isfinite(h).all():
            return None
        value = c.ratio(h, t)
        if value is None:
            if not (c.same(h, t, part) and float(np.linalg.norm(t)) <= 10 * c.floor[part]):
                return None
            continue
        values.append(value)
    if not values or max(abs(v - values[0]) for v in values) > 8 * c.rtol * abs(values[0]):
        return None
    return values[0]
