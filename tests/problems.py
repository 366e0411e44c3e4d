"""Random problems that can tell a right gradient from a wrong one, and how the two traces are held.

All sizes of a problem are distinct primes, so a transposed matrix has another shape; N > 1, K > 1,
biases, γ and β are not zero and the upstream gradient varies: a check that only sees zeros, squares or
constants proves nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from manual import ACTIVATIONS, LOSSES, MLP
from manual.catalogue.layers import standardize
from manual.catalogue.losses import _margins
from manual.numbers import Array
from manual.structure.trace import Stage, Trace

PRIMES = (2, 3, 5, 7, 11, 13)
FLAT_SOMEWHERE = {"relu", "hardtanh"}  # where a gradient of 0 is right for many entries
DTYPES = {"float64": np.float64, "float32": np.float32}
# ‖difference‖ / scale. Both engines round each term of a stage at most some n + 4 times, n < 20 the length
# of its sums; measured on 16,000 random problems: median 1.0e-16 and 5.7e-8, at most 5.0e-15 and 5.1e-6.
TOLERANCE = {"float64": 1e-13, "float32": 1e-4}


@dataclass(frozen=True)
class Problem:
    """A network's sizes and the seed of all its numbers; N is no size of the network."""

    n: int
    sizes: tuple[int, ...]
    seed: int

    def generator(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def model(self, dtype: Any = np.float64, **rows: Any) -> MLP:
        """The network with every parameter and buffer drawn anew: none is zero, one or constant."""
        model, rng = MLP(self.sizes, dtype=dtype, **rows), self.generator()
        for name, value in (model.parameters | model.buffers).items():
            drawn = rng.normal(0, 1 / np.sqrt(value.shape[-1]), value.shape)
            if name.startswith(("normalizations", "activations")) and not name.endswith("bias"):
                drawn = rng.uniform(0.3, 1.5, value.shape)
            home = model.parameters if name in model.parameters else model.buffers
            home[name] = drawn.astype(dtype)
        return model

    def batch(self, loss: str, dtype: Any = np.float64, probabilities: bool = False) -> tuple[Array, Array]:
        """x and y as the loss takes them."""
        rng = np.random.default_rng([self.seed, 1])
        x = rng.normal(0, 1, (self.n, self.sizes[0])).astype(dtype)
        return x, targets(loss, (self.n, self.sizes[-1]), rng, dtype, probabilities)


def targets(
    loss: str, shape: tuple[int, int], rng: np.random.Generator, dtype: Any, probabilities: bool = False
) -> Array:
    """y of the loss's kind for an output of that shape; every class and both signs can occur."""
    if probabilities:
        p = rng.uniform(0.1, 1, shape)
        return (p / p.sum(axis=1, keepdims=True)).astype(dtype)
    kind = LOSSES[loss].target
    if kind == "label":
        return rng.integers(0, shape[1], shape[0])
    drawn = rng.integers(0, 2, shape)
    return {"real": rng.normal(0, 2, shape), "sign": 2 * drawn - 1, "binary": drawn}[kind].astype(dtype)


@st.composite
def problems(draw: st.DrawFn, hidden: int = 2) -> Problem:
    """Distinct primes for N and every layer; 1 to `hidden` hidden layers."""
    depth = draw(st.integers(1, hidden))
    n, *sizes = draw(st.permutations(PRIMES))[: depth + 3]
    if n == 2:  # batch statistics of two samples leave a gradient of ε / σ² only
        n, sizes[-1] = sizes[-1], n
    return Problem(n, tuple(sizes), draw(st.integers(0, 2**32 - 1)))


LINEAR = {
    "linear",
    "dropout",
    "dropout_backward",
    "backward_bias",
    "linear_backward_weight",
    "linear_backward_input",
}


def terms(stage: Stage, values: Mapping[str, Any]) -> Any:
    """The absolute terms whose sum the stage is: what its rounding is relative to, entry by entry."""
    if stage.kind in LINEAR:
        return stage.compute({name: np.abs(values[name]) for name in stage.reads})
    if stage.kind == "slope_gradient":
        da, z = (values[name] for name in stage.reads)
        return np.abs(stage.function(np.abs(da), z))
    if stage.kind == "jacobian_product":
        da, _, a = (values[name] for name in stage.reads)
        return a * (np.abs(da) + (np.abs(da) * a).sum(axis=-1, keepdims=True))
    if stage.kind in ("batch_norm_backward_input", "layer_norm_backward_input"):
        # dz = (g − mean(g) − x̂ mean(g x̂)) / σ, g = dn γ: with 2 features x̂ = ±1 and all of it cancels
        dn, z, gamma = (values[name] for name in stage.reads)
        axis, g = (0 if stage.kind.startswith("batch") else 1), np.abs(dn * gamma)
        x, deviation = map(np.abs, standardize(z, axis))
        return (g + g.mean(axis, keepdims=True) + x * (g * x).mean(axis, keepdims=True)) / deviation
    return np.abs(values[stage.name])


def scales(trace: Trace) -> dict[str, float]:
    """What a rounding error of each stage is measured against: the size of its terms, not of its sum.

    A sum that cancels (the bias before batch_norm, whose gradient is 0 in truth) is left with the
    rounding of its terms, so its own norm is no scale: the norm of the absolute terms is. The terms'
    own errors come from the stages before and weigh in as much as a stage passes them on: every
    stage's result is moved by ±δ of its terms, and the change that this makes further on, over δ, is
    added. Where nothing cancels all this is of the size of the result itself.
    """
    delta, rng = 2.0**-30, np.random.default_rng(0)
    exact: dict[str, Any] = {n: v if n == "y" else np.asarray(v, np.float64) for n, v in trace.leaves.items()}
    draws, found = [dict(exact) for _ in range(3)], {}
    for stage in trace:
        exact[stage.name] = stage.compute(exact)
        scale, changes = terms(stage, exact), []
        for moved in draws:
            value = stage.compute(moved)
            changes.append(norm(value - exact[stage.name]) / delta)
            moved[stage.name] = value + delta * scale * rng.choice((-1.0, 1.0), np.shape(value))
        found[stage.name] = norm(scale) + max(changes)
    return found


def norm(value: Any) -> float:
    return float(np.linalg.norm(np.asarray(value, np.float64).ravel()))


def disagreements(ours: Trace, theirs: Trace) -> dict[str, str]:
    """The stages that differ, first one first, with what differs: shape, dtype, or ‖Δ‖ over its scale."""
    assert [s.name for s in ours] == [s.name for s in theirs]
    found, scale = {}, scales(ours)
    for stage in ours:
        a, b = np.asarray(ours[stage.name]), np.asarray(theirs[stage.name])
        if a.shape != b.shape:
            found[stage.name] = f"shape {a.shape} and {b.shape}"
        elif a.dtype != b.dtype:
            found[stage.name] = f"dtype {a.dtype} and {b.dtype}"
        elif not norm(a - b) <= TOLERANCE[a.dtype.name] * scale[stage.name]:
            found[stage.name] = f"‖Δ‖/scale = {norm(a - b) / scale[stage.name]:.1e}"
    return found


def near_kink(trace: Trace, radius: float = 1e-5) -> bool:
    """Whether a value lies so near a kink that rounding could put the engines on different sides."""
    for stage in trace:
        points = []
        if stage.kind == "activation":
            points = [trace[stage.reads[0]] - k for k in ACTIVATIONS[stage.row].kinks]
        elif stage.kind == "loss":
            output, y = trace[stage.reads[0]], trace["y"]
            if stage.row == "l1":
                points = [output - y]
            elif stage.row == "hinge":
                points = [1 - y * output]
            elif stage.row == "multi_margin":
                margins = _margins(output, y)
                points = [margins[margins != 0]]
        if any((np.abs(p) < radius).any() for p in points):
            return True
    return False


def share_of_gradients(trace: Trace) -> float:
    """The smallest share of non-zero entries among the weights' gradients: 0 proves nothing.

    A learned slope acts below 0 alone: where no unit is there its gradient is 0 in truth, and no evidence.
    """
    stages = [s for s in trace if s.parameter is not None and s.parameter.endswith("weight")]
    acting = [s for s in stages if s.kind != "slope_gradient" or (trace[s.reads[1]] < 0).any()]
    return min(np.count_nonzero(trace[s.name]) / np.size(trace[s.name]) for s in acting)


def faulty(table: Mapping[str, Any], name: str, factor: float = 1 + 1e-9) -> Any:
    """A row whose derivative is off by a factor."""
    row = table[name]
    field = "jacobian_product" if getattr(row, "jacobian_product", None) else "derivative"
    right = getattr(row, field)
    return replace(row, **{field: lambda *a, **o: right(*a, **o) * factor})


def gap(ours: Any, theirs: Any) -> float:
    """The largest difference, in units of the largest number (at least 1)."""
    a, b = (
        np.concatenate([np.ravel(side[name]).astype(np.float64) for name in theirs])
        for side in (ours, theirs)
    )
    return float(np.abs(a - b).max() / max(1.0, np.abs(b).max()))
