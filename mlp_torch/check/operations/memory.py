"""Memory that nobody has written: torch.empty and np.empty hold what is asked, to see who reads it."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from manual.numbers import Array
from mlp_torch.check.operations.tensors import differentiable


def unwritten(gradients: Callable[[], Mapping[str, Array]]) -> dict[str, Array]:
    """The entries that are NaN where fresh memory is, and finite where it is finite: they were never written.

    The garbage of a third run may itself be NaN.
    """
    with filled(math.nan):
        poisoned = gradients()
    with filled(0.5):
        finite = gradients()
    return {
        n: np.isnan(v) & np.isfinite(finite[n]) for n, v in poisoned.items() if v.shape == finite[n].shape
    }


@contextlib.contextmanager
def filled(value: float) -> Iterator[None]:
    """Memory that nobody has written holds `value`."""
    given = np.empty, np.empty_like
    numpys: Any = np  # whose functions are replaced for as long
    numpys.empty, numpys.empty_like = (_numpys(make, value) for make in given)
    try:
        with _poisoned() if math.isnan(value) else _Filled(value):
            yield
    finally:
        numpys.empty, numpys.empty_like = given


def _numpys(make: Callable[..., Any], value: float) -> Callable[..., Any]:
    """np.empty or np.empty_like, filled as torch fills: floats with `value`, integers with their largest."""

    def made(*args: Any, **kwargs: Any) -> Any:
        array = make(*args, **kwargs)
        if array.dtype.kind in "fc":
            array.fill(value)
        elif array.dtype.kind in "iu":
            array.fill(np.iinfo(array.dtype).max)
        return array

    return made


class _Filled(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own, without types
    """What torch.empty gives holds one number."""

    def __init__(self, value: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.value = value

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::").removeprefix("new_")
        return out.fill_(self.value) if name.startswith("empty") and differentiable(out) else out


@contextlib.contextmanager
def _poisoned() -> Iterator[None]:
    """NaN, in torch's own way, which reaches what its kernels allocate inside."""
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    memory: Any = torch.utils.deterministic  # a module that torch replaces by an object
    filled = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    memory.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        memory.fill_uninitialized_memory = filled
