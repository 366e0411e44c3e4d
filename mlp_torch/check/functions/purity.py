"""What a call changes, what it draws, and what it keeps for the next one."""

import inspect
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import FunctionType, MethodType
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.functions.calling.calls import fresh, gradients_of, nested, result_of, seed
from mlp_torch.check.functions.decimals import Formula, lost
from mlp_torch.check.functions.derivative import Loss, differentiate
from mlp_torch.check.functions.floors import rounding, units_of
from mlp_torch.check.functions.tracing import Read
from mlp_torch.check.report import CheckReport, Fault, length


def judge_purity(
    report: CheckReport,
    impure: list[str],
    steady: bool,
    hand: Mapping[str, Array],
    again: Mapping[str, Array],
    true: Mapping[str, Array],
) -> CheckReport:
    faults = list(report.faults)
    if impure:
        text = f"the call changes the caller's {', '.join(impure)} in place"
        faults.append(Fault("mutated_input", None, tuple(impure), text, "compared before and after the call"))
    if not steady:
        if grown(hand, again, true):
            faults = [f for f in faults if f.kind != "constant_factor" or set(f.arrays) != set(hand)]
            text = "a second call adds its gradient to the first one's: not set to 0 between calls"
            faults.append(
                Fault("stale_gradient", None, tuple(hand), text, "two calls with the same arguments")
            )
        elif not impure:
            text = (
                "a second call with the same arguments gives another gradient: something is kept and changed"
            )
            faults.append(
                Fault("mutated_input", None, tuple(hand), text, "two calls with the same arguments")
            )
    new = [f for f in faults if f not in report.faults]
    if not new:
        return report
    added = " ".join(f"{f.detail}." for f in new)
    message = f"{report.message} {added}".strip() if report.verdict != "right" else added
    return replace(report, verdict="wrong", faults=faults, message=message)


def grown(first: Mapping[str, Array], second: Mapping[str, Array], true: Mapping[str, Array]) -> bool:
    """The second call gives the first gradient plus the true one, or twice the first: a sum goes on."""
    if not any(v.any() for v in first.values()):
        return False
    if not all(second[n].shape == v.shape == true[n].shape for n, v in first.items()):
        return False

    def added(step: Mapping[str, Array]) -> bool:
        return all(_near(second[n] - v, step[n]) for n, v in first.items())

    return added(true) or added(first)


def _near(a: Array, b: Array) -> bool:
    return bool(np.allclose(a, b, rtol=1e-6, atol=1e-9 * max(1.0, float(np.abs(b).max(initial=0)))))


GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)
SOURCES = {
    "default_rng", "RandomState", "SystemRandom", "urandom", "token_bytes", "SeedSequence", "Philox", "PCG64",
    "MT19937", "SFC64", "random", "randn", "rand", "normal", "uniform", "choice", "binomial", "permutation",
}  # fmt: skip
CAUSE = "your function draws new random numbers in every call, so that its loss is another one each time"
REMEDY = "pass a seed, or the numbers drawn (the dropout mask, the noise), in as data"


def draws(function: Any, seen: set[int] | None = None, depth: int = 0) -> bool:
    """Whether a generator, or a function that makes one, is within the author's function's reach."""
    seen = set() if seen is None else seen
    if id(function) in seen or depth > 6:
        return False
    seen.add(id(function))
    if isinstance(function, GENERATORS):
        return True
    for inner in _reached(function):
        if draws(inner, seen, depth + 1):
            return True
    code = getattr(function, "__code__", None)
    return code is not None and bool(SOURCES & set(code.co_names))


def _reached(value: Any) -> list[Any]:
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, FunctionType):
        held = inspect.getclosurevars(value)
        own = value.__module__
        near = [
            v
            for v in held.globals.values()
            if isinstance(v, GENERATORS) or getattr(v, "__module__", 0) == own
        ]
        return [*near, *held.nonlocals.values()]
    if isinstance(value, type):
        return [v for v in vars(value).values() if isinstance(v, FunctionType)]
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list | tuple):
        return list(value)[:100]
    if hasattr(value, "__dict__") and not inspect.ismodule(value):
        return [*vars(value).values(), type(value)]
    return []


def unsettled(call: Callable[..., Any], first: Any, second: Any) -> str:
    """The cause, where two calls with the same arguments give two losses, or ""."""
    if np.array_equal(np.asarray(first), np.asarray(second), equal_nan=True) or not draws(call):
        return ""
    return f"{CAUSE} ({np.asarray(first).item():.6g}, then {np.asarray(second).item():.6g})"


def wrong_elsewhere(
    call: Callable[..., Any], loss: Loss, numeric: Loss, read: Read, kept: Any, names: Mapping[str, Any],
    values: Mapping[str, Array],
) -> dict[str, tuple[Array, Array]]:  # fmt: skip
    """(h, t) by name where the gradient at moved parameters is wrong beyond doubt; {} where none is."""
    generator = np.random.default_rng(4)
    moved = {}
    for n, v in values.items():
        root = float(np.sqrt(np.mean(v.astype(float) ** 2))) or 1.0
        way = generator.choice([-1, 1], size=v.shape) * generator.uniform(0.02, 0.06, size=v.shape)
        moved[n] = (v * (1 + way) + way * root * (v == 0)).astype(v.dtype) if v.dtype.kind == "f" else v
    floats = {n: v.astype(np.float64) for n, v in moved.items()}

    def before_each(*given: Any) -> Any:
        call(*fresh(kept))  # what a call keeps is that of the same parameters as before
        return call(*given)

    try:
        with np.errstate(all="ignore"):
            parameters, *data = fresh(kept)
            seed()
            hand = gradients_of(names, result_of(call(nested(parameters, moved), *data))[1], values)
            value = float(np.real(numeric(dict(floats))))
            found = differentiate(loss, numeric, moved, value, read)
            true, traced = found.gradient, found.traced
            if traced is None or traced.sites or traced.run.margin < 1e-9 or not np.isfinite(value):
                return {}
            units, noise = units_of(moved, hand, found), None
            formula = Formula(before_each, kept, names, moved, traced)
            wrong = {}
            for n, t in true.items():
                h = hand[n]
                if h.size != t.size or not (np.isfinite(h).all() and np.isfinite(t).all()):
                    return {}
                h = h.reshape(t.shape)
                allowed = max(1e-6, 256 * units[n]) * length(t)
                gap = length(h.astype(float) - t)
                if gap > allowed:
                    noise = noise or rounding(found, max(units.values()))
                    allowed += 1e3 * noise.spread[n]
                if gap > allowed:
                    rounds = formula.may_round(n, np.abs(h - t)) and gap <= 1e-2 * length(t)
                    if not rounds or not any(lost(h, w.get(n), t, allowed) for w in formula.longer()):
                        wrong[n] = (h, t)
            return wrong
    except (Exception, SystemExit):  # other parameters are not everybody's
        return {}
