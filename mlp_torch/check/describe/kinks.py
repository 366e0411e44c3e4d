"""Units, margins and penalised entries that lie on a kink, and the networks that take another side there.

At a kink there is no derivative: both one-sided ones are conventions, their mean and torch's too. A
convention holds for every unit of one layer; only where z misses the kink by rounding, so that the
author's z may lie on either side, each entry goes its own way.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.activations import FORMS
from mlp_torch.check.describe.forward import Network
from mlp_torch.check.describe.losses import STEPS

WORDS = {0.0: "that from below", 1.0: "that from above", 0.5: "the mean of both sides"}
SEVERAL = 3  # layers whose conventions are combined; of more, one for all of an activation
FREE = 6  # entries that rounding puts on either side: more than these are not tried one by one


@dataclass(frozen=True)
class Place:
    """Entries on kinks: `at` (index into the activation's kinks, −1 elsewhere), and those that are exact.

    `key` is that of `Network.sides`, `group` what shares one convention, `shown` the first entry in words.
    """

    key: int | str
    group: str
    at: Array
    exact: Array
    shown: str

    @property
    def count(self) -> int:
        return int((self.at >= 0).sum())


def places(p: Network) -> list[Place]:
    """Every kink that the batch meets, up to rounding of z."""
    found: list[Place] = []
    for layer in p.layers:
        kinks, n = FORMS[layer.activation].kinks, layer.index
        if not kinks:
            continue
        size = np.abs(p.a[n - 1]) @ np.abs(layer.W) + (0.0 if layer.b is None else np.abs(layer.b))
        radius = 4 * p.unit * size
        at = np.full(size.shape, -1)
        for i, kink in enumerate(kinks):
            at[np.abs(p.z[n] - kink) <= radius] = i
        if (at >= 0).any():
            place = np.argwhere(at >= 0)[0]
            kink = kinks[at[tuple(place)]]
            shown = f"z{n}{[int(i) for i in place]} = {kink:g}"
            found.append(Place(n, layer.activation, at, np.isin(p.z[n], kinks), shown))
    if p.loss in STEPS:
        margin = STEPS[p.loss].margin(p.output, p.y)
        size = 1 + np.abs(p.output).max(axis=1, keepdims=True) + np.abs(p.y)
        at = np.where(np.abs(margin) <= 8 * p.unit * size, 0, -1)
        if (at >= 0).any():
            place = np.argwhere(at >= 0)[0]
            what = "ŷ − y" if p.loss == "absolute_error" else "the margin"
            shown = f"{what}{[int(i) for i in place]} = 0"
            found.append(Place("loss", "loss", at, margin == 0, shown))
    for layer in p.layers:
        for part in layer.parts:
            given = p.penalties.get((part.layer, part.role))
            if given is not None and given.l1:
                zero = p.theta(part) == 0
                if zero.any():
                    place = np.argwhere(zero)[0]
                    at = np.where(zero, 0, -1)
                    shown = f"{part.name}{[int(i) for i in place]} = 0 under |θ|"
                    found.append(Place("l1", "l1", at, zero, shown))
    return found


def conventions(p: Network, most: int = 128) -> Iterator[tuple[str, Network]]:
    """(what is taken at the kinks, the network that takes it), torch's own left out."""
    met = places(p)
    if not met:
        return
    own_each = [replace(q, group=f"{q.group} {q.key}") if isinstance(q.key, int) else q for q in met]
    if len({q.group for q in own_each}) <= SEVERAL:  # each layer may take its own side
        met = own_each
    groups = list(dict.fromkeys(place.group for place in met))
    free = [(place, tuple(e)) for place in met for e in np.argwhere((place.at >= 0) & ~place.exact)]
    free = free if len(free) <= FREE else []
    uniform = itertools.product(*(_shares(group) for group in groups))
    for shares in itertools.islice(uniform, most):
        taken = dict(zip(groups, shares, strict=True))
        yield _words(met, taken), replace(p, sides=_sides(p, met, taken, (), ()), z=[], f=[], a=[])
        for own in itertools.product((0.0, 1.0), repeat=len(free)) if free else ():
            sides = _sides(p, met, taken, [(place, entry) for place, entry in free], own)
            yield _words(met, taken), replace(p, sides=sides, z=[], f=[], a=[])


def _shares(group: str) -> list[tuple[float, ...]]:
    """The shares of the upper side that people take, one for each kink of the activation."""
    name = group.split(" ")[0]
    kinks = len(FORMS[name].kinks) if name in FORMS else 1
    return [*itertools.product((0.0, 1.0), repeat=kinks), (0.5,) * kinks]


def _sides(
    p: Network, met: Sequence[Place], taken: dict[str, tuple[float, ...]],
    free: Sequence[tuple[Place, tuple[int, ...]]], own: Sequence[float],
) -> dict[int | str, Array]:  # fmt: skip
    sides: dict[int | str, Array] = {}
    for place in met:
        if place.key == "l1":
            sides["l1"] = np.array(taken["l1"][0])
            continue
        shares = np.array([*taken[place.group], np.nan])
        sides[place.key] = shares[place.at]  # −1 is the last, NaN
    for (place, entry), share in zip(free, own, strict=True):
        sides[place.key][entry] = share
    return sides


def _words(met: Sequence[Place], taken: dict[str, tuple[float, ...]]) -> str:
    said = []
    for place in met:
        shares = taken[place.group]
        share = shares[max(place.at.max(), 0)] if len(set(shares)) > 1 else shares[0]
        more = f" (and {place.count - 1} more)" if place.count > 1 else ""
        said.append(f"at a kink: {place.shown}{more}; your derivative there is {WORDS[share]}")
    return "; ".join(dict.fromkeys(said))
