"""Units, margins and penalised entries that lie on a kink, and the networks that take another side there.

At a kink there is no derivative: both one-sided ones are conventions, their mean and torch's too. Which one
the author took is solved for in `subgradients`; here are those that faults are looked for under.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.activations import FORMS, moved
from mlp_torch.check.describe.forward import Network
from mlp_torch.check.describe.losses import STEPS

WORDS = {0.0: "that from below", 1.0: "that from above", 0.5: "the mean of both sides"}
CONVENTIONS = tuple(WORDS)
EDGE = 1e-6  # beyond 0 and 1: what solving for a share costs
SEVERAL = 3  # layers whose conventions are combined; of more, one for all of an activation


@dataclass(frozen=True)
class Place:
    """Entries on kinks: `at`, the index into the activation's kinks, −1 elsewhere.

    `key` is that of `Network.sides`, `group` what shares one convention, `shown` the first entry in words.
    """

    key: int | str
    group: str
    at: Array
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
            found.append(Place(n, layer.activation, at, shown))
    if p.loss in STEPS:
        margin = STEPS[p.loss].margin(p.output, p.y)
        size = 1 + np.abs(p.output).max(axis=1, keepdims=True) + np.abs(p.y)
        at = np.where(np.abs(margin) <= 8 * p.unit * size, 0, -1)
        if (at >= 0).any():
            place = np.argwhere(at >= 0)[0]
            what = "ŷ − y" if p.loss == "absolute_error" else "the margin"
            shown = f"{what}{[int(i) for i in place]} = 0"
            found.append(Place("loss", "loss", at, shown))
    for layer in p.layers:
        for part in layer.parts:
            given = p.penalties.get((part.layer, part.role))
            if given is not None and given.l1:
                zero = p.theta(part) == 0
                if zero.any():
                    place = np.argwhere(zero)[0]
                    at = np.where(zero, 0, -1)
                    shown = f"{part.name}{[int(i) for i in place]} = 0 under |θ|"
                    found.append(Place(f"l1 {part.layer} {part.role}", "l1", at, shown))
    return found


def conventions(p: Network, most: int = 128) -> Iterator[Network]:
    """The networks that take another convention at the kinks than torch's, one a layer or an activation."""
    met = places(p)
    if not met:
        return
    own_each = [replace(q, group=f"{q.group} {q.key}") if isinstance(q.key, int) else q for q in met]
    if len({q.group for q in own_each}) <= SEVERAL:  # each layer may take its own side
        met = own_each
    groups = list(dict.fromkeys(place.group for place in met))
    for shares in itertools.islice(itertools.product(*(_shares(group) for group in groups)), most):
        taken = dict(zip(groups, shares, strict=True))
        # −1, no kink, is the last, NaN
        sides = {place.key: np.array([*taken[place.group], np.nan])[place.at] for place in met}
        yield replace(p, sides=sides, z=[], f=[], a=[])


def _shares(group: str) -> list[tuple[float, ...]]:
    """The shares of the upper side that people take, one for each kink of the activation."""
    name = group.split(" ")[0]
    kinks = len(FORMS[name].kinks) if name in FORMS else 1
    return [*itertools.product((0.0, 1.0), repeat=kinks), (0.5,) * kinks]


@dataclass(frozen=True)
class Taken:
    """The network whose derivatives at the kinks `met` are the author's; `proven`: there are more numbers
    than shares were solved for, so that it is no coincidence; `one`: one share a layer and kink.
    """

    network: Network
    met: Sequence[Place]
    proven: bool
    one: bool

    def _shares(self, place: Place) -> Array:
        side = self.network.sides.get(place.key)
        return np.zeros(0) if side is None else side[(place.at >= 0) & ~np.isnan(side)]

    @property
    def agreed(self) -> bool:
        """Every share is a convention."""
        return all(np.isin(self._shares(place), CONVENTIONS).all() for place in self.met)

    @property
    def between(self) -> bool:
        return all(
            ((s >= -EDGE) & (s <= 1 + EDGE)).all() for s in (self._shares(place) for place in self.met)
        )

    def odd(self) -> list[tuple[Place, str]]:
        """The places where it is no convention, and what is taken there, in words."""
        found = []
        for place in self.met:
            side = self.network.sides.get(place.key)
            if side is None:
                continue
            out = (place.at >= 0) & ~np.isnan(side) & ~np.isin(side, CONVENTIONS)
            if out.any():
                found.append((_shown(place, out), _value(self.network, place, out)))
        return found

    def words(self) -> str:
        """What was taken at each place."""
        said = [f"at a kink: {place.shown}; your {value}" for place, value in self.odd()]
        for place in self.met:
            shares = self._shares(place)
            ways = [WORDS[s] for s in CONVENTIONS if (shares == s).any()]
            more = f" (and {place.count - 1} more)" if place.count > 1 else ""
            if ways:
                said.append(f"at a kink: {place.shown}{more}; your derivative there is {' or '.join(ways)}")
        return "; ".join(dict.fromkeys(said))


def _shown(place: Place, out: Array) -> Place:
    """The place with the first of the entries `out` as the one that is named."""
    first = tuple(int(i) for i in np.argwhere(out)[0])
    head, _, tail = place.shown.partition("[")
    at = np.where(out, place.at, -1)
    return replace(place, at=at, shown=f"{head}{list(first)}{tail.partition(']')[2]}")


def _value(p: Network, place: Place, out: Array) -> str:
    """The derivative taken, and the two that it lies between, or beyond."""
    shares = p.sides[place.key][out]
    low, high, what = np.zeros(1), np.ones(1), "[margin > 0]"
    if isinstance(place.key, int):
        what = f"derivative of {p.layers[place.key - 1].activation}"
        below, above = slopes(p, place.key)
        low, high = below[out], above[out]
    elif place.key != "loss" or p.loss == "absolute_error":
        low, what = -np.ones(1), "sign of 0"
    values = low + (high - low) * shares
    text = f"{values.min():.6g}" if np.ptp(values) <= 1e-6 else f"{values.min():.6g} to {values.max():.6g}"
    return f"{what} is {text}, the two one-sided ones are {low[0]:.6g} and {high[0]:.6g}"


def slopes(p: Network, number: int) -> tuple[Array, Array]:
    """f′ just below and just above the kinks that a layer's units lie on or next to."""
    layer = p.layers[number - 1]
    form, z = FORMS[layer.activation], p.z[number]
    assert form.from_z is not None
    below, above = (moved(layer.activation, z, np.full(z.shape, end)) for end in (0.0, 1.0))
    return form.from_z(below, layer.constants), form.from_z(above, layer.constants)
