"""The author's function as it answers from its process: loss and gradients at the parameters asked for."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.layers import flatten
from mlp_torch.check.functions.calling.adapters import adapt
from mlp_torch.check.functions.calling.calls import gradients_of, nested, quietly
from mlp_torch.check.functions.function import given_at, seed
from mlp_torch.check.functions.tracing import trace


class Values:
    """`start`: the parameters by name that were handed over, in float64; `data`: what goes with them."""

    @quietly
    def __init__(
        self, function: Any, parameters: Any, data: tuple[Any, ...], description: Mapping[str, Any]
    ) -> None:
        self._author = adapt(function, parameters, data, description)
        self._tree = self._author.parameters
        self._kept = copy.deepcopy((self._tree, self._author.data))
        self._given = {n: np.asarray(v) for n, v in flatten(self._tree).items() if v is not None}
        self._rounded: bool | None = None
        self.data = self._author.data
        numbers = {n: v for n, v in self._given.items() if v.dtype.kind in "fiu" and v.size}
        self.start = {n: v.astype(np.float64) for n, v in numbers.items()}

    @quietly
    def at(self, arrays: Mapping[str, Array], gradients: bool) -> dict[str, Any]:
        """{loss, gradients} there; the loss as it is before it is rounded to digits."""
        given = {**self._given, **arrays}
        loss, found, _ = given_at(self._author.fresh, self._tree, self._kept, given)
        value = float(np.real(loss))
        answer: dict[str, Any] = {"loss": self._unrounded(arrays, value)}
        if gradients:
            answer["gradients"] = gradients_of(flatten(self._tree), found, arrays)
        return answer

    def _unrounded(self, arrays: Mapping[str, Array], value: float) -> float:
        if self._rounded is False:
            return value

        def loss(inner: dict[str, Any]) -> Any:
            seed()
            return self._author.result(nested(self._tree, {**self._given, **inner}), *self._kept[1])

        try:
            traced = trace(loss, dict(arrays), value, self._author.read)
        except (Exception, SystemExit):  # whatever the author's code raises: then its loss is what it gives
            self._rounded = False
            return value
        self._rounded = traced.rounded
        return traced.run.unrounded[0] if traced.rounded else value
