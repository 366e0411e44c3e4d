"""check_autograd_function: a torch callable with a hand-written backward against autograd of a reference."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manual.numbers import Array
from mlp_torch.check.plain import compare
from mlp_torch.check.report import Fault, Report, Row
from mlp_torch.errors import UserError


def check_autograd_function(
    function: Any,
    reference: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    devices: Sequence[str] | None = None,
) -> Report:
    """Judge the backward of `function` by autograd of `reference`.

    `function` is a torch.autograd.Function or any torch callable.

    `inputs`: tensors or other arguments of both; floating tensors are differentiated. Compared in float64
    and in the dtype given, on the CPU and on a GPU where there is one (`devices` chooses), under a random
    upstream gradient. The noise floor of a dtype is the reference's own error in it against float64 and its
    spread under one-ULP nudges. Double backward is compared where the function offers it. Raises UserError
    where an output has another shape than the reference's.
    """
    call = (
        function.apply
        if isinstance(function, type) and issubclass(function, torch.autograd.Function)
        else function
    )
    places = list(devices or ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
    floats = [v for v in inputs if isinstance(v, Tensor) and v.is_floating_point()]
    if not floats:
        raise UserError("check_autograd_function: give at least one floating tensor among inputs")
    rows: dict[str, Row] = {}
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
    message = " ".join(f"{', '.join(f.arrays)}: {f.detail}." for f in faults) or (
        "every gradient is right" if verdict == "right" else "wrong, unexplained"
    )
    return Report(
        verdict, rows, faults, message=message, notes=tuple(notes), method="torch.autograd of the reference"
    )


def _one(
    call: Any, reference: Any, inputs: Sequence[Any], dtype: Any, device: str
) -> tuple[str, dict[str, Row], list[Fault], list[str]]:
    """One dtype on one device: verdict, rows, faults, notes."""
    mine = _leaves(inputs, dtype, device)
    before = [v.detach().clone() if isinstance(v, Tensor) else v for v in mine]
    theirs, exact = _leaves(inputs, dtype, device), _leaves(inputs, torch.float64, device)
    out, wanted, sure = _outputs(call(*mine)), _outputs(reference(*theirs)), _outputs(reference(*exact))
    if [o.shape for o in out] != [o.shape for o in wanted]:
        raise UserError(
            f"the outputs have shapes {[tuple(o.shape) for o in out]}, "
            f"the reference's {[tuple(o.shape) for o in wanted]}"
        )
    u = float(torch.finfo(dtype).eps)
    for a, b, c in zip(out, wanted, sure, strict=True):
        error = float((b.double() - c).norm()) + 64 * u * float(c.norm())
        if float((a.detach().double() - c).norm()) > 4 * error + 1e-9 * float(c.norm()):
            gap = float((a.detach().double() - c).norm())
            text = f"the forward pass differs from the reference's by {gap:.3g}"
            return "not_comparable", {}, [Fault("forward_mismatch", None, ("output",), text, text)], []
    generator = torch.Generator().manual_seed(0)
    up = [torch.randn(o.shape, generator=generator, dtype=torch.float64).to(device) for o in out]
    hand, low, high = (
        _grads(out, mine, up, dtype),
        _grads(wanted, theirs, up, dtype),
        _grads(sure, exact, up, torch.float64),
    )
    names = [f"input{i}" for i, v in enumerate(mine) if _differentiable(v)]
    true = dict(zip(names, (_numpy(g) for g in high), strict=True))
    own = dict(zip(names, (_numpy(g) for g in hand), strict=True))
    allowed = {}
    spread = _spread(reference, inputs, dtype, device, up)
    for i, name in enumerate(names):
        size = float(np.linalg.norm(true[name]))
        error = float(np.linalg.norm(_numpy(low[i]) - true[name]))
        allowed[name] = (
            4 * error + 4 * spread[i] + (64 * u + (1e-12 if dtype == torch.float64 else 0)) * size + 1e-300
        )
    n = float(out[0].shape[0]) if out[0].ndim else 1.0
    constants = {k: v for k, v in (("N", n), ("2", 2.0), ("4", 4.0)) if v > 1}
    verdict, rows, faults = compare(own, true, allowed, constants)
    if verdict == "wrong" and dtype == torch.float64:
        named = _named(call, reference, inputs, device, out, up, own, true, allowed)
        faults = named or faults
    notes = []
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


def _leaves(inputs: Sequence[Any], dtype: Any, device: str) -> list[Any]:
    return [
        v.detach().clone().to(device=device, dtype=dtype).requires_grad_()
        if isinstance(v, Tensor) and v.is_floating_point()
        else v.to(device) if isinstance(v, Tensor) else v
        for v in inputs
    ]  # fmt: skip


def _differentiable(v: Any) -> bool:
    return isinstance(v, Tensor) and v.is_floating_point()


def _outputs(result: Any) -> list[Tensor]:
    return [r for r in (result if isinstance(result, tuple | list) else [result]) if isinstance(r, Tensor)]


def _grads(
    out: list[Tensor], leaves: list[Any], up: list[Tensor], dtype: Any, create: bool = False
) -> list[Tensor]:
    wanted = [v for v in leaves if _differentiable(v)]
    kept = [(o, g.to(dtype)) for o, g in zip(out, up, strict=True) if o.requires_grad]
    if not kept:
        return [torch.zeros_like(v) for v in wanted]
    found = torch.autograd.grad(
        [o for o, _ in kept], wanted, [g for _, g in kept], allow_unused=True, create_graph=create
    )
    return [torch.zeros_like(v) if g is None else g for g, v in zip(found, wanted, strict=True)]


def _numpy(t: Tensor) -> Array:
    array: Array = t.detach().double().cpu().numpy()
    return array


def _spread(reference: Any, inputs: Sequence[Any], dtype: Any, device: str, up: list[Tensor]) -> list[float]:
    """How far the reference's float64 gradient moves when every input moves by one ULP of `dtype`."""
    u = float(torch.finfo(dtype).eps)
    base = _leaves(inputs, torch.float64, device)
    true = _grads(_outputs(reference(*base)), base, up, torch.float64)
    worst = [0.0] * len(true)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        moved = _leaves(inputs, torch.float64, device)
        with torch.no_grad():
            for v in moved:
                if _differentiable(v):
                    v *= 1 + u * (
                        torch.rand(v.shape, generator=generator, dtype=torch.float64).to(device) - 0.5
                    )
        other = _grads(_outputs(reference(*moved)), moved, up, torch.float64)
        worst = [max(w, float((a - b).norm())) for w, a, b in zip(worst, other, true, strict=True)]
    return worst


