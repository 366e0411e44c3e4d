"""Constants that people forget or add, with their names."""

import numpy as np

from mlp_torch.check.describe.forward import Network


def named(problem: Network, lr: float | None) -> list[tuple[float, tuple[tuple[str, str], ...]]]:
    """Constants that people forget or add: (value, ((kind, words) …)), the likeliest first."""
    n, k = problem.samples, problem.output.shape[1]
    table: list[tuple[float, tuple[tuple[str, str], ...]]] = []

    def add(value: float, words: str) -> None:
        if np.isfinite(value) and value > 0 and abs(value - 1) > 1e-12:
            if not any(s in words for s in "=,") and any(abs(value - v) < 1e-9 * v for v, _ in table):
                return  # it has a better name
            table.append((value, (("constant_factor", words),)))

    def both(value: float, words: str) -> None:
        add(value, f"times {words}")
        add(1 / value, f"divided by {words}")

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
    for layer in problem.layers:
        m = layer.W.shape[0]
        both(float(m), f"{m}, the inputs of layer {layer.index},")
        if layer.index < len(problem.layers):
            m = layer.W.shape[1]
            both(float(m * n), f"N·{m}, the entries of layer {layer.index},")
    for i in (3, 5, 6, 7, 8, 9, 10, 100, 1000):
        both(float(i), str(i))
    both(1.5, "3/2")
    both(4 / 3, "4/3")
    if problem.sample_weight is not None:
        total = float(problem.sample_weight.sum())
        both(n / total, f"N/Σw = {n / total:.6g}")
        both(total, f"Σw = {total:.6g}")
    if lr is not None:
        extra = ("extra_learning_rate", f"is the true one times the learning rate {lr:g}")
        missing = ("missing_learning_rate", f"is the true one divided by the learning rate {lr:g}")
        for c, words in [
            (1.0, ""),
            *((v, w[0][1]) for v, w in table if w[0][1].startswith(("times", "divided"))),
        ][:17]:
            rest = (("constant_factor", f"is the true one {words}"),) if words else ()
            table.append((lr * c, (extra, *rest)))
            table.append((c / lr, (missing, *rest)))
    return table
