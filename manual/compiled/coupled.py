"""The activations whose entries are coupled as compiled loops, and the gradient of a learned slope."""

from typing import Any

from manual.compiled.elementary import exp
from manual.compiled.memory import at, loops


@loops
def softmax(w: Any, z_at: int, a_at: int, features: int, n: int, scratch: int) -> None:
    """aᵢ = e^zᵢ / Σⱼ e^zⱼ over the features of each sample, the largest taken off first."""
    total = at(w, scratch + n, n)
    exponentials(w, z_at, a_at, features, n, scratch)
    for j in range(features):
        a = at(w, a_at + j * n, n)
        for r in range(n):
            a[r] = a[r] / total[r]


@loops
def exponentials(w: Any, z_at: int, e_at: int, features: int, n: int, scratch: int) -> None:
    """e = e^(z − top), top = max z and total = Σ e of each sample; top and total go to `scratch`."""
    T = w.dtype.type
    top, total = at(w, scratch, n), at(w, scratch + n, n)
    first = at(w, z_at, n)
    for r in range(n):
        top[r] = first[r]
        total[r] = T(0)
    for j in range(1, features):
        z = at(w, z_at + j * n, n)
        for r in range(n):
            top[r] = z[r] if z[r] > top[r] else top[r]
    for j in range(features):
        z, e = at(w, z_at + j * n, n), at(w, e_at + j * n, n)
        for r in range(n):
            e[r] = exp(z[r] - top[r])
            total[r] += e[r]


# ∂aᵢ/∂zⱼ = aᵢ (δᵢⱼ − aⱼ), so dzⱼ = aⱼ (daⱼ − Σᵢ daᵢ aᵢ)
@loops
def jacobian_product(w: Any, da_at: int, a_at: int, dz_at: int, features: int, n: int, scratch: int) -> None:
    inner = at(w, scratch, n)
    for r in range(n):
        inner[r] = w.dtype.type(0)
    for j in range(features):
        da, a = at(w, da_at + j * n, n), at(w, a_at + j * n, n)
        for r in range(n):
            inner[r] += da[r] * a[r]
    for j in range(features):
        da, a, dz = at(w, da_at + j * n, n), at(w, a_at + j * n, n), at(w, dz_at + j * n, n)
        for r in range(n):
            dz[r] = a[r] * (da[r] - inner[r])


# ∂a/∂slope = z for z ≤ 0, else 0, summed over all entries; here over those of each sample
@loops
def slope_terms(w: Any, da_at: int, z_at: int, features: int, n: int, terms: Any) -> None:
    zero = w.dtype.type(0)
    for r in range(n):
        terms[r] = 0.0
    for j in range(features):
        da, z = at(w, da_at + j * n, n), at(w, z_at + j * n, n)
        for r in range(n):
            terms[r] += da[r] * (zero if z[r] > zero else z[r])
