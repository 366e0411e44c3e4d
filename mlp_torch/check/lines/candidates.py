"""What may be put in the place of a backward value: true gradients, and forward values, by a rule that any
draw of the data can follow.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from manual.numbers import Array
from mlp_torch.check.lines.draws import Draw
from mlp_torch.check.lines.recording import At
from mlp_torch.check.lines.sites import Site

FEW = 12  # events of a site that are also tried one by one
PARAMETER = -1
Order = tuple[int | None, int | None, int | None]  # start, stop and step of a slice
SAME: Order = (None, None, None)
# a loop forwards or backwards; without its first or last rounds, as loops over the layers above the first
ORDERS: tuple[Order, ...] = (
    SAME, (None, None, -1), (1, None, None), (None, -1, None), (None, 0, -1), (-2, None, -1), (-2, 0, -1),
    (1, -1, None), (2, None, None), (None, -2, None), (None, 1, -1), (-3, None, -1),
)  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """For `site`: at its events `where` ("all", "last" or "last of each call"), the gradient (or value) of
    the forward site `source` (or of the parameter `name`) in the order `order`, times `factor`.

    `free`: in its own shape, whatever the author's is.
    """

    site: int
    where: str
    source: int
    order: Order = SAME
    what: str = "gradient"
    name: str = ""
    factor: float = 1.0
    reshaped: bool = False
    free: bool = False

    def arrays(self, draw: Draw) -> dict[At, Array] | None:
        """What goes where on this draw; None where it does not fit there."""
        places = events_at(draw, self.site, self.where)
        found = listed(draw, self.source, self.name, self.what, self.order)
        if not places or found is None or len(places) != len(found):
            return None
        given = {}
        for at, a in zip(places, found, strict=True):
            wanted = draw.values[self.site][at[1]].shape
            if a.shape != wanted and not self.free:
                if not self.reshaped or a.size != int(np.prod(wanted)):
                    return None
                a = a.reshape(wanted)
            given[at] = a * self.factor if self.factor != 1 else a
        return given

    def scaled(self, factor: float) -> "Candidate":
        return replace(self, factor=factor)


def events_at(draw: Draw, site: int, where: str) -> list[At]:
    ks = draw.backward(site)
    if where == "last":
        ks = ks[-1:]
    if where == "last of each call":
        calls = draw.calls.get(site, [])
        ks = [k for i, k in enumerate(ks) if i + 1 == len(ks) or calls[ks[i + 1]] != calls[k]]
    return [(site, k) for k in ks]


def listed(draw: Draw, source: int, name: str, what: str, order: Order) -> list[Array] | None:
    """The arrays of a forward site, or the gradient of a parameter, in an order."""
    if source == PARAMETER:
        return [draw.true[name]] if name in draw.true else None
    truth = [draw.truth.get((source, k)) for k in range(len(draw.values.get(source, ())))]
    if what == "gradient":
        found = [g for g in truth if g is not None]
    else:
        found = [v for v, g in zip(draw.values.get(source, ()), truth, strict=True) if g is not None]
    return found[slice(*order)] or None


def pool(draw: Draw, sites: list[Site], what: str) -> Mapping[tuple[tuple[int, ...], ...], list[Candidate]]:
    """Candidates without a place, by the shapes of their arrays; each list of arrays once."""
    found: dict[tuple[tuple[int, ...], ...], dict[bytes, Candidate]] = {}

    def add(candidate: Candidate, arrays: list[Array], marks: list[bytes], better: bool) -> None:
        if not arrays:
            return
        here = found.setdefault(tuple(a.shape for a in arrays), {})
        digest = b"".join(marks)
        if digest not in here or (better and not sites[here[digest].source].assigned):
            here[digest] = candidate

    if what == "gradient":
        for name in draw.true:
            add(Candidate(0, "", PARAMETER, name=name), [draw.true[name]], [_mark(draw.true[name])], False)
    for site in draw.values:
        whole = listed(draw, site, "", what, SAME)
        if whole is None:
            continue
        marks = [_mark(a) for a in whole]
        orders = list(ORDERS) if len(whole) > 1 else [SAME]
        if 1 < len(whole) <= FEW:
            orders += [(k, k + 1, None) for k in range(len(whole))]
        for order in orders:
            part = slice(*order)
            add(Candidate(0, "", site, order, what), whole[part], marks[part], sites[site].assigned)
    return {shapes: list(here.values()) for shapes, here in found.items()}


def _mark(a: Array) -> bytes:
    """What two arrays share that are equal up to rounding."""
    return hashlib.blake2b(np.round(a, 11).tobytes(), digest_size=16).digest()


def for_site(
    draw: Draw, site: int, pooled: Mapping[tuple[tuple[int, ...], ...], list[Candidate]], assigned: bool,
    misshapen: bool = False,
) -> Iterator[Candidate]:  # fmt: skip
    """Every candidate that fits a site, its place filled in; `misshapen`: others in their shapes too."""
    ks = draw.backward(site)
    values = draw.values[site]
    shapes = tuple(values[k].shape for k in ks)
    for candidate in pooled.get(shapes, ()):
        yield replace(candidate, site=site, where="all")
    if len(ks) > 1 and assigned:
        for where in ("last of each call", "last"):
            places = events_at(draw, site, where)
            if len(places) < len(ks):
                for candidate in pooled.get(tuple(values[k].shape for _, k in places), ()):
                    yield replace(candidate, site=site, where=where)
                if len(places) == 1:
                    break
    if len(ks) == 1 and values[ks[0]].size > 1:
        shape = values[ks[0]].shape
        for other, candidates in pooled.items():
            same = len(other) == 1 and other[0] != shape and int(np.prod(other[0])) == values[ks[0]].size
            if same and [d for d in other[0] if d > 1] == [d for d in shape if d > 1]:
                for candidate in candidates:
                    yield replace(candidate, site=site, where="all", reshaped=True)
    if misshapen and assigned:
        for other, candidates in pooled.items():
            if len(other) == len(ks) and other != shapes:
                for candidate in candidates:
                    yield replace(candidate, site=site, where="all", free=True)