def _named(
    call: Any, reference: Any, inputs: Sequence[Any], device: str, out: list[Tensor], up: list[Tensor],
    own: dict[str, Array], true: dict[str, Array], allowed: dict[str, float],
) -> list[Fault]:  # fmt: skip
    """What a single operation can show: upstream left out, f′ missing or elsewhere, normalisation."""
    wrong = (
        [n for n in own if not np.linalg.norm(own[n] - true[n]) <= allowed[n]]
        if all(own[n].shape == true[n].shape for n in own)
        else []
    )
    if not wrong:
        return []
    leaves = _leaves(inputs, torch.float64, device)
    double = _grads(_outputs(call(*leaves)), leaves, [2 * g for g in up], torch.float64)
    names = list(own)
    found = []
    floats = [v for v in inputs if _differentiable(v)]
    o, g = _numpy(out[0]), _numpy(up[0])
    for name in wrong:
        i, h, t = names.index(name), own[name], true[name]

        def is_it(value: Array, h: Array = h) -> bool:
            return value.shape == h.shape and bool(np.linalg.norm(h - value) <= 1e-9 * np.linalg.norm(h))

        x = _numpy(floats[i])
        kind, text = "", ""
        if is_it(_numpy(double[i])) and h.any():
            kind, text = "not_multiplied_by_upstream", "stays the same when the upstream gradient is doubled"
        elif o.shape == h.shape:
            kind, text = _elementwise(reference, inputs, i, x, o, g, h, t, device, is_it)
        if kind:
            relative = float(np.linalg.norm(h - t)) / max(float(np.linalg.norm(t)), 1e-300)
            evidence = f"‖yours − true‖ / ‖true‖ = {relative:.3g}"
            found.append(Fault(kind, None, (name,), text, evidence))
    return found if len(found) == len(wrong) else []


