"""What every process does of a step: the gradient of its share of a batch, and the sum over the shares.

    L = Σᵢ wᵢ ℓᵢ / Σᵢ wᵢ over the batch,  so  ∂L/∂θ = Σ over the shares of ∂(Σᵢ wᵢ ℓᵢ / W)/∂θ

with W of the whole batch: a ragged batch, or a share of no sample, needs no case of its own. The penalty
has no samples: its gradient is added once, after the sum. Plain, DistributedDataParallel sums while the
backward pass goes on. `reproducible`, the leaves are summed as the tree of `shares`, and every process
computes on one thread: the same bits for 1, 2, 4 and 8 processes.
"""

import contextlib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

from manual.catalogue import LOSSES
from manual.numbers import Array
from manual.training.engine import State
from manual.training.recipe import PLAIN, Recipe
from manual.training.subnormals import flushing
from mlp_torch.autograd import AutogradEngine
from mlp_torch.buffered.pool import spread
from mlp_torch.distributed.group import Group
from mlp_torch.distributed.masks import mask
from mlp_torch.distributed.memory import all_reduced, met
from mlp_torch.distributed.parts import Part
from mlp_torch.distributed.shares import LEAVES, branch, cuts, leaves_of, tree_sum
from mlp_torch.model import MLP, Dropout, load_arrays, loss_value, penalty

ROWS = 8192  # that are predicted at once
Masks = Mapping[str, Array] | None


