"""Arrays from the wrong place: W for its transpose, new weights, another layer's array, another order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe import shapes
from mlp_torch.check.describe.forward import Part
from mlp_torch.check.faults.claims import Claim, Claims, Make, norm
from mlp_torch.check.faults.evidence import Evidence


def ways_down(
    c: Evidence, number: int, dz: Array, budget: int, factors: Sequence[float] = ()
) -> Iterator[tuple[Claims, Array]]:
    """The gradient at the output of the layer below from dz: through W, its transpose, or new weights.

    `factors`: constants that the layer's array was multiplied with, before or after the update.
    """
    W = c.problem.layers[number - 1].W
    line, name = c.names.down(number), c.names.weight(number)
    true = dz @ W.T
    yield (), true
    if budget == 0:
        return
    if _nothing_below(c, number - 1, true):
        words = f"is zero: nothing comes down through {name}"
        yield (Claim("zero_gradient", "zero", words, number - 1, line=line, odd=0.9),), np.zeros_like(true)
    if W.shape[0] == W.shape[1] and W.shape[0] > 1:
        yield (
            (Claim("transpose", "W", f"goes through {name} where its transpose belongs", number, line=line),),
            dz @ W,
        )
    words = f"goes through {name} after its update"
    claim = Claim("updated_weights_used", "W", words, number, line=line, odd=0.7)
    if number in c.after:
        yield (claim,), dz @ c.after[number].T
    part = next(p for p in c.problem.layers[number - 1].parts if p.role == "W")
    h = c.h.get(part)
    if h is not None and number not in c.after:
        # the update took the gradient that was handed over, or the one before a later slip
        own = c.problem.leaf(part, dz) + c.regulariser(part)
        again = own.shape == h.shape and c.same(h, own, part)
        # or before the constant that all arrays were multiplied with
        before = [h / v for v in factors]
        for rate in (c.lr, 1.0):
            claim = replace(claim, value=rate or 1.0)
            for move in (h,) if again else (h, own, *before):
                if rate is not None:
                    yield (claim,), dz @ (W - rate * move).T
                if rate is not None and W.shape[0] == W.shape[1] > 1:
                    words = f"goes through {name} where its transpose belongs"
                    turned = Claim("transpose", "W", words, number, line=line)
                    yield (claim, turned), dz @ (W - rate * move)
        fitted = _fitted_rate(c, number, dz, h, claim) if c.lr is None else None
        if fitted is not None:
            yield fitted
    plain = Claim(
        "not_multiplied_by_upstream",
        "W",
        f"goes through {name} without the gradient above it",
        number,
        line=line,
        odd=1.3,
    )
    yield (plain,), np.ones_like(dz) @ W.T


def _nothing_below(c: Evidence, number: int, u: Array) -> bool:
    """The author's arrays of a layer hold no data's part at all, where the true ones do."""
    parts = [q for q in c.problem.layers[number - 1].parts if q in c.h and q.role != "slope"]
    for part in parts:
        h = c.h[part]
        if h is None:
            return False
        R = c.regulariser(part)
        # the penalty's gradient alone, or that with a slip of its own
        if not c.same(h, R, part) and not (h.size > 2 and R.any() and c.ratio(h, R, part) is not None):
            return False
    return bool(parts) and norm(u) > 0 and norm(c.problem.down(number, u)) > 0


def _fitted_rate(
    c: Evidence, number: int, dz: Array, step: Array, claim: Claim
) -> tuple[Claims, Array] | None:
    """The learning rate of the update is not known: the layer below shows it, where f′ there is right."""
    p = c.problem
    below = number - 1
    if p.layers[below - 1].activation == "softmax":
        return None
    true, moved = dz @ p.layers[number - 1].W.T, dz @ step.T
    for part in p.layers[below - 1].parts:
        h = c.h.get(part)
        if part.role != "W" or h is None or h.size < 3:
            continue
        right = p.leaf(part, p.down(below, true)) + p.regulariser(part)
        D = p.leaf(part, p.down(below, moved))
        rate = c.ratio(h - right, D)
        if rate is None or rate == 0:
            continue
        gap = np.linalg.norm(h - right)
        if gap < 1e-6 * np.linalg.norm(h):
            continue
        words = f"{claim.detail} (learning rate {-rate:.6g})"
        named = Claim(claim.kind, claim.variant, words, number, line=claim.line, odd=claim.odd)
        return (named,), true + rate * moved
    return None


def of_weight(
    c: Evidence, part: Part, D: Array, R: Array, dz: Array, make: Make
) -> Iterator[tuple[Claim, Array, bool]]:
    if D.shape[0] == D.shape[1] and D.shape[0] > 1:
        claim = make("transpose", "dW", "is transposed", line="dW = aᵀ dz")
        if R.any():  # the data's part alone; the whole array is turned before it is explained
            yield claim, D.T, False
    below = part.layer - 1
    if below and c.problem.layers[below - 1].mask is not None:
        plain = c.problem.leaf(part, dz, None, c.problem.f[below])
        text = f"uses the output of {c.names.place(below)} without its dropout mask"
        yield make("wrong_dropout_backward", "input", text, line="dW = (a · mask)ᵀ dz"), plain, False


def of_step(c: Evidence, part: Part, dz: Array, da: Array, make: Make) -> Iterator[tuple[Claim, Array, bool]]:
    """The right formula with the array beside the right one: da for dz, z for a."""
    p, below = c.problem, part.layer - 1
    name = p.layers[below].activation
    if name != "identity" and da.shape == dz.shape:
        at = c.names.mark(part.layer)
        text = f"lacks the derivative of {name}: it is made with da{at} where dz{at} belongs"
        yield make("missing_activation_derivative", "array", text, odd=0.8), p.leaf(part, da), False
    if part.role == "W" and below and p.layers[below - 1].activation != "identity":
        at = c.names.mark(below)
        text = f"has z{at}, before the activation, where a{at} belongs"
        claim = make("activation_derivative_at_wrong_array", "input", text, odd=0.9)
        yield claim, p.leaf(part, dz, None, p.z[below]), False
        if p.layers[below - 1].mask is not None:
            yield claim, p.leaf(part, dz, None, p.z[below] * p.layers[below - 1].factor), False


def returned(c: Evidence, part: Part, h: Array, T: Array, make: Make) -> Iterator[Claims]:
    """The parameter itself, before or after the step, where its gradient belongs."""
    kind = "parameter_returned"
    gap, itself = _beside_parameter(c, part, h)
    if itself:
        yield (make(kind, "before", "is the parameter itself, not its gradient", line="", odd=0.3),)
        return
    few = c.few(part)
    if gap is None or (h.size < 4 and c.lr is None) or c.ratio(gap[few], T[few]) is None:
        return
    rate = c.lr if c.lr is not None else -(c.ratio(gap, T) or 0.0)
    if rate > 0 and norm(T) > 0 and c.same(gap, -rate * T, part):
        words = f"is the parameter after its step, θ − {rate:.6g}·dθ, not its gradient"
        yield (make(kind, "after", words, line="", odd=0.3),)


def _beside_parameter(c: Evidence, part: Part, h: Array) -> tuple[Array | None, bool]:
    """(h − θ, whether it is 0), asked once; None where θ proves nothing."""
    key = (part, "returned")
    if key not in c.rests:
        theta = -c.problem.theta(part) if c.ascent else c.problem.theta(part)
        proves = bool(theta.any()) and part.role != "slope" and h.shape == theta.shape
        if not proves:
            c.rests[key] = None, False
        else:
            c.rests[key] = h - theta, c.same(h, theta, part)
    found: tuple[Array | None, bool] = c.rests[key]
    return found


def of_other_layers(c: Evidence, part: Part, dz: Array, make: Make) -> Iterator[tuple[Claim, Array, bool]]:
    """dW and db with the delta of another layer; dW with another layer's output for the input."""
    p, n = c.problem, c.names
    at, kind = n.mark(part.layer), "wrong_layer"
    for other in p.layers:
        delta = c.true_deltas()[other.index]
        if other.index != part.layer and delta.shape == dz.shape and np.isfinite(delta).all():
            words = f"is made with {n.dz(other.index)}, where dz{at} belongs"
            yield make(kind, f"dz {other.index - part.layer}", words), p.leaf(part, delta), False
    if part.role != "W":
        return
    below = p.a[part.layer - 1]
    for j, a in enumerate(p.a):
        if j != part.layer - 1 and a.shape == below.shape:
            own = ", the layer's own output," if j == part.layer else ""
            words = f"is made with {n.a(j)}{own} where the layer's input {n.a(part.layer - 1)} belongs"
            yield make(kind, f"a {j - part.layer}", words), p.leaf(part, dz, None, a), False


