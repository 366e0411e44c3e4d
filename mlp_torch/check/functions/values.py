"""The author's function as it answers from its process: loss and gradients at the parameters asked for."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.layers import flatten
from mlp_torch.check.functions.calling.adapters import adapt
from mlp_torch.check.functions.calling.calls import gradients_of, nested, quietly
from mlp_torch.check.functions.eager.run import FINE
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
        self._coarse: bool | None = None
        self.data = self._author.data
        numbers = {n: v for n, v in self._given.items() if v.dtype.kind in "fiu" and v.size}
        self.start = {n: v.astype(np.float64) for n, v in numbers.items()}

    @quietly
    def at(self, arrays: Mapping[str, Array], gradients: bool) -> dict[str, Any]:
        """{loss, gradients} there."""
        given = {**self._given, **arrays}
        loss, found, _ = given_at(self._author.fresh, self._tree, self._kept, given)
        value = float(np.real(loss))
        answer: dict[str, Any] = {"loss": self._unrounded(arrays, value)}
        if gradients:
            answer["gradients"] = gradients_of(flatten(self._tree), found, arrays)
        return answer

    def _unrounded(self, arrays: Mapping[str, Array], value: float) -> float:
        """The loss, of code that computes in float32 or float16 or rounds what it returns: without that."""
        if self._coarse is False:
            return value

        author, tree, given, data = self._author, self._tree, self._given, self._kept[1]

        def loss(
            inner: dict[str, Any],
        ) -> Any:  # followed for what it holds
            seed()
            return author.result(nested(tree, {**given, **inner}), *data)

        try:
            traced = trace(loss, dict(arrays), value, author.read)
        except (Exception, SystemExit):  # whatever the author's code raises there
            if self._coarse:
                raise  # one loss is not to be compared with another kind of it
            self._coarse = False
            return value
        if self._coarse is None:
            self._coarse = traced.rounded or traced.run.coarsest > FINE
        exact = traced.run.unrounded[0] if traced.rounded else float(traced.total.detach())
        return exact if self._coarse else value
