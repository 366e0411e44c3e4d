"""check_autograd_function: a torch callable with a hand-written backward against autograd of a reference."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlp_torch.check.functions.plain import compare
from mlp_torch.check.operations.naming import named
from mlp_torch.check.operations.tensors import (
    coarse,
    differentiable,
    gradients_of,
    leaves_of,
    outputs_of,
    to_numpy,
)
from mlp_torch.check.report import ArrayRow, CheckReport, Fault
from mlp_torch.errors import UserError


def check_autograd_function(
    function: Any,
    reference: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    devices: Sequence[str] | None = None,
) -> CheckReport:
    """Judge the backward of `function` by autograd of `reference`.

    `function` is a torch.autograd.Function or any torch callable.

    `inputs`: tensors or other arguments of both; floating tensors are differentiated. Compared in float64
    and in the dtype given, on the CPU and on a GPU where there is one (`devices` chooses), under a random
    upstream gradient. The noise floor of a dtype is the reference's own error in it against float64, on the
    same device and with TF32 as it is set there (a note says so), its spread under one-ULP nudges, and what
    two runs of the function differ by. Double backward is compared where the function offers it. Raises
    UserError where an output has another shape than the reference's.
    """
    call = (
        function.apply
        if isinstance(function, type) and issubclass(function, torch.autograd.Function)
        else function
    )
    if isinstance(inputs, Tensor | str) or not isinstance(inputs, Sequence):
        raise UserError(f"inputs: give a list or tuple of the arguments, not a {type(inputs).__name__}")
    places = list(devices or ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
    floats = [v for v in inputs if isinstance(v, Tensor) and v.is_floating_point()]
    if not floats:
        raise UserError("check_autograd_function: give at least one floating tensor among inputs")
    rows: dict[str, ArrayRow] = {}
    faults: list[Fault] = []
    notes: list[str] = []
    verdicts = []
    for device in places:
        for dtype in dict.fromkeys((torch.float64, floats[0].dtype)):
            if device == "mps" and dtype == torch.float64:
                continue
            tag = f"{str(dtype).removeprefix('torch.')} {device}"
            verdict, more, found, said = _one(call, reference, inputs, dtype, device)
            verdicts.append(verdict)
            rows |= {f"{name} {tag}": row for name, row in more.items()}
            faults += [f for f in found if f.kind not in {g.kind for g in faults}]
            notes += [f"{tag}: {text}" for text in said]
    order = ("not_comparable", "wrong", "scaled", "right")
    verdict = min(verdicts, key=order.index)
    words = {
        "right": "every gradient is right",
        "not_comparable": "the reference's own gradient holds NaN or infinite entries; give other inputs",
    }
    message = " ".join(f"{', '.join(f.arrays)}: {f.detail}." for f in faults) or words.get(
        verdict, "wrong, unexplained"
    )
    return CheckReport(
        verdict, rows, faults, message=message, notes=tuple(notes), method="torch.autograd of the reference"
    )


def _one(
    call: Any, reference: Any, inputs: Sequence[Any], dtype: Any, device: str
) -> tuple[str, dict[str, ArrayRow], list[Fault], list[str]]:
    """One dtype on one device: verdict, rows, faults, notes."""
    mine = leaves_of(inputs, dtype, device)
    before = [v.detach().clone() if isinstance(v, Tensor) else v for v in mine]
    theirs, exact = leaves_of(inputs, dtype, device), leaves_of(inputs, torch.float64, device)
    out, wanted, sure = outputs_of(call(*mine)), outputs_of(reference(*theirs)), outputs_of(reference(*exact))
    if [o.shape for o in out] != [o.shape for o in wanted]:
        raise UserError(
            f"the outputs have shapes {[tuple(o.shape) for o in out]}, "
            f"the reference's {[tuple(o.shape) for o in wanted]}"
        )
    u = float(torch.finfo(dtype).eps)
    for a, b, c in zip(*([o.detach().double() for o in some] for some in (out, wanted, sure)), strict=True):
        there = c.isfinite() & b.isfinite()
        size = float(c[there].norm())
        error = float((b - c)[there].norm()) + 64 * u * size
        gap = float((a - c)[there].norm())
        if not gap <= 4 * error + 1e-9 * size or not torch.equal(a.isnan(), b.isnan()):
            text = f"the forward pass differs from the reference's by {gap:.3g}"
            return "not_comparable", {}, [Fault("forward_mismatch", None, ("output",), text, text)], []
    generator = torch.Generator().manual_seed(0)
    up = [torch.randn(o.shape, generator=generator, dtype=torch.float64).to(device) for o in out]
    moved: list[int] = []
    hand, low, high = (
        gradients_of(out, mine, up, dtype, changed=moved),
        gradients_of(wanted, theirs, up, dtype),
        gradients_of(sure, exact, up, torch.float64),
    )
    names = [f"input{i}" for i, v in enumerate(mine) if differentiable(v)]
    true = dict(zip(names, (to_numpy(g) for g in high), strict=True))
    if not all(np.isfinite(t).all() for t in true.values()):
        return "not_comparable", {}, [], []
    own = dict(zip(names, (to_numpy(g) for g in hand), strict=True))
    allowed = {}
    spread = _spread(reference, inputs, dtype, device, up)
    notes = [*coarse(dtype, device)]
    again = gradients_of(outputs_of(call(*(kept := leaves_of(inputs, dtype, device)))), kept, up, dtype)
    for i, name in enumerate(names):
        size = float(np.linalg.norm(true[name]))
        error = float(np.linalg.norm(to_numpy(low[i]) - true[name]))
        allowed[name] = (
            4 * error + 4 * spread[i] + (64 * u + (1e-12 if dtype == torch.float64 else 0)) * size + 1e-300
        )
        moving = (
            float(np.linalg.norm(to_numpy(again[i]) - own[name])) if again[i].shape == hand[i].shape else 0
        )
        if moving > 0:
            # a sum whose order is not fixed moves by rounding; what moves further is no rounding
            allowed[name] += min(4 * moving, 1024 * u * size)
            notes.append(
                f"{name}: a second run differs by {moving:.2g}, as sums on a GPU whose order is not fixed do "
                "(torch.use_deterministic_algorithms fixes it)"
            )
    n = float(out[0].shape[0]) if out[0].ndim else 1.0
    constants = {k: v for k, v in (("N", n), ("2", 2.0), ("4", 4.0)) if v > 1}
    verdict, rows, faults = compare(own, true, allowed, constants)
    if verdict == "wrong" and dtype == torch.float64:
        found = named(call, reference, inputs, device, out, up, own, true, allowed)
        faults = found or faults
    changed = [
        f"input{i}" for i, (v, old) in enumerate(zip(mine, before, strict=True))
        if isinstance(v, Tensor) and not torch.equal(v.detach().nan_to_num(), old.nan_to_num())
    ]  # fmt: skip
    if changed:
        faults.append(
            Fault(
                "mutated_input",
                None,
                tuple(changed),
                "is changed in place by the call",
                "compared before and after",
            )
        )
        verdict = "wrong"
    if moved:
        text = "the backward changes the gradient that comes from above in place: others still need it"
        arrays = tuple(f"upstream{i}" for i in moved)
        faults.append(Fault("mutated_input", None, arrays, text, "compared before and after the backward"))
        verdict = "wrong"
    if dtype == torch.float64:
        second, text = _twice(call, reference, inputs, device, up)
        notes.append(text)
        if second is False and verdict == "right":
            verdict = "wrong"
            faults.append(
                Fault(
                    "wrong_activation_derivative", None, tuple(names), "the second derivative is wrong", text
                )
            )
    return verdict, rows, faults, notes


def _spread(reference: Any, inputs: Sequence[Any], dtype: Any, device: str, up: list[Tensor]) -> list[float]:
    """How far the reference's float64 gradient moves when every input moves by one ULP of `dtype`."""
    u = float(torch.finfo(dtype).eps)
    base = leaves_of(inputs, torch.float64, device)
    true = gradients_of(outputs_of(reference(*base)), base, up, torch.float64)
    worst = [0.0] * len(true)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        moved = leaves_of(inputs, torch.float64, device)
        with torch.no_grad():
            for v in moved:
                if differentiable(v):
                    v *= 1 + u * (
                        torch.rand(v.shape, generator=generator, dtype=torch.float64).to(device) - 0.5
                    )
        other = gradients_of(outputs_of(reference(*moved)), moved, up, torch.float64)
        worst = [max(w, float((a - b).norm())) for w, a, b in zip(worst, other, true, strict=True)]
    return worst


