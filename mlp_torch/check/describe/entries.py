"""How far each entry of a right gradient may lie from the true one: a running error analysis.

What rounding adds on the way, forward and backward, is carried along entry by entry: a row of small inputs, a
unit with small weights and a saturated one have small errors of their own, however large the rest of their
array is. All units are held on their sides of a kink.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.activations import FORMS, LOST, LOST_VALUE
from mlp_torch.check.describe.forward import Affine, Network, Part
from mlp_torch.check.describe.losses import DIFFERENCES, LOSSES, STEPS, fused

SINGLE, DOUBLE = (float(np.finfo(kind).eps) for kind in (np.float32, np.float64))
LEAST = {2.0**-10: 6e-8, 2.0**-7: 1e-38, SINGLE: 1e-38}  # below these numbers float16 … have no digits
SUBNORMAL = {SINGLE: 2.0**-149, DOUBLE: 2.0**-1074}  # the least there is
FEW_DIGITS = 1e6  # times that: numbers of which it takes a millionth
MIXED = 1e-5  # of dz: what p − y loses as a quotient by p(1 − p) taken back with another spelling of p


@dataclass(frozen=True)
class Entries:
    """By part and entry: `rounding`, what rounding may cost; `terms`, the magnitudes that it is a sum of."""

    rounding: Mapping[Part, Array]
    terms: Mapping[Part, Array]


def entries(p: Network, u: float) -> Entries:
    with np.errstate(all="ignore"):
        return _Errors(p, u, LEAST.get(u, 1e-300)).all()


def flushed(p: Network, u: float) -> dict[Part, Array]:
    """What numbers that have few digits in that arithmetic, or none, cost the entries of each part."""
    least = LEAST.get(u, 1e-300)
    with np.errstate(all="ignore"):
        if not any(((v != 0) & (np.abs(v) < FEW_DIGITS * least)).any() for v in (*p.a, *p.deltas()[1:])):
            return {}
        return dict(_Errors(p, 0.0, least).all().rounding)


class _Errors:
    """`of_a[n]`, `of_z[n]`: the errors of the forward pass; those of dz go down as they are found."""

    def __init__(self, p: Network, u: float, least: float) -> None:
        self.p, self.u, self.least = p, u, least
        self.local = (8 if u <= SINGLE else 2) * u
        self.sums = 8 * min(u, SINGLE)  # halves are summed in float32
        self.of_a, self.of_z = [u * np.abs(p.x)], [np.zeros(0)]
        for layer in p.layers:
            n = layer.index
            bias = 0.0 if layer.b is None else np.abs(layer.b)
            size = np.abs(p.a[n - 1]) @ np.abs(layer.W) + bias
            own = self._summed(size, layer.W.shape[0])
            self.of_z.append(self.of_a[-1] @ np.abs(layer.W) + own)
            self.of_a.append(self._activated(layer) * np.abs(layer.factor))

    def _summed(self, size: Array, count: int) -> Array:
        """The error of sums of `count` terms whose magnitudes add up to `size`."""
        return (self.sums * np.sqrt(count) + self.local) * size + self.least * count

    def _activated(self, layer: Affine) -> Array:
        """The error of f(z), f in whichever spelling."""
        n, name = layer.index, layer.activation
        z, f, dz = self.p.z[n], self.p.f[n], self.of_z[n]
        if name == "softmax":
            shift = z.max(axis=1, keepdims=True) - z
            return f * (dz + (f * dz).sum(axis=1, keepdims=True) + self.local * (2 + shift)) + self.least
        moved = _most(lambda v: FORMS[name].f(v, layer.constants), z, dz, FORMS[name].kinks)
        absolute = LOST_VALUE[name](z) if name in LOST_VALUE else 0.0
        return moved + self.local * (np.abs(f) + absolute) / 2 + self.least

    def _through(self, layer: Affine, da: Array, of_da: Array) -> tuple[Array, Array]:
        """(error of dz = da f′(z), what of it a cancelling f′ makes)."""
        n, name = layer.index, layer.activation
        z, f = self.p.z[n], self.p.f[n]
        size = np.abs(da)
        if name == "softmax":
            of_f = self._activated(layer)
            both = size + (size * f).sum(axis=1, keepdims=True)
            carried = f * (of_da + (of_da * f).sum(axis=1, keepdims=True))
            carried = carried + of_f * both + f * (size * of_f).sum(axis=1, keepdims=True)
            return carried, self.local * f * both
        form = FORMS[name]
        from_z = form.from_z
        assert from_z is not None
        slope = np.abs(from_z(z, layer.constants))
        if n in self.p.sides:
            slope = np.maximum(slope, 1.0)
        bent = _most(lambda v: from_z(v, layer.constants), z, self.of_z[n], form.kinks)
        lost = LOST[name](z, f, layer.constants) if name in LOST else 0.0
        return of_da * slope + size * (bent + self.local * slope) + self.least, size * lost * self.local / 2

    def _top(self) -> Array:
        """The error of the last layer's dz."""
        p, last = self.p, self.p.layers[-1]
        o, y, w, of_o = p.output, p.y, np.abs(p.weight), self.of_a[-1]
        both = np.abs(o) + np.abs(y)
        short = None
        if last.mask is None:
            short = fused(p.loss, last.activation, o, y, p.z[-1])
        G = p.loss_gradient() * last.factor
        if short is not None:
            dz = np.abs(p.top())
            _, own = self._through(last, G, np.zeros_like(G))
            own = np.fmin(np.nan_to_num(own, nan=np.inf, posinf=np.inf), MIXED * dz)
            # what pᵢ pⱼ loses below the normal numbers 1/p raises, at most to the ε of 1; 1/0 raises nothing
            size = np.nan_to_num(np.abs(G), posinf=0.0)
            size = size.sum(axis=1, keepdims=True) if last.activation == "softmax" else size
            own = own + SUBNORMAL.get(self.u, 0.0) * size
            ahead = y.sum(axis=1, keepdims=True) if last.activation == "softmax" else 1.0
            return np.asarray(w * (of_o * ahead + self.local * both) + own + self.local * dz)
        if p.loss in STEPS:
            of_G = np.zeros_like(G)
        elif p.loss == "rmse":
            d = np.abs(o - y)
            square = (d * d).mean()
            of_d = of_o + self.local * both
            of_G = w * (of_d / np.sqrt(square) + d * (d * of_d).mean() / square**1.5)
        else:
            form = LOSSES[p.loss]
            lost = DIFFERENCES[p.loss](o, y) if p.loss in DIFFERENCES else both if p.loss == "huber" else 0.0
            of_G = w * (_most(lambda v: form.derivative(v, y), o, of_o, ()) + self.local * lost)
        of_G = (of_G + self.local * np.abs(p.loss_gradient())) * np.abs(last.factor) + self.least
        carried, own = self._through(last, G, of_G)
        return carried + own

    def all(self) -> Entries:
        p, L = self.p, len(self.p.layers)
        dz, sizes = p.deltas(), p.deltas(absolute=True)
        rounding: dict[Part, Array] = {}
        terms: dict[Part, Array] = {}
        e = np.zeros(0)
        for layer in reversed(p.layers):
            n = layer.index
            if n == L:
                da, of_da, da_size = p.upstream(n, None), np.zeros_like(p.output), np.abs(p.upstream(n, None))
                e = self._top()
            else:
                W, factor = np.abs(p.layers[n].W), np.abs(layer.factor)
                da = p.upstream(n, dz[n + 1])
                of_da = (e @ W.T + self._summed(np.abs(dz[n + 1]) @ W.T, W.shape[1])) * factor
                da_size = (sizes[n + 1] @ W.T) * factor
                e = sum(self._through(layer, da, of_da), np.zeros(1))
            a, size = np.abs(p.a[n - 1]), np.abs(dz[n])
            for part in layer.parts:
                count = p.samples
                if part.role == "slope":
                    count *= p.z[n].shape[1]
                    z = np.where(p.z[n] > 0, 0.0, 1.0)
                    summed = np.abs(p.leaf(part, size, np.abs(da)))
                    slack = np.abs(p.leaf(part, e, of_da))
                    moved = np.abs(da) * self.of_z[n] * z
                    slack = slack + (moved.sum(axis=0) if slack.size > 1 else moved.sum())
                    terms[part] = np.abs(p.leaf(part, size, da_size))
                else:
                    summed = p.leaf(part, size, None, a)
                    slack = p.leaf(part, e, None, a)
                    terms[part] = p.leaf(part, sizes[n], None, a)
                    if part.role == "W":
                        slack = slack + self.of_a[n - 1].T @ size
                    else:
                        count *= 1 if slack.size == size.shape[1] else size.shape[1]
                extra = np.abs(p.regulariser(part))
                found = slack + self._summed(summed + extra, count)
                rounding[part] = np.nan_to_num(found, nan=np.inf, posinf=np.inf)
                terms[part] = np.nan_to_num(terms[part] + extra, nan=np.inf, posinf=np.inf)
        return Entries(rounding, terms)


def _most(f: Callable[[Array], Array], z: Array, radius: Array, kinks: tuple[float, ...]) -> Array:
    """The most that f changes within `radius` of z, on z's own side of every kink."""
    here, ends = f(z), [z - radius, z + radius]
    for kink in kinks:
        above, below = np.nextafter(kink, np.inf), kink
        ends = [np.where(z > kink, np.maximum(v, above), np.minimum(v, below)) for v in ends]
    return np.maximum(*(np.abs(f(v) - here) for v in ends))
