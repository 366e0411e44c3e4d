"""Numbers that people write: constants with their names, and limits that arrays are cut to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.forward import Network, Part
from mlp_torch.check.faults.claims import Names, norm


@dataclass(frozen=True)
class Constant:
    """A value with what is said of it, ((kind, words) …); `rare`: hardly anybody writes it."""

    value: float
    words: tuple[tuple[str, str], ...]
    rare: bool = False


def named(problem: Network, lr: float | None, names: Names) -> list[Constant]:
    """Constants that people forget or add, the likeliest first."""
    n, k, d = problem.samples, problem.output.shape[1], problem.x.shape[1]
    table: list[Constant] = []
    values: list[float] = []

    def add(value: float, words: str, rare: bool) -> None:
        if np.isfinite(value) and value > 0 and abs(value - 1) > 1e-12:
            weak = rare or not ("=" in words or "(" in words)
            if weak and any(abs(value - v) < 1e-9 * v for v in values):
                return  # it has a better name
            values.append(value)
            table.append(Constant(value, (("constant_factor", words),), rare))

    def both(value: float, words: str, rare: bool = False) -> None:
        add(value, f"times {words}", rare)
        add(1 / value, f"divided by {words}", rare)

    sizes = [(float(n), f"N = {n}"), (float(k), f"K = {k}"), (float(n * k), f"N·K = {n * k}")]
    for value, words in sizes:
        both(value, words)
    both(2.0, "2")
    both(4.0, "4")
    for value, words in sizes:
        both(2 * value, f"2·{words.split(' = ')[0]} = {2 * value:g}")
        both(value / 2, f"{words.split(' = ')[0]}/2 = {value / 2:g}")
    both(n / k, f"N/K = {n}/{k}")
    both(float(n * n), f"N² = {n * n}")
    if n > 1:
        both(float(n - 1), f"N − 1 = {n - 1}")
        both(n / (n - 1), f"N/(N − 1) = {n}/{n - 1}")
    both(float(n * d), f"N·D = {n * d}")
    for layer in problem.layers:
        m = layer.W.shape[0]
        both(float(m), f"{m} (the inputs of {names.weight(layer.index)})")
        if layer.index < len(problem.layers):
            m = layer.W.shape[1]
            both(float(m * n), f"N·{m} (the entries of {names.a(layer.index)})")
    for i in (3, 5, 6, 7, 8, 9, 10, 100, 1000):
        both(float(i), str(i))
    both(1.5, "3/2")
    both(4 / 3, "4/3")
    if problem.sample_weight is not None:
        total = float(problem.sample_weight.sum())
        both(n / total, f"N/Σw = {n / total:.6g}")
        both(total, f"Σw = {total:.6g}")
    usual = len(table)
    for layer in problem.layers:
        m, out, name = *layer.W.shape, names.weight(layer.index)
        both(n / m, f"N/{m} (N over the inputs of {name})", rare=True)
        both(float(m * out), f"{m * out} (the entries of {name})", rare=True)
        both(m / out, f"{m}/{out} (the inputs over the outputs of {name})", rare=True)
    both(float(len(problem.layers)), f"{len(problem.layers)} (the number of layers)", rare=True)
    if lr is not None:
        extra = ("extra_learning_rate", f"is the true one times the learning rate {lr:g}")
        missing = ("missing_learning_rate", f"is the true one divided by the learning rate {lr:g}")
        for c, words in [(1.0, ""), *((c.value, c.words[0][1]) for c in table[:usual])][:17]:
            rest = (("constant_factor", f"is the true one {words}"),) if words else ()
            table.append(Constant(lr * c, (extra, *rest)))
            table.append(Constant(c / lr, (missing, *rest)))
    return table


@dataclass(frozen=True)
class Limits:
    """`lengths`: limits that the longest arrays share, of whole arrays, of their largest entries, and of the
    parts of folded ones; None where none is shared. `entries`: how often each array's largest entry occurs.
    """

    lengths: tuple[float | None, float | None, float | None]
    entries: tuple[float, ...]
    slack: float

    def reaches(self, h: Array | None, raw: Array) -> bool:
        """The array is as long as the limit: it may have been cut to it."""
        own = (norm(raw), float(np.abs(raw).max(initial=0)), 0.0 if h is None else norm(h))
        return any(
            limit is not None and value >= limit * (1 - self.slack)
            for limit, value in zip(self.lengths, own, strict=True)
        )

    def is_limit(self, v: float, times: int) -> bool:
        """±v is a limit of entries: in two places at least, of one array or several, or a round number."""
        alike = sum(abs(v - other) <= self.slack * v for other in self.entries)
        return times > 1 or alike > 1 or is_round(v, self.slack)


def is_round(v: float, slack: float) -> bool:
    """A number that somebody typed: a few digits, the fewer the less exactly it is known."""
    digits = 6 if slack <= 1e-11 else 4 if slack <= 1e-8 else 3
    return v > 0 and abs(v - float(f"{v:.{digits}g}")) <= slack * v


def limits_of(
    h: Mapping[Part, Array | None], raw: Mapping[str, Array], rtol: float, floor: Mapping[Part, float]
) -> Limits:
    """The limits that the author's arrays agree on."""
    parts = [v for v in h.values() if v is not None]
    longest = max((norm(v) for v in parts), default=0.0)
    slack = 1e-6 if rtol > 1e-8 else max(1e-12, max(floor.values(), default=0.0) / max(longest, 1e-300))
    slack = min(slack, 1e-6)

    def shared(values: Sequence[float]) -> float | None:
        most = max(values, default=0.0)
        alike = sum(v >= most * (1 - slack) for v in values)
        return most if most > 0 and (alike > 1 or is_round(most, slack)) else None

    entries = tuple(float(np.abs(v).max(initial=0)) for v in raw.values())
    lengths = (shared([norm(v) for v in raw.values()]), shared(entries), shared([norm(v) for v in parts]))
    return Limits(lengths, entries, slack)