def _twice(
    call: Any, reference: Any, inputs: Sequence[Any], device: str, up: list[Tensor]
) -> tuple[bool | None, str]:
    """Whether the derivative of the gradient agrees; None where the function offers none."""
    found = []
    frozen = False
    for f in (call, reference):
        leaves = leaves_of(inputs, torch.float64, device)
        try:
            out = outputs_of(f(*leaves))
            frozen = frozen or (f is call and any(_keeps_constants(o) for o in out))
            first = gradients_of(out, leaves, up, torch.float64, create=True)
            generator = torch.Generator().manual_seed(2)
            total = sum(
                (g * torch.randn(g.shape, generator=generator, dtype=torch.float64).to(device)).sum()
                for g in first
            )
            wanted = [v for v in leaves if differentiable(v)]
            if not isinstance(total, Tensor) or not total.requires_grad:
                found.append([torch.zeros_like(v) for v in wanted])
                continue
            more = torch.autograd.grad(total, wanted, allow_unused=True)
            found.append([torch.zeros_like(v) if g is None else g for g, v in zip(more, wanted, strict=True)])
        except RuntimeError:
            return None, "double backward: not offered"
    gap = max(float((a - b).norm()) / max(float(b.norm()), 1e-12) for a, b in zip(*found, strict=True))
    if gap <= 1e-8:
        return True, "double backward: right"
    if all(float(a.norm()) == 0 for a in found[0]):
        return None, "double backward: not offered (the gradient has no graph)"
    if frozen:
        return None, (
            f"double backward: not offered, and off by {gap:.3g} relative for who tries: autograd takes the "
            "intermediate values that forward saved as constants; mark backward @once_differentiable"
        )
    return False, f"double backward: wrong, off by {gap:.3g} relative"


def _keeps_constants(out: Tensor) -> bool:
    """The hand-written backward reads what forward saved and is neither an input nor an output of it."""
    node: Any = out.grad_fn
    if not isinstance(node, torch.autograd.function.BackwardCFunction):
        return False
    held = [*node.saved_tensors, *vars(node).values()]
    return any(differentiable(v) and not v.requires_grad for v in held)
