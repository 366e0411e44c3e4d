"""The short form: which arrays are the weights and biases of which layer, where parameters come in order."""

import itertools
from collections.abc import Mapping

from manual.numbers import Array
from mlp_torch.check.describe.layers import Layer
from mlp_torch.errors import UserError


def layers_in_order(values: Mapping[str, Array], activations: list[str], x: Array) -> list[Layer]:
    """Layers for `activations`, by the names (b…, bias…), or by the order that the shapes allow.

    Raises UserError where the number of arrays does not fit; `layers=` settles it.
    """
    names, depth = list(values), len(activations)
    if not depth:
        raise UserError("activations=[]: name one activation a layer")
    biases = [n for n in names if _is_bias(n)]
    weights = [n for n in names if n not in biases]
    if len(weights) == depth and len(biases) in (0, depth):
        return [
            Layer(w, biases[i] if biases else None, a)
            for i, (w, a) in enumerate(zip(weights, activations, strict=True))
        ]
    if len(names) == depth:
        return [Layer(n, None, a) for n, a in zip(names, activations, strict=True)]
    if len(names) == 2 * depth:
        for w, b in (
            (names[0::2], names[1::2]),
            (names[:depth], names[depth:]),
            (names[1::2], names[0::2]),
            (names[depth:], names[:depth]),
        ):
            if _chain([values[n] for n in w], [values[n] for n in b], x):
                return [Layer(n, m, a) for n, m, a in zip(w, b, activations, strict=True)]
    raise UserError(
        f"{depth} activations and the parameters {', '.join(names)} make no network in order; "
        "say layers=[Layer(…), …]"
    )


def _is_bias(name: str) -> bool:
    last = name.lower().rsplit(".", 1)
    return last[-1].startswith(("b", "theta0")) or (last[-1].isdigit() and last[0].startswith(("b",)))


def _chain(weights: list[Array], biases: list[Array], x: Array) -> bool:
    """Some orientation lets every weight follow the one before, with biases of its outputs' size."""
    shapes = [w.shape if w.ndim == 2 else (w.size, 1) for w in weights]
    widths = set(x.shape) | {x.size, 1}
    for flips in itertools.product((False, True), repeat=min(len(shapes), 6)):
        turned = [s[::-1] if f else s for s, f in zip(shapes, flips, strict=False)]
        fits = turned[0][0] in widths and all(a[1] == b[0] for a, b in itertools.pairwise(turned))
        if fits and all(b.size in (1, s[1]) for b, s in zip(biases, turned, strict=True)):
            return True
    return False
