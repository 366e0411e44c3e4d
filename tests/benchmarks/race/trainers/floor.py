"""The floor: the matrix products of forward and backward into buffers, and nothing else of a step.

z = a W forward, dW = aᵀ dz and da = dz Wᵀ backward (none for the first layer), on batches as they lie.
"""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from race.problems import Problem


class Numpy:
    """np.dot(out=): NumPy's BLAS."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.products = problem, []

    def prepare(self, seed: int) -> None:
        if not self.products:
            self.products = [tuple(self.convert(p) for p in product) for product in self.plan()]

    def convert(self, array: Any) -> Any:
        return array

    def plan(self) -> Iterator[tuple[Any, Any, Any]]:
        """Every product of an epoch as (a, b, out)."""
        spec, x = self.problem.spec, self.problem.x
        weights = [np.ascontiguousarray(w.T) for w, _ in self.problem.initial(0)]
        z = [np.empty((spec.batch, size), np.float32) for size in spec.sizes[1:]]
        da = [np.empty_like(array) for array in z[:-1]]
        dz = [*da, np.full_like(z[-1], 1e-3)]
        dw = [np.empty_like(w) for w in weights]
        for start in range(0, len(x), spec.batch):
            a = x[start : start + spec.batch]
            n = len(a)
            inputs = [a, *(array[:n] for array in z[:-1])]
            yield from ((inputs[i], weights[i], z[i][:n]) for i in range(3))
            for i in (2, 1, 0):
                yield inputs[i].T, dz[i][:n], dw[i]
                if i:
                    yield dz[i][:n], weights[i].T, da[i - 1][:n]

    def multiply(self) -> Callable[[Any, Any, Any], Any]:
        return np.dot

    def train(self) -> None:
        dot = self.multiply()
        for _ in range(self.problem.spec.epochs):
            for a, b, out in self.products:
                dot(a, b, out)

    def weights(self) -> None:
        return None


class Numba(Numpy):
    """The same in a function compiled by numba, which calls SciPy's BLAS: no Python between products."""

    def __init__(self, problem: Problem) -> None:
        import numba

        self.problem = problem

        @numba.njit
        def epoch(x, w1, w2, w3, z1, z2, z3, dz1, dz2, dz3, dw1, dw2, dw3, batch):  # type: ignore[no-untyped-def]  # numba types it
            for start in range(0, len(x), batch):
                a = x[start : start + batch]
                n = len(a)
                np.dot(a, w1, z1[:n])
                np.dot(z1[:n], w2, z2[:n])
                np.dot(z2[:n], w3, z3[:n])
                np.dot(z2[:n].T, dz3[:n], dw3)
                np.dot(dz3[:n], w3.T, dz2[:n])
                np.dot(z1[:n].T, dz2[:n], dw2)
                np.dot(dz2[:n], w2.T, dz1[:n])
                np.dot(a.T, dz1[:n], dw1)

        self.epoch = epoch

    def prepare(self, seed: int) -> None:
        spec = self.problem.spec
        weights = [np.ascontiguousarray(w.T) for w, _ in self.problem.initial(0)]
        z = [np.empty((spec.batch, size), np.float32) for size in spec.sizes[1:]]
        dz = [np.full_like(array, 1e-3) for array in z]
        self.arguments = (*weights, *z, *dz, *(np.empty_like(w) for w in weights), spec.batch)

    def train(self) -> None:
        for _ in range(self.problem.spec.epochs):
            self.epoch(self.problem.x, *self.arguments)


@cache
def every_product() -> Any:
    """The products of an epoch for any number of layers, compiled once a process."""
    import numba

    @numba.njit
    def epoch(x, sizes, w, dw, z, dz, batch):  # type: ignore[no-untyped-def]  # numba types it
        last = len(sizes) - 1
        for start in range(0, len(x), batch):
            a = x[start : start + batch]
            n, at, place = len(a), 0, 0
            for i in range(last):
                k, m = sizes[i], sizes[i + 1]
                out = z[place : place + n * m].reshape(n, m)
                np.dot(a, w[at : at + k * m].reshape(k, m), out)
                a, at, place = out, at + k * m, place + batch * m
            for j in range(last):
                i = last - 1 - j
                k, m = sizes[i], sizes[i + 1]
                at, place = at - k * m, place - batch * m
                g = dz[place : place + n * m].reshape(n, m)
                if i == 0:
                    np.dot(x[start : start + n].T, g, dw[: k * m].reshape(k, m))
                else:
                    before = place - batch * k
                    np.dot(z[before : before + n * k].reshape(n, k).T, g, dw[: k * m].reshape(k, m))
                    down = dz[before : before + n * k].reshape(n, k)
                    np.dot(g, w[at : at + k * m].reshape(k, m).T, down)

    return epoch


class AnyDepth:
    """As `Numba`, for any number of layers: their arrays lie in flat ones, one after the other."""

    def __init__(self, problem: Problem) -> None:
        self.problem, spec = problem, problem.spec
        sizes, batch = np.array(spec.sizes), spec.batch
        self.arguments = (
            sizes,
            np.concatenate([w.T.ravel() for w in self.drawn()]),
            np.empty(int((sizes[:-1] * sizes[1:]).max()), np.float32),
            np.full(batch * int(sizes[1:].sum()), 1e-3, np.float32),
            np.full(batch * int(sizes[1:].sum()), 1e-3, np.float32),
            batch,
        )

        self.epoch = every_product()

    def drawn(self) -> list[Any]:
        """Weights (out, in) of every layer, as torch would draw them."""
        rng = np.random.default_rng(0)
        pairs = list(pairwise(self.problem.spec.sizes))
        return [(2 * rng.random((m, k), dtype=np.float32) - 1) / np.float32(k) ** 0.5 for k, m in pairs]

    def prepare(self, seed: int) -> None:
        pass

    def warm_up(self) -> None:
        """Two batches, and the compiler."""
        self.epoch(self.problem.x[: 2 * self.problem.spec.batch], *self.arguments)

    def close(self) -> None:
        pass

    def epochs(self) -> Iterator[None]:
        """The products of one epoch after the other."""
        for _ in range(self.problem.spec.epochs):
            self.epoch(self.problem.x, *self.arguments)
            yield


class OneDNN(Numpy):
    """oneDNN's linear, which torch keeps private and which makes its own output; faster than torch.mm."""

    def convert(self, array: Any) -> Any:
        import torch

        return torch.from_numpy(array)

    def multiply(self) -> Callable[[Any, Any, Any], Any]:
        import torch

        linear = torch.ops.mkldnn._linear_pointwise
        return lambda a, b, out: linear(a, b.t(), None, "none", [], "")

    def train(self) -> None:
        import torch

        with torch.inference_mode():
            super().train()
