"""Constants that people forget or add, with their names."""

from dataclasses import dataclass

import numpy as np

from mlp_torch.check.describe.forward import Network
from mlp_torch.check.faults.naming import Names


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