def _elementwise(
    reference: Any, inputs: Sequence[Any], i: int, x: Array, o: Array, g: Array, h: Array, t: Array,
    device: str, is_it: Callable[[Array], bool],
) -> tuple[str, str]:  # fmt: skip
    """(kind, detail) for an operation whose output has the input's shape."""
    if is_it(g):
        return (
            "missing_activation_derivative",
            "is the upstream gradient itself: the derivative is 1 everywhere",
        )
    softmax = o.ndim > 0 and np.allclose(o.sum(axis=-1), 1) and bool((o >= 0).all())
    if softmax and (is_it(g * o * (1 - o)) or is_it(g * o)):
        return "wrong_softmax_jacobian", "has the diagonal of softmax's Jacobian only"
    for axis in range(x.ndim):
        flat = np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)
        rest = np.moveaxis(h - t, axis, 0).reshape(flat.shape)
        sums = np.abs(np.moveaxis(t, axis, 0).reshape(flat.shape).sum(axis=0)).max()
        if len(flat) > 2 and sums <= 1e-9 * np.abs(t).sum() and not softmax:
            hat = (flat - flat.mean(axis=0)) / (flat.std(axis=0) + 1e-300)
            left = rest - rest.mean(axis=0) - hat * (rest * hat).mean(axis=0)
            if np.linalg.norm(left) <= 1e-8 * np.linalg.norm(rest):
                path = (
                    "mean"
                    if np.linalg.norm(rest - rest.mean(axis=0)) <= 1e-8 * np.linalg.norm(rest)
                    else "variance"
                )
                return (
                    "wrong_normalization_backward",
                    f"lacks the path through the {path}: the rest lies in span{{1, x̂}}",
                )
    if is_it(g * o):
        return "wrong_activation_derivative", "has f itself in place of its derivative"
    moved = list(_leaves(inputs, torch.float64, device))
    place = [k for k, v in enumerate(moved) if _differentiable(v)][i]
    moved[place] = torch.tensor(o, device=device, requires_grad=True)
    try:
        at = torch.autograd.grad(_outputs(reference(*moved))[0].sum(), moved[place])[0]
        if is_it(g * _numpy(at)):
            return "activation_derivative_at_wrong_array", "has the derivative at f(z), where z belongs"
    except RuntimeError:
        pass
    with np.errstate(all="ignore"):
        ratio, spare = h / g, t / g
    for value in (spare**2, 1 - spare):
        if is_it(g * value):
            return "wrong_activation_derivative", "has a wrong formula for the derivative"
    order = np.argsort(x.ravel())
    if x.size > 3 and np.isfinite(ratio).all():
        constants = np.unique(np.round(ratio.ravel()[order], 9))
        if len(constants) <= 3:
            return (
                "wrong_activation_derivative",
                f"has the derivative {', '.join(f'{c:g}' for c in constants)} only",
            )
    return "", ""


def _twice(
    call: Any, reference: Any, inputs: Sequence[Any], device: str, up: list[Tensor]
) -> tuple[bool | None, str]:
    """Whether the derivative of the gradient agrees; None where the function offers none."""
    found = []
    for f in (call, reference):
        leaves = _leaves(inputs, torch.float64, device)
        try:
            first = _grads(_outputs(f(*leaves)), leaves, up, torch.float64, create=True)
            generator = torch.Generator().manual_seed(2)
            total = sum(
                (g * torch.randn(g.shape, generator=generator, dtype=torch.float64).to(device)).sum()
                for g in first
            )
            wanted = [v for v in leaves if _differentiable(v)]
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
    return False, f"double backward: wrong, off by {gap:.3g} relative"