def exchanged(c: Evidence, true: Mapping[Part, Array]) -> tuple[Evidence, Claims]:
    """The evidence with every gradient at its place, and a claim for each that stood at another one's.

    A permutation counts where every array of it is the true gradient of another parameter.
    """
    own: dict[str, list[Part]] = {}  # the parts of each array: two where a bias is folded into its weight
    for part in c.h:
        own.setdefault(part.name, []).append(part)
    plain = {n: q for n, q in own.items() if len({x.layer for x in q}) == 1 and q[0].role != "slope"}

    def holds(name: str, parts: list[Part]) -> bool:
        """Whether the author's array `name` is the true gradient of `parts`."""
        values = [shapes.canonical(q, c.raw[name], c.problem) for q in parts]
        return all(v is not None and c.same(v, true[q], q) for q, v in zip(parts, values, strict=True))

    wrong = [name for name, parts in plain.items() if not holds(name, parts)]
    home: dict[str, str] = {}  # whose gradient an array is
    for name in wrong:
        for other in wrong:
            if plain[other][0].role == plain[name][0].role and holds(name, plain[other]):
                home[name] = other
                break
    cycles = [name for name in wrong if _returns(name, home)]
    moved = any(norm(true[q]) > 10 * c.floor[q] for name in cycles for q in plain[name])
    if not moved or len({home[name] for name in cycles}) < len(cycles):
        return c, ()
    placed, raw, claims = dict(c.h), dict(c.raw), []
    for name in cycles:
        other = home[name]
        raw[other] = c.raw[name]
        placed |= {q: shapes.canonical(q, c.raw[name], c.problem) for q in plain[other]}
        words = (
            "holds each other's gradients" if home[other] == name else "holds each other's gradients in turn"
        )
        claims.append(Claim("swapped_gradients", "order", words, plain[name][0].layer, name, odd=0.5))
    return replace(c, h=placed, raw=raw, rests={}, slopes={}, found_limits=[]), tuple(claims)


