"""Which of the parameters in order are biases, and whether the others follow one another as weights."""

import itertools

from manual.numbers import Array


def is_bias(name: str) -> bool:
    last = name.lower().rsplit(".", 1)
    return last[-1].startswith(("b", "theta0")) or (last[-1].isdigit() and last[0].startswith(("b",)))


def chains(weights: list[Array], biases: list[Array], x: Array) -> bool:
    """Some orientation lets every weight follow the one before, with biases of its outputs' size."""
    shapes = [w.shape if w.ndim == 2 else (w.size, 1) for w in weights]
    widths = set(x.shape) | {x.size, 1}
    for flips in itertools.product((False, True), repeat=min(len(shapes), 6)):
        turned = [s[::-1] if f else s for s, f in zip(shapes, flips, strict=False)]
        fits = turned[0][0] in widths and all(a[1] == b[0] for a, b in itertools.pairwise(turned))
        if fits and all(b.size in (1, s[1]) for b, s in zip(biases, turned, strict=True)):
            return True
    return False
