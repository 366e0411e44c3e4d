"""What the backward of a normalisation leaves out, said only where it reproduces the author's gradient.

forward   x̂ = (x − μ) s,  s = 1/√(σ² + ε)          (root mean square: μ = 0)
backward  dx = s (d − mean(d) − x̂ mean(d x̂)),  d = g γ
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from manual.numbers import Array

EPSILONS = (1e-5, 0.0, 1e-6, 1e-8, 1e-12, 1e-3, 1e-7)
Axes = tuple[int, ...]


def words(
    x: Array, g: Array, t: Array, weights: Sequence[tuple[str, Array]], is_it: Callable[[Array], bool],
    constants: Sequence[float] = (), counts: bool = True,
) -> str:  # fmt: skip
    """The sentence, "" where x's true gradient t is no normalisation's or the author's is none of these.

    `counts`: N and N − 1 can be told apart, in no dtype of 16 bits.
    """
    if x.shape != g.shape or x.shape != t.shape or not x.ndim or x.size > 1 << 18:
        return ""
    for axes in _axes(x.ndim):
        n = int(np.prod([x.shape[a] for a in axes]))
        if n < 2:
            continue
        for centred in (True, False):
            away = x - x.mean(axis=axes, keepdims=True) if centred else x
            square = (away**2).mean(axis=axes, keepdims=True)
            for eps in dict.fromkeys((*constants, *EPSILONS)):
                with np.errstate(all="ignore"):
                    s = 1 / np.sqrt(square + eps)
                hat = away * s
                for name, weight in [("", np.ones(1)), *weights]:
                    d = g * weight

                    def dx(d: Array, mean: Array, along: Array, s: Array = s, hat: Array = hat) -> Array:
                        return s * (d - mean - hat * along)

                    mean = d.mean(axis=axes, keepdims=True) * centred
                    along = (d * hat).mean(axis=axes, keepdims=True)
                    if not _near(dx(d, mean, along), t):
                        continue
                    for text, value in _slips(d, g, mean, along, hat, n, axes, name, centred, dx):
                        if (counts or not text.startswith("divides")) and is_it(value):
                            return text
                    return ""
    return ""


def _near(a: Array, b: Array) -> bool:
    return bool(np.linalg.norm(a - b) <= 1e-8 * np.linalg.norm(b))


def _axes(ndim: int) -> list[Axes]:
    """The last k, all but the channels, the first, each alone."""
    last = [tuple(range(k, ndim)) for k in range(ndim - 1, 0, -1)]
    channels = [tuple(a for a in range(ndim) if a != 1)] if ndim > 2 else []
    single = [(a,) for a in range(ndim)]
    return list(dict.fromkeys([*last, *channels, *single, tuple(range(ndim))]))


def _slips(
    d: Array, g: Array, mean: Array, along: Array, hat: Array, n: int, axes: Axes, name: str, centred: bool,
    dx: Callable[..., Array],
) -> Iterator[tuple[str, Array]]:  # fmt: skip
    none = np.zeros_like(mean)
    if centred:
        yield "lacks the path through the mean", dx(d, none, along)
    path = "variance" if centred else "mean square"
    yield f"lacks the path through the {path}", dx(d, mean, none)
    if centred:
        yield "lacks the paths through the mean and the variance", dx(d, none, none)
    for factor, wrong, right in ((n / (n - 1), "N − 1", "N"), ((n - 1) / n, "N", "N − 1")):
        text = f"divides by {wrong} where {right} belongs on the path through the {path} (N = {n})"
        yield text, dx(d, mean, along * factor)
    if name:
        for part, value in (
            ("", dx(g, g.mean(axis=axes, keepdims=True) * centred, (g * hat).mean(axis=axes, keepdims=True))),
            (" on the path through the mean", dx(d, g.mean(axis=axes, keepdims=True) * centred, along)),
            (f" on the path through the {path}", dx(d, mean, (g * hat).mean(axis=axes, keepdims=True))),
        ):
            yield f"leaves out {name}{part}", value
    for other in _axes(d.ndim):
        if other == axes:
            continue
        means = d.mean(axis=other, keepdims=True) * centred, (d * hat).mean(axis=other, keepdims=True)
        over = f"over {_named(other)} where {_named(axes)} belongs"
        yield f"takes both means {over}", dx(d, *means)
        if centred:
            yield f"takes the mean of the upstream {over}", dx(d, means[0], along)
        yield f"takes the mean along x̂ {over}", dx(d, mean, means[1])


def _named(axes: Axes) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(map(str, axes))}"