def _returns(name: str, home: Mapping[str, str]) -> bool:
    """Following whose gradient is where comes back to `name`."""
    at = name
    for _ in home:
        if at not in home:
            return False
        at = home[at]
        if at == name:
            return True
    return False


def with_momentum(c: Evidence, true: Mapping[Part, Array]) -> Claims:
    """One mixture α·gradient + β·the one before in every array: a step with momentum."""
    trios = [
        (part, h, t, before)
        for part, t in true.items()
        if (h := c.h.get(part)) is not None and (before := c.previous.get(part)) is not None
    ]
    if len(trios) < len(true) or not trios:
        return ()
    h, t, before = (
        np.concatenate([v.ravel() for v in arrays])
        for arrays in (
            [h for _, h, _, _ in trios], [t for _, _, t, _ in trios], [before for *_, before in trios]
        )
    )  # fmt: skip
    fitted = c.fit(h, t, before) if h.size > 4 else None
    if fitted is None:
        return ()
    a, b = (float(v) for v in fitted)
    if min(abs(a), abs(b)) < 1e-7 or (abs(a - 1) < 1e-6 and abs(b - 1) < 1e-6):
        return ()  # the gradient alone, or what the call before left
    if not all(c.same(own, a * right + b * last, part) for part, own, right, last in trios):
        return ()
    words = f"is {a:.6g} times the gradient plus {b:.6g} times the one before"
    for said, first, second, mu in (
        ("momentum", 1.0, b, b),
        ("momentum as a running mean", a, (1 - a) * a, 1 - a),
        ("Nesterov's momentum", a, (a - 1) ** 2, a - 1),
    ):
        if 0 < mu < 1 and abs(a - first) < 1e-6 and abs(b - second) < 1e-6:
            words = f"{words.replace('is 1 times', 'is')}: {said}, μ = {mu:.6g}"
            break
    return tuple(Claim("momentum", "momentum", words, part.layer, part.name, odd=0.5) for part in true)
