"""What a factor of one array may be: a constant with a name, a cut to a limit, or a number without a name."""

from collections.abc import Iterable, Iterator
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
        yield (*turned, make("clipping", "norm", text, odd=1.5, value=value))
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