class Share(AutogradEngine):
    """A process's part of an engine that `group.size` of them are together."""

    def __init__(
        self,
        model: MLP,
        loss: str,
        optimizer: torch.optim.Optimizer,
        recipe: Recipe = PLAIN,
        *,
        group: Group,
        seed: int = 0,
        reproducible: bool = False,
    ) -> None:
        super().__init__(model, loss, optimizer, recipe)
        self.group, self.seed, self.tree = group, seed, reproducible
        self.seen = 0  # samples visited so far
        self.entries = 1 if LOSSES[loss].per_sample else model.architecture.sizes[-1]
        self.weights = list(model.parameters())
        self.memory = None
        if group.size > 1 and self.device.type == "cpu":
            self.memory = met(group, sum(p.numel() for p in self.weights), self.dtype)
        if group.size > 1 and not reproducible:
            with group.watched():
                wrapped = DistributedDataParallel(model, gradient_as_bucket_view=True)
            wrapped.register_comm_hook(self.memory, all_reduced)
            self.forward = wrapped
        if reproducible:
            kept = len(leaves_of(group.rank, group.size))
            self.leaves, self.flat = [self._zeros() for _ in range(kept)], self._zeros()

    def _zeros(self) -> torch.Tensor:
        """One number a parameter; torch begins each tensor of its own where registers like it."""
        size = sum(p.numel() for p in self.weights)
        return torch.zeros(size, dtype=self.dtype, device=self.device)

    def steps(
        self,
        x: Any,
        y: Array,
        weights: Array | None,
        indices: Array,
        batch_size: int,
        rates: Array,
        updates: list[int],
    ) -> Array:
        """All ranks: these batches; their losses, on rank 0."""
        starts = range(0, len(indices), batch_size)
        sizes = [min(batch_size, len(indices) - start) for start in starts]
        bounds = [cuts(n, self.group.size) for n in sizes]
        needs = [
            np.concatenate([indices[s + c[r] : s + c[r + 1]] for s, c in zip(starts, bounds, strict=True)])
            for r in range(self.group.size)
        ]
        mine, rank = needs[self.group.rank], self.group.rank
        rows = x.share(needs) if isinstance(x, Part) else x[mine]
        given = [self._tensor(rows), self._tensor(y[mine])]
        if weights is not None:
            given.append(self._tensor(weights[mine]).to(self.dtype))
        found, first = [], 0
        self.model.train()
        with self._threads(), self.group.watched():
            for start, n, c, rate, batches in zip(
                starts, sizes, bounds, rates.tolist(), updates, strict=True
            ):
                count = c[rank + 1] - c[rank]
                share = [v[first : first + count] for v in given]
                batch = indices[start : start + n]
                total = float(n) if weights is None else float(weights[batch].sum(dtype=np.float64))
                self.group.stepped()
                values = self._gradient(share, total, n, None, reduced=batches > 0)
                found.append([*values, self._update(batches, rate)])
                first += count
                self.seen += n
        return _losses(self.group.collected(np.array(found)))

    def _update(self, batches: int, rate: float) -> float:
        """The penalty's gradient, the mean over the batches, clipping, the optimizer; the penalty."""
        value = 0.0
        if self.recipe.penalized:
            added = penalty(self.model, self.recipe)
            value = float(added.detach())
            if batches:
                gradients = torch.autograd.grad(added, self.weights, allow_unused=True)
                for p, g in zip(self.weights, gradients, strict=True):
                    if g is not None and p.grad is not None:
                        p.grad.add_(g, alpha=batches)
        self.waiting = not batches
        if batches:
            self._clip(batches)
            for options in self.optimizer.param_groups:
                options["lr"] = rate
            self.optimizer.step()
        return value if self.group.rank == 0 else 0.0

    def _gradient(
        self, share: list[torch.Tensor], total: float, n: int, masks: Masks, *, reduced: bool
    ) -> list[float]:
        """The whole batch's gradient, added to what waits, from this share of it; the share's losses.

        A batch of n samples that weigh `total`; with `reduced` it is this batch that ends the wait.
        """
        first = cuts(n, self.group.size)[self.group.rank]
        if self.tree:
            return self._of_leaves(share, total, n, masks)
        if not self.waiting:
            for p in self.weights:
                p.grad = None
        wrapped = self.forward
        waits = isinstance(wrapped, DistributedDataParallel) and not reduced
        with wrapped.no_sync() if waits else contextlib.nullcontext():  # type: ignore[attr-defined]  # as just asked
            loss = self._loss(wrapped, share, total, first, masks)
            loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
        return [float(loss.detach())]

    def _of_leaves(self, share: list[torch.Tensor], total: float, n: int, masks: Masks) -> list[float]:
        own, bounds = leaves_of(self.group.rank, self.group.size), cuts(n, LEAVES)
        found, parts = [], []
        for place, leaf in enumerate(own):
            low, high = (b - bounds[own[0]] for b in bounds[leaf : leaf + 2])
            part = self.leaves[place]
            if low == high:
                found.append(0.0)
                parts.append(part.zero_())
                continue
            # copies: where rows begin in memory shows in the bits of a product
            rows = [v[low:high].clone() for v in share]
            loss = self._loss(self.model, rows, total, bounds[leaf], masks)
            gradients = torch.autograd.grad(loss, self.weights)
            found.append(float(loss.detach()))
            parts.append(torch.cat([g.reshape(-1) for g in gradients], out=part))
        whole = self._summed(branch(parts))
        if self.waiting:
            self.flat.add_(whole)
        else:
            self.flat.copy_(whole)
        for p, g in zip(self.weights, torch.split(self.flat, [p.numel() for p in self.weights]), strict=True):
            p.grad = g.view_as(p)
        return found

    def _summed(self, part: torch.Tensor) -> torch.Tensor:
        """Every process's branch, summed in its place."""
        if self.memory is not None:
            return self.memory.sum_(part)
        return tree_sum(part, self.group.rank, self.group.size)

    def _loss(
        self, forward: Any, share: list[torch.Tensor], total: float, first: int, masks: Masks
    ) -> torch.Tensor:
        """Σᵢ wᵢ ℓᵢ / W over a share, whose samples stand in the batch from place `first` on."""
        x, y, *weights = share
        count = len(x)
        for i, dropout in enumerate(self.model.dropouts, start=1):
            assert isinstance(dropout, Dropout)
            if masks is None:
                width, kind = self.model.architecture.sizes[i], np.dtype(str(self.dtype).split(".")[1])
                drawn = mask(self.seed, i, self.seen + first, count, width, dropout.p, kind)
            else:
                drawn = masks[f"mask{i}"][first : first + count]
            dropout.next_mask = self._tensor(drawn)
        output = forward(x)
        return loss_value(self.loss, output, y, "sum", *weights) / (total * self.entries)

    def gradient(self, x: Array, y: Array, masks: Masks, weights: Array | None) -> None:
        """All ranks: the gradients of this batch, of which each takes its share; no weight moves."""
        low, high = cuts(len(x), self.group.size)[self.group.rank :][:2]
        share = [self._tensor(v[low:high]) for v in (x, y)]
        if weights is not None:
            share.append(self._tensor(weights[low:high]).to(self.dtype))
        total = float(len(x)) if weights is None else float(weights.sum(dtype=np.float64))
        self.model.train()
        assert not self.waiting  # batches that make one update stay together: none is watched in between
        with self._threads(), self.group.watched():
            self._gradient(share, total, len(x), masks, reduced=True)
            if self.recipe.penalized:
                added = torch.autograd.grad(penalty(self.model, self.recipe), self.weights, allow_unused=True)
                for p, g in zip(self.weights, added, strict=True):
                    if g is not None and p.grad is not None:
                        p.grad.add_(g)

    def outputs(self, x: Array) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = self.model(
                self._tensor(x).clone()
            )  # as above, on the rows' place in memory
        return found

    def outputs_of(self, x: Part) -> list[Array]:
        """All ranks: the outputs of each rank's rows, on rank 0."""
        bounds, rank = cuts(len(x), self.group.size), self.group.rank
        low, high = bounds[rank : rank + 2]
        edges = [low, high]
        if self.tree:
            edges = [b for b in cuts(len(x), LEAVES) if low <= b <= high]
        rows, first = x.own, x.first
        if len(x) < x.split:
            rows, first = x.share([np.arange(a, b) for a, b in pairwise(bounds)]), low
        return self.group.collected(self.of_rows(rows, [b - first for b in edges]))

    def of_rows(self, x: Array, edges: list[int]) -> Array:
        """The outputs of the rows between the edges, each block on its own."""
        blocks = [
            x[low : min(low + ROWS, end)] for start, end in pairwise(edges) for low in range(start, end, ROWS)
        ]
        width = self.model.architecture.sizes[-1]
        with self._threads():
            found = [super(Share, self).predict(block) for block in blocks]
        return np.concatenate(found) if found else np.empty((0, width), x.dtype)

    def take(self, state: State) -> None:
        """This rank's part of `resume`."""
        load_arrays(self.model, state.of("parameters"))
        self.take_moments(state)
        self.seen = state.numbers["seen"]

    @contextlib.contextmanager
    def _threads(self) -> Iterator[None]:
        """One thread, where the bits are not to depend on the machine's number of them.

        Results below the smallest normal number are 0: moments that decay stay there else, and are slow.
        """
        before = torch.get_num_threads()
        if self.tree:
            torch.set_num_threads(1)
        try:
            with flushing(spread):
                yield
        finally:
            if self.tree:
                torch.set_num_threads(before)


def _losses(found: list[Array]) -> Array:
    """The batches' losses from every rank's (steps, leaves and the penalty), by the order of the leaves."""
    if not found:
        return np.zeros(0)
    leaves = np.concatenate([part[:, :-1] for part in found], axis=1)
    return np.asarray(np.cumsum(leaves, axis=1)[:, -1] + found[0][:, -1])
