"""One device: the dtypes that are judged there, and the truth in each."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from manual.numbers import Array
from mlp_torch.check.operations import outputs
from mlp_torch.check.operations.calls import FROZEN_LEAF, Graph, RaisedError, Side, is_random
from mlp_torch.check.operations.comparison import Comparison
from mlp_torch.check.operations.floor import U, nudged, own
from mlp_torch.check.operations.judging import Finding, NotKeptError
from mlp_torch.check.operations.standard import Standard, standard
from mlp_torch.check.operations.tensors import Arguments, coarse, differentiable, raised, to_numpy
from mlp_torch.check.report import length
from mlp_torch.errors import UserError

FLOAT32 = 2.0**-23


class Place:
    """Both functions on one device."""

    def __init__(
        self, function: Any, reference: Any, given: Arguments, device: str, double_backward: bool
    ) -> None:
        self.given, self.device, self.double_backward = given, device, double_backward
        self.author = Side("your function", function, given)
        self.reference = Side("the reference", reference, given)
        self.standards: list[Standard] = []
        self.exact = False  # the author's gradients are right in float64

    def findings(self, dtypes: Sequence[torch.dtype] | None) -> list[Finding]:
        """One finding a dtype: those asked for, or float64, where it is kept through, and the one given."""
        found = self._findings(dtypes)
        judged = any(text.startswith("double") for f in found for text in f.notes)
        if self.double_backward and not judged and all(f.verdict == "right" for f in found):
            found[0].verdict = "not_comparable"
            found[0].message = "the second derivative was not judged: float64 is not kept through"
        return found

    def _findings(self, dtypes: Sequence[torch.dtype] | None) -> list[Finding]:
        if dtypes:
            return [self.judged(dtype) for dtype in dtypes]
        own = self._dtype(self.given.values(None, self.device))
        if own in (torch.float64, torch.complex128) or self.device.startswith("mps"):
            return [self.judged(None)]
        try:
            first = self.judged(torch.float64, must=False)
            self.exact = first.verdict == "right"
            return [first, self.judged(None)]
        except NotKeptError as why:
            found = self.judged(None)
            found.notes.insert(0, f"float64 is not judged: {why}")
            return [found]

    def judged(self, dtype: torch.dtype | None, must: bool = True) -> Finding:
        """One dtype (None: as given). Raises NotKeptError where it is not kept and no verdict is a `must`."""
        values = self.given.values(dtype, self.device)
        mine = self._dtype(values)
        unit = max(U, float(torch.finfo(mine).eps))
        found = Finding(f"{str(mine).removeprefix('torch.')} {self.device}", notes=coarse(mine, self.device))
        truth = self._standard(values, short=unit > U)
        if truth.inexact:
            found.notes.append("random numbers depend on the dtype: judged by the reference in the same one")
        if why := outputs.blocked(truth):
            found.verdict, found.message = "not_comparable", why
            return found
        low = self._low(values, truth) if unit > U and not truth.inexact else (None, None)
        if low[0] is not None and not all(np.isfinite(t).all() for t in low[0].values()):
            found.verdict = "not_comparable"
            found.message = f"the reference's own gradient is not finite in {found.tag}: give other inputs"
            return found
        graph = self._forward(values, must)
        outputs.same_shapes(graph, truth)
        if not must and any(
            o.is_floating_point() and o.dtype != torch.float64 and b.dtype == torch.float64
            for o, b in zip(graph.out, truth.graph.out, strict=True)
        ):
            raise NotKeptError("the output is not float64")
        unit = max([unit, *(float(torch.finfo(o.dtype).eps) for o in graph.out if differentiable(o))])
        floor, gap = (
            truth.floor(unit, low[0], self._relative(values, truth, low[0])),
            outputs.gap(graph, truth, unit, low[1]),
        )
        own_ = None
        exact = (unit <= U or (self.exact and unit == FLOAT32)) and not truth.inexact
        if gap > 1 and exact and (own_ := own(self.author, values, truth)):
            gap = outputs.gap(graph, truth, unit, low[1], own_.outputs)
            floor = own_.widened(floor, truth.true) if gap <= 1 else floor
        inner = self._low([_as_float32(v) for v in values], truth) if unit <= U and gap > 1 else (None, None)
        known = unit <= U or truth.inexact or low[0] is not None
        compared = Comparison(self.author, truth, floor, values, found, must, known, exact, own_ is not None)
        if inner[1] is not None and outputs.gap(graph, truth, FLOAT32, inner[1]) <= 1:
            if not must and not compared.is_right():
                raise NotKeptError("the outputs have the precision of float32")
        elif gap > 1:
            outputs.mismatch(found, self.author, graph, truth)
            return found

        def coarser() -> Mapping[str, Array] | None:
            return self._low([_as_float32(v) for v in values], truth)[0]

        compared.compare(graph, coarser if unit <= U else None, gap > 1)
        compared.finish(self.reference, self.double_backward)
        found.notes += [
            f"{side.who} holds a reentrant checkpoint: .backward() adds to .grad of captured tensors"
            for side in (self.author, self.reference)
            if side.reentrant
        ]
        return found

    def _dtype(self, values: Sequence[Any]) -> torch.dtype:
        """The coarsest dtype among what is judged."""
        return max((values[i].dtype for i in self.given.judged), key=lambda d: torch.finfo(d).eps)

    def _standard(self, values: list[Any], short: bool) -> Standard:
        """The truth at `values`, computed once where two dtypes hold the same numbers."""
        exact = [raised(v) for v in values]
        for known in self.standards:
            if all(torch.equal(known.values[i], exact[i]) for i in self.given.judged):
                break
        else:
            known = self._differentiated(exact, False)
            self.standards.append(known)
        if short and is_random(self.reference, known.values):
            return self._differentiated(values, True)
        return known

    def _differentiated(self, values: list[Any], inexact: bool) -> Standard:
        try:
            return standard(self.reference, values, self.given.judged, inexact)
        except RaisedError as error:
            if FROZEN_LEAF in str(error.error) and not self.reference.inplace:
                self.reference = self.reference.into_copies()
                return self._differentiated(values, inexact)
            asked = "require" in error.line
            more = "; mark those to be differentiated with requires_grad_()" if asked else ""
            raise UserError(f"the reference raises {error.line}{more}") from error

    def _low(
        self, values: list[Any], truth: Standard
    ) -> tuple[Mapping[str, Array] | None, list[Array] | None]:
        """The reference's gradients and outputs in the dtype of `values`; None where it does not take it."""
        try:
            graph = self.reference.forward(values, self.given.judged)
            out = [to_numpy(o) for o in graph.out]
            return self.reference.gradients(graph, truth.upstream(graph)), out
        except (RaisedError, ValueError):
            return None, None

    def _relative(
        self, values: list[Any], truth: Standard, low: Mapping[str, Array] | None
    ) -> dict[str, float]:
        """The reference's own error where the arrays are too small to show it: at two more points."""
        found: dict[str, float] = {}
        if low is None or min(t.size for t in truth.true.values()) >= 64:
            return found
        for number in (1, 2):
            generator = torch.Generator().manual_seed(number)
            others = [
                nudged(v.double(), 0.05, generator).to(v.dtype)
                if i in self.given.judged and v.is_floating_point()
                else v
                for i, v in enumerate(values)
            ]
            short = self._low(others, truth)[0]
            try:
                exact = standard(self.reference, others, self.given.judged).true
            except RaisedError:
                continue
            for name, t in exact.items():
                if short is not None and short[name].shape == t.shape and length(t):
                    error = np.abs(short[name] - t)
                    smooth = error <= 0.25 * np.abs(t).max()
                    found[name] = max(found.get(name, 0.0), length(error[smooth]) / length(t))
        return found

    def _forward(self, values: list[Any], must: bool) -> Graph:
        """The author's; a function that writes into its inputs is given copies from here on."""
        try:
            try:
                return self.author.forward(values, self.given.judged)
            except RaisedError as error:
                if FROZEN_LEAF not in str(error.error) or self.author.inplace:
                    raise
                self.author = self.author.into_copies()
                return self.author.forward(values, self.given.judged)
        except RaisedError as error:
            if not must:
                raise NotKeptError(f"your function raises {error.line}") from error
            raise UserError(f"your function raises {error.line}") from error


def _as_float32(v: Any) -> Any:
    if not differentiable(v):
        return v
    return v.to(torch.complex64 if v.is_complex() else torch.float32)
