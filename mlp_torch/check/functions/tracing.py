"""A person's own NumPy forward pass, run on arrays that torch.autograd follows: every array to the loss."""

import linecache
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual.numbers import Array
from mlp_torch.check.functions.eager.array import Traced
from mlp_torch.check.functions.eager.module import Rebuilt
from mlp_torch.check.functions.eager.run import (
    FINE,
    EnoughError,
    Made,
    Run,
    Site,
    UntraceableError,
    running,
    unit_of,
)


@dataclass(frozen=True)
class TracedArray:
    """One array of the forward pass that depends on the parameters, under the author's name for it."""

    name: str
    array: Tensor

    @property
    def value(self) -> Array:
        return np.asarray(self.array.detach())


@dataclass(frozen=True)
class TracedLoss:
    """The parameters as leaves, the loss, and the arrays between them (`steps`: the most downstream first).

    `again` runs the same code once more: of another side of its kinks, or with rounding errors put in.
    """

    leaves: Mapping[str, Tensor]
    total: Tensor
    made: Sequence[Made] = ()
    run: Run = field(default_factory=Run)
    sites: Sequence[Site] = ()
    again: Callable[[Run], "TracedLoss"] | None = None
    last: int | None = None  # the loss's place among the arrays made
    hand: Mapping[str, Array] = field(default_factory=dict)  # the author's own gradients, in float64
    units: Mapping[str, float] = field(default_factory=dict)  # of the coarsest dtype on the way to each

    @property
    def rounded(self) -> bool:
        """The loss is a number that the code rounded, and the last thing that it did."""
        return bool(self.run.rounded) and float(self.total.detach()) == self.run.unrounded[1]

    @cached_property
    def steps(self) -> list[TracedArray]:
        return list(_steps(self.made))

    def gradient(self) -> dict[str, Array]:
        """∂loss/∂parameter by parameter."""
        return self._gradients(self.total, self.leaves)

    def slopes(self, of: Tensor, upstream: Array) -> "Slopes":
        """Σ upstream · ∂of/∂parameter by parameter, when it is asked for: what is nearest to the loss first.

        The sum is torch's too: to take `upstream` itself, autograd.grad would import sympy for a second.
        """
        with torch.enable_grad():
            total = (of * torch.tensor(upstream, dtype=of.dtype)).sum()
        return Slopes(self._late, lambda names: self._gradients(total, names))

    def _gradients(self, out: Tensor, names: Iterable[str]) -> dict[str, Array]:
        leaves = {name: self.leaves[name] for name in names}
        if not out.requires_grad:
            return {name: np.zeros(tuple(leaf.shape)) for name, leaf in leaves.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.autograd.grad(out, list(leaves.values()), retain_graph=True, allow_unused=True)
        return {
            name: np.zeros(tuple(leaf.shape)) if g is None else g.resolve_conj().numpy().copy()
            for (name, leaf), g in zip(leaves.items(), found, strict=True)
        }

    @cached_property
    def _late(self) -> list[str]:
        """The parameters, the last that the code came to first: what lies behind it is the least."""
        names = {id(leaf): name for name, leaf in self.leaves.items()}
        first: list[str] = []
        for m in self.made:
            for node, _ in m.tensor.grad_fn.next_functions if m.tensor.grad_fn is not None else ():
                name = names.pop(id(getattr(node, "variable", None)), None)
                first += [name] if name is not None else []
            if not names:
                break
        return [*reversed(first), *names.values()]


@dataclass(frozen=True)
class Slopes(Mapping[str, Array]):
    """Gradients by name, found when they are asked for: the first of `names`, the cheapest, alone."""

    names: Sequence[str]
    find: Callable[[Sequence[str]], Mapping[str, Array]]
    found: dict[str, Array] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        if name not in self.found:
            first = name == self.names[0]
            self.found.update(self.find(self.names[:1] if first else self.names[1:]))
        return self.found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def over(self, number: float) -> "Slopes":
        return Slopes(self.names, lambda names: {name: self[name] / number for name in names})


Read = Callable[[Any], tuple[Any, Callable[[Callable[[Any], Any]], Mapping[str, Any]]]]


def trace(
    loss: Callable[[dict[str, Any]], Any], values: Mapping[str, Array], value: float,
    read: Read | None = None, dtypes: Mapping[str, Any] | None = None,
) -> TracedLoss:  # fmt: skip
    """The loss of arrays by name, run once eagerly; `value` is what it gives in NumPy.

    `read` tells the loss and the gradients from what `loss` gives, where that is more than the loss;
    `dtypes` are those that the parameters have in NumPy.
    `loss` may fail, or give plain numbers, after its forward pass: then the loss is the last array made that
    has its value. Raises what the author's code raises before, and UntraceableError where no value is the
    loss's.
    """

    def execute(run: Run) -> TracedLoss:
        leaves = {n: torch.tensor(v, dtype=torch.float64, requires_grad=True) for n, v in values.items()}
        given = {n: Traced(leaf.clone() if run.noise else leaf) for n, leaf in leaves.items()}
        if run.shift:
            given = {n: Traced(leaf + torch.from_numpy(run.shift[n])) for n, leaf in leaves.items()}
        failed: Exception | SystemExit | None = None
        found: Any = None
        gradients: Any = None
        with running(run), torch.enable_grad(), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            for name, array in given.items():
                array.name = name
                array.kind = unit_of((dtypes or {}).get(name, np.float64))
                if run.noise:
                    run.disturb(array._t)
            enough = False
            try:
                found = Rebuilt().of(loss)(given)
                if read is not None:
                    found, gradients = read(found)
            except EnoughError:
                enough = True
            except (Exception, SystemExit) as error:
                failed = error
        if enough:  # the same way through the code as before: the loss is the array in the same place
            return TracedLoss(leaves, _real(run.made[run.stop_after or 0].tensor), run.made, run)
        if run.shift:  # asked for its decisions alone
            return TracedLoss(leaves, torch.zeros(()), run.made, run)
        if run.noise and gradients is not None:  # asked for the author's own gradients, with errors
            return TracedLoss(leaves, torch.zeros(()), run.made, run, hand=_gradients(gradients, run)[0])
        total, order = _loss(run, found, value)
        if total is not None and abs(float(total.detach()) - value) > 1e-12 * abs(value):
            run.coarsest = max(run.coarsest, run.data_unit)  # the code computes in its data's dtype
            if not (isinstance(found, Traced) and found.coarsest > FINE):
                gradients = None  # which of its arrays it does so for was not seen
        if total is None:
            raise failed or UntraceableError("no array of the forward pass has the loss's value")
        ahead = [s for s in run.sites.values() if s.order <= order]
        hand, units = ({}, {}) if gradients is None else _gradients(gradients, run)
        del run.made[order + 1 :]  # the graph of the author's own backward pass
        return TracedLoss(leaves, total, run.made, run, ahead, execute, order, hand, units)

    return execute(Run())


def _gradients(gradients: Any, run: Run) -> tuple[dict[str, Array], dict[str, float]]:
    """The author's own gradients as they come out without rounding, and the coarsest unit on the way."""

    def number(v: Any) -> Any:
        return np.array(v.value)[()] if isinstance(v, Traced) else v

    def unit(v: Any) -> Any:
        return np.full(v.shape, v.coarsest)[()] if isinstance(v, Traced) else _coarse(v, run.coarsest)

    try:
        hand, units = gradients(number), gradients(unit)
        return (
            {n: np.asarray(v, dtype=float) for n, v in hand.items()},
            {n: max(FINE, float(np.max(np.asarray(v, dtype=float), initial=0.0))) for n, v in units.items()},
        )
    except Exception:  # another form than in NumPy: then they are not known without their rounding
        return {}, {}


def _coarse(v: Any, unit: float) -> Any:
    """A number that left the graph may have come from anywhere."""
    number = isinstance(v, float | np.floating) or (isinstance(v, np.ndarray) and v.dtype.kind == "f")
    return np.full(np.shape(v), unit)[()] if number else v


def _loss(run: Run, found: Any, value: float) -> tuple[Tensor | None, int]:
    """The tensor that is the loss, and how many arrays had been made before it."""
    within = max(1e-9, 1e3 * run.coarsest, 1e3 * run.data_unit * (run.data_unit > 1e-12), 1e6 * run.noise)

    def fits(tensor: Tensor, scale: float = 0.0) -> bool:
        if tensor.numel() != 1 or (tensor.is_complex() and abs(tensor.imag.item()) > 1e-9 * abs(value)):
            return False
        gap = abs(float(tensor.detach().real if tensor.is_complex() else tensor.detach()) - value)
        return gap <= within * max(abs(value), 1e-12 * (value != 0), scale)

    # a loss that is 0 up to rounding has the scale of its terms; what is searched for has none

    def fits_terms(tensor: Tensor) -> bool:
        terms = max((float(m.tensor.detach().abs().max()) for m in run.made if m.tensor.numel()), default=0.0)
        small = np.isfinite(terms) and abs(value) < 1e-9 * terms
        return small and fits(tensor, 2.0**-40 * terms / within)

    if isinstance(found, Traced) and found.size == 1 and (fits(found.t) or fits_terms(found.t)):
        for i in reversed(range(len(run.made))):
            if run.made[i].tensor is found.t:
                return _real(found.t), i
        total = found.t.reshape(()) + 0.0
        run.made.append(Made(total, "", 0, 0, found))
        return total, len(run.made) - 1
    if value == 0 and isinstance(found, int | float | np.generic) and found == 0 and not run.leaks:
        return torch.zeros((), dtype=torch.float64), len(run.made)  # any array may be 0, and none is the loss
    for i in reversed(range(len(run.made))):
        if fits(run.made[i].tensor):
            return run.made[i].tensor, i
    if isinstance(found, int | float | np.generic) and not run.leaks:  # no parameter reaches the loss
        total = torch.tensor(float(np.real(found)), dtype=torch.float64)
        return (total, len(run.made)) if fits(total) else (None, 0)
    return None, 0


def _real(t: Tensor) -> Tensor:
    return torch.real(t) if t.is_complex() else t


def _steps(made: Sequence[Made]) -> Iterator[TracedArray]:
    """The arrays that the code made, the most downstream first, each value once under its best name."""
    found: dict[tuple[Any, ...], TracedArray] = {}
    for i, m in enumerate(made):
        if m.tensor.is_complex() or not m.file:
            continue
        ends = i + 1 == len(made) or (made[i + 1].frame, made[i + 1].line) != (m.frame, m.line)
        step = TracedArray(_name(m, ends), m.tensor)
        key = (m.tensor.numel(), blake2b(m.tensor.detach().reshape(-1).numpy().tobytes()).digest())
        if key not in found or "`" in found[key].name:
            found[key] = step
    yield from reversed(found.values())


def _name(m: Made, ends: bool) -> str:
    """The variable that the author's line assigns it to, else the line itself."""
    if m.owner.name:
        return str(m.owner.name)
    line = linecache.getline(m.file, m.line).strip()
    target = re.match(r"([\w.]+(\[[\w\"'.]+\])?)\s*=[^=]", line)
    if ends and target:
        return target.group(1)
    line = line if len(line) < 60 else f"{line[:56]} …"
    return f"an array of `{line or '?'}`"
