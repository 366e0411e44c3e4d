"""Copies of the author's autograd functions: their own forward and backward, run by autograd or by hand."""

import contextlib
import functools
from collections.abc import Callable, Mapping
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from mlp_torch.check.functions.copies import Copies, author_s

APPLY = Function.apply.__func__  # type: ignore[attr-defined]  # a classmethod, typed as a plain callable


class TensorCopies(Copies):
    """Copies in which a backward that gives another shape than autograd takes is heard out.

    `misshapen` holds what it gave, by the id of the leaf it belongs to; autograd gets NaN in its place.
    """

    def __init__(
        self, code: Callable[[CodeType], CodeType] = lambda code: code, extra: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(code, extra)
        self.misshapen: dict[int, Tensor] = {}
        self.inside: Callable[[], Any] = contextlib.nullcontext  # autograd leaves torch's modes outside

    def instead(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            if isinstance(value, torch.nn.Parameter) or not value.is_leaf:
                return value
            return value.detach().clone().requires_grad_(value.requires_grad)
        if isinstance(value, FunctionType) and not author_s(value.__code__.co_filename):
            return self._decorated(value)
        return None

    def _decorated(self, f: FunctionType) -> Any:
        """What a library's decorator made of the author's function: once_differentiable, custom_bwd."""
        if not any(_holds(c) for c in f.__closure__ or ()):
            return None
        cells = tuple(map(self._cell, f.__closure__ or ()))
        new = FunctionType(f.__code__, f.__globals__, f.__name__, f.__defaults__, cells)
        new.__kwdefaults__, new.__qualname__ = f.__kwdefaults__, f.__qualname__
        for key, held in vars(f).items():
            setattr(new, key, self.of(held))
        return new

    def _class(self, cls: type) -> Any:
        new = super()._class(cls)
        if new is not cls and issubclass(cls, Function):
            self.taken(new)
        return new

    def taken(self, cls: Any) -> None:
        """A copy of an autograd function, once it is made."""
        for name in ("backward", "vjp"):
            given = getattr(cls, name)
            if given is not getattr(Function, name):
                setattr(cls, name, staticmethod(functools.partial(self._heard, given)))

    def _heard(self, backward: Callable[..., Any], ctx: Any, *up: Any) -> Any:
        with self.inside():
            found = backward(ctx, *up)
        gradients = list(found) if isinstance(found, tuple) else [found]
        needed = [i for i, needs in enumerate(ctx.needs_input_grad) if needs]
        edges = [edge for edge in ctx.next_functions if edge[0] is not None]
        for i, (node, number) in zip(needed, edges, strict=False):
            g = gradients[i] if i < len(gradients) else None
            shape = node._input_metadata[number].shape
            if isinstance(g, Tensor) and not _reducible(g.shape, shape):
                self.misshapen[id(getattr(node, "variable", None))] = g
                gradients[i] = g.new_full(shape, torch.nan)
        return tuple(gradients) if isinstance(found, tuple) else gradients[0]


def _holds(cell: Any) -> bool:
    """Whether a closure's cell holds a function of the author's, decorated or not."""
    try:
        held = cell.cell_contents
    except ValueError:  # nothing in it yet
        return False
    if not isinstance(held, FunctionType):
        return False
    return author_s(held.__code__.co_filename) or any(map(_holds, held.__closure__ or ()))


def _reducible(shape: Any, wanted: Any) -> bool:
    """Whether autograd takes a gradient of this shape, summed where it was broadcast."""
    try:
        return np.broadcast_shapes(tuple(shape), tuple(wanted)) == tuple(shape)
    except ValueError:
        return False


class Context:
    """What a forward pass that is run by hand is given for ctx."""

    def __init__(self, needs: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs
        self.saved_tensors: tuple[Any, ...] = ()
        self._closed: set[int] = set()

    def save_for_backward(self, *tensors: Any) -> None:
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        self._closed |= set(map(id, tensors))

    def _nothing(self, *_: Any) -> None:
        """Said to autograd alone."""

    save_for_forward = mark_dirty = set_materialize_grads = mark_shared_storage = _nothing

    def opened(self, out: Any) -> Any:
        """The outputs, those that no gradient comes back from cut off."""
        if isinstance(out, Tensor):
            return out.detach() if id(out) in self._closed else out
        return type(out)(map(self.opened, out)) if type(out) in (tuple, list) else out


class OpenCopies(TensorCopies):
    """Copies whose forward passes are part of autograd's graph, operation by operation."""

    def instead(self, value: Any) -> Any:
        if isinstance(value, MethodType) and value.__func__ is APPLY:
            return functools.partial(run_openly, self.of(value.__self__))
        return super().instead(value)

    def taken(self, cls: Any) -> None:
        cls.apply = staticmethod(functools.partial(run_openly, cls))


def run_openly(cls: Any, *args: Any) -> Any:
    """The outputs of cls.apply(*args) by its own operations, their graph kept."""
    ctx = Context(tuple(isinstance(a, Tensor) and a.requires_grad for a in args))
    # what is written into must be no leaf
    args = tuple(a.clone() if isinstance(a, Tensor) and a.requires_grad else a for a in args)
    if cls.setup_context is Function.setup_context:
        return ctx.opened(cls.forward(ctx, *args))
    out = cls.forward(*args)
    cls.setup_context(ctx, args, out)
    return ctx.opened(out)
