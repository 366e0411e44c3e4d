"""What a hypothesis is held against: the network, the author's arrays, the tolerance, names of constants."""

import copy
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Network, Part
from mlp_torch.check.faults.claims import Claim, Names, names_of, norm
from mlp_torch.check.faults.constants import Constant, Limits, limits_of, named

ALL = slice(None)
OR = " or "  # between constants that the numbers do not tell apart
COARSE = 1e-4  # a relative tolerance that several constants may lie within


@dataclass
class Evidence:
    """The problem, the author's gradients in canonical form (None: another shape), the tolerance."""

    problem: Network
    h: Mapping[Part, Array | None]
    raw: Mapping[str, Array]
    rtol: float
    floor: Mapping[Part, float]
    lr: float | None = None
    ascent: bool = False
    after: Mapping[int, Array] = field(default_factory=dict)
    previous: Mapping[Part, Array | None] = field(default_factory=dict)
    deadline: float = field(default_factory=lambda: time.thread_time() + 9)
    found_limits: list[Limits] = field(default_factory=list)
    output_known: bool = False  # the author's output was compared: the forward pass is the one described
    rests: dict[tuple[Part, bool | str], Any] = field(default_factory=dict)
    slopes: dict[tuple[int, bool], Any] = field(default_factory=dict)
    deltas: list[Array] | None = None  # the true dz of every layer
    turned: Part | None = None  # the part whose array stands transposed in h

    @cached_property
    def names(self) -> Names:
        return names_of(self.problem)

    @cached_property
    def constants(self) -> list[Constant]:
        return named(self.problem, self.lr, self.names)

    def same(self, h: Array, candidate: Array, part: Part, factor: float = 1.0) -> bool:
        """Equal up to rounding, norm-wise; `factor`: of the true array, and of its rounding."""
        if h.shape != candidate.shape:
            return False
        gap = norm(h - candidate)
        size = max(norm(candidate), norm(h))
        return gap < math.inf and gap <= self.rtol * size + factor * self.floor[part]

    def expired(self) -> bool:
        return time.thread_time() > self.deadline

    def name_constant(self, c: float, part: Part | None = None) -> list[list[tuple[str, str, str]]]:
        """Readings of a factor h = c·t as lists of (kind, variant, detail); empty where it has no name.

        `part`: the array that shows the factor, up to its own rounding.
        """
        tolerance = max(self.rtol, 1e-12) * 4
        if part is not None and (h := self.h.get(part)) is not None:
            tolerance += self.floor[part] / max(norm(h), 1e-300)
        readings: list[list[tuple[str, str, str]]] = []
        sign = [("sign", "sign", "has the opposite sign")] if c < 0 else []
        if abs(abs(c) - 1) <= tolerance:
            return [sign] if sign else []
        near = [k for k in self.constants if abs(abs(c) - k.value) <= tolerance * k.value]
        plain = [k for k in near if len(k.words) == 1 and k.words[0][0] == "constant_factor"]
        for words in (k.words for k in near if k not in plain):
            readings.append(sign + [(kind, kind if "rate" in kind else text, text) for kind, text in words])
        if self.rtol > COARSE:
            plain.sort(key=lambda k: abs(abs(c) - k.value))
        if plain:
            text = f"is the true one {plain[0].words[0][1]}"
            others = {k.value: k.words[0][1] for k in plain if abs(k.value / plain[0].value - 1) > 1e-9}
            alike = [words for v, words in others.items() if abs(v / plain[0].value - 1) <= self.rtol]
            detail = text if self.rtol <= COARSE else OR.join((text, *alike))
            readings.append([*sign, ("constant_factor", text, detail)])
        return sorted(readings, key=len)

    def factors_of(self, claims: Iterable[Claim]) -> list[float]:
        """The values of the constants that are claimed."""
        texts = {x.variant for x in claims if x.kind == "constant_factor"}
        return [c.value for c in self.constants if f"is the true one {c.words[-1][1]}" in texts]

    def rare(self, text: str) -> bool:
        """Whether what is said of a constant names one that hardly anybody writes."""
        return any(c.rare and text == f"is the true one {c.words[-1][1]}" for c in self.constants)

    def fit(self, h: Array, *basis: Array) -> Array | None:
        """Coefficients with h = Σ cᵢ basisᵢ, or None; needs more entries than coefficients."""
        if h.size <= len(basis) or any(b.shape != h.shape for b in basis):
            return None
        A = np.stack([b.ravel() for b in basis], axis=1)
        if not (np.isfinite(A).all() and np.isfinite(h).all()):
            return None
        norms = np.linalg.norm(A, axis=0)
        if not norms.all():
            return None
        solution, _, rank, _ = np.linalg.lstsq(A / norms, h.ravel(), rcond=1e-10)
        if rank < len(basis):
            return None
        coefficients: Array = solution / norms
        gap = np.linalg.norm(h.ravel() - A @ coefficients)
        return coefficients if gap <= self.rtol * np.linalg.norm(h) else None

    def ratio(self, h: Array, t: Array, part: Part | None = None) -> float | None:
        """c with h = c·t, or None. A single entry has a ratio too."""
        if h.shape != t.shape:
            return None
        square = float(np.vdot(t, t))
        if not np.isfinite(square) or square == 0:
            return None
        c = float(np.vdot(h, t)) / square
        size = norm(h)
        gap = norm(h - c * t)
        floor = (
            0.0 if part is None else self.floor[part] * min(1.0, abs(c))
        )  # a factor shrinks the rounding too
        if not gap <= self.rtol * size + floor or floor > max(1e-3, 8 * self.rtol) * size or c == 0:
            return None
        return c if np.sqrt(square) > 1e-12 * size else None

    def spanned(self, part: Part, D: Array) -> bool:
        """The author's array is D times something plus the parameter times something: asked before naming."""
        h = self.h[part]
        assert h is not None
        if D.size != h.size:
            return False
        few = self.few(part)
        # a few rows of a large weight tell already
        return (few == ALL or self._left(part, D[few], few)) and self._left(part, D, ALL)

    def few(self, part: Part) -> slice:
        """The rows of an array that are asked first."""
        h = self.h[part]
        return ALL if part.role != "W" or h is None or len(h) < 24 else slice(0, None, len(h) // 8)

    def _left(self, part: Part, D: Array, rows: slice) -> bool:
        Q, rest, allowed = self._rest(part, rows)
        d = D.ravel()
        if d.size != rest.size:
            return True
        d = d - Q @ (Q.T @ d)
        square = float(np.vdot(d, d))
        if not square < math.inf:
            return False
        gap = rest - (float(np.vdot(rest, d)) / square) * d if square > 0 else rest
        return norm(gap) <= allowed

    def which_spanned(self, part: Part, candidates: Array, rows: slice) -> Array:
        """`spanned` of several candidates (C, entries) on some rows at once."""
        Q, rest, allowed = self._rest(part, rows)
        d = candidates - (candidates @ Q) @ Q.T
        square = (d * d).sum(axis=1)
        gap = rest - ((d @ rest) / np.where(square > 0, square, 1.0))[:, None] * d
        found: Array = (square < np.inf) & (np.sqrt((gap * gap).sum(axis=1)) <= allowed)
        return found

    def _rest(self, part: Part, rows: slice) -> tuple[Array, Array, float]:
        """A basis of what the parameter gives, the author's array without it, and what may be left."""
        key = (part, rows == ALL)
        if key in self.rests:
            found: tuple[Array, Array, float] = self.rests[key]
            return found
        whole = self.h[part]
        assert whole is not None
        h, theta = (v if rows == ALL else v[rows] for v in (whole, self.problem.theta(part)))
        theta = theta.ravel()
        columns = [] if part.role == "slope" else [theta]
        if part.role != "slope":
            given = self.problem.penalties[part.layer, part.role]
            if given.l1 or (h.size > 3 and not given.l2) or h.size > 5:
                columns.append(np.sign(theta))
            if h.size > 5 and (given.l1 or given.l2):
                columns.append(np.abs(theta))
            if h.size > 7:
                columns.append(theta * theta)
        A = np.stack(columns, axis=1) if columns else np.zeros((h.size, 0))
        Q, R = np.linalg.qr(A) if A.any() else (A[:, :0], A[:0])
        if rows == ALL:  # of a few rows, a direction too many only lets more through
            Q = Q[:, np.abs(np.diagonal(R)) > 1e-12 * np.abs(R).max(initial=0)]
        flat = h.ravel()
        self.rests[key] = Q, flat - Q @ (Q.T @ flat), 4 * (self.rtol * norm(whole) + self.floor[part])
        return self._rest(part, rows)

    def regulariser(self, part: Part) -> Array:
        """The penalty's gradient for a part, worked out once."""
        key = (part, "penalty")
        if key not in self.rests:
            self.rests[key] = self.problem.regulariser(part)
        found: Array = self.rests[key]
        return found

    def true_deltas(self) -> list[Array]:
        """The true dz of every layer, [0] unused."""
        if self.deltas is None:
            with np.errstate(all="ignore"):
                self.deltas = self.problem.deltas()
        return self.deltas

    @property
    def limits(self) -> Limits:
        """What the author's arrays show of lengths that they may have been cut to."""
        if not self.found_limits:
            # neither what is not finite nor a parameter that was returned has been cut
            odd = {
                q.name
                for q, v in self.h.items()
                if v is not None and np.array_equal(v, self.problem.theta(q))
            }
            odd |= {name for name, v in self.raw.items() if not np.isfinite(v).all()}
            h = {q: v for q, v in self.h.items() if q.name not in odd}
            raw = {name: v for name, v in self.raw.items() if name not in odd}
            self.found_limits.append(limits_of(h, raw, self.rtol, self.floor))
        return self.found_limits[0]


def thin(c: Evidence, most: int = 64, kept: int = 40) -> Evidence | None:
    """The same search on `kept` inputs of a wide first layer, or None where it is narrow."""
    p = c.problem
    first = p.layers[0]
    part = next((q for q in first.parts if q.role == "W"), None)
    if first.W.shape[0] <= most or part is None or part not in c.h or c.h[part] is None:
        return None
    if any(q.name == part.name and q.layer > 1 for q in c.h):
        return None
    _ = c.limits  # found now, of the whole arrays, and kept
    alive = np.flatnonzero(np.abs(p.x).sum(axis=0) > 0)
    index = np.sort(np.random.default_rng(0).choice(alive, min(kept, len(alive)), replace=False))
    if not len(index):
        return None
    small = copy.copy(p)
    small.layers = [replace(first, W=first.W[index]), *p.layers[1:]]
    small.x = p.x[:, index]
    small.a, small.z, small.f = [small.x, *p.a[1:]], [small.x, *p.z[1:]], [small.x, *p.f[1:]]

    def cut(arrays: Mapping[Part, Array | None]) -> dict[Part, Array | None]:
        return {q: v[index] if q == part and v is not None else v for q, v in arrays.items()}

    return replace(c, problem=small, h=cut(c.h), previous=cut(c.previous), deltas=None, rests={}, slopes={})
