"""A part of an array that is wrong while the rest is right: rows, columns or entries, and what they hold."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from manual.numbers import Array

FEW = 3  # rows, columns or entries that are listed one by one
LEAST = 3  # entries that prove a constant
MOST = 4_000_000  # numbers that rows are compared with one another by


@dataclass(frozen=True)
class Region:
    """`inside`: the entries; `words` says where they are, in the author's own indices."""

    inside: Array
    words: str


def regions(wrong: Array, right: Array) -> Iterator[Region]:
    """Where the wrong entries are, in few words; nothing where no other entry, 0 left out, is `right`."""
    count = int(wrong.sum())
    if not count or not right.any():
        return
    lines = []
    for axis, name in enumerate(("row", "column")) if wrong.ndim == 2 and 1 not in wrong.shape else ():
        touched = np.flatnonzero(wrong.any(axis=1 - axis))
        if len(touched) < wrong.shape[axis]:
            inside = np.zeros(wrong.shape, dtype=bool)
            inside[(touched,) if axis == 0 else (slice(None), touched)] = True
            lines.append((int(inside.sum()), Region(inside, _listed(name, touched))))
    if count <= FEW and not any(size == count for size, _ in lines):
        yield Region(wrong, f"at {_and([str([int(i) for i in place]) for place in np.argwhere(wrong)])}")
    yield from (region for _, region in sorted(lines, key=lambda line: line[0]))
    if wrong.ndim < 2 or 1 in wrong.shape:
        touched = np.flatnonzero(wrong)
        if count > FEW and len(touched) == touched[-1] - touched[0] + 1:
            yield Region(wrong, f"in entries {touched[0]} to {touched[-1]}")


def _listed(name: str, at: Array) -> str:
    if len(at) == 1:
        return f"in {name} {at[0]}"
    if len(at) == at[-1] - at[0] + 1 and len(at) > 2:
        return f"in {name}s {at[0]} to {at[-1]}"
    if len(at) > FEW:
        return f"in {len(at)} {name}s, the first of them {at[0]}"
    return f"in {name}s {_and([str(i) for i in at])}"


def _and(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def told(h: Array, t: Array, allowed: Array) -> tuple[str, str, str] | None:
    """(kind, variant, words) of the one thing that makes h of the true t where it is wrong, or None."""
    for region in _regions(h, t, allowed):
        inside = region.inside
        here, true, slack = h[inside], t[inside], allowed[inside]
        if not here.any():
            return "zero_gradient", f"part {region.words}", f"is zero {region.words}"
        if (np.abs(here + true) <= slack).all():
            return "sign", f"part {region.words}", f"has the other sign {region.words}"
        if (np.abs(true) > slack).sum() < LEAST:
            continue
        c = float((here * true).sum()) / float((true * true).sum())
        if c and (np.abs(here - c * true) <= slack * max(abs(c), 1)).all():
            words = f"is the true one times {c:.6g} {region.words}"
            return "constant_factor", f"part {region.words} {c:.9g}", words
    return _reordered(h, t, allowed)


def _reordered(h: Array, t: Array, allowed: Array) -> tuple[str, str, str] | None:
    """The right rows, columns or entries, each once, at other places."""
    for axis, name in enumerate(("row", "column") if h.ndim == 2 and 1 not in h.shape else ("",)):
        mine, true, slack = (
            np.moveaxis(v, axis, 0).reshape(v.shape[axis], -1) if name else v.reshape(-1, 1)
            for v in (h, t, allowed)
        )
        if len(mine) * mine.size > MOST:
            continue
        gap = np.abs(mine[:, None] - true)
        found = (gap <= slack).all(axis=2) & (np.abs(true) > slack).any(axis=1)
        at = found.argmax(axis=1)
        if len(at) > 2 and (found.sum(axis=1) == 1).all() and len(set(at.tolist())) == len(at):
            way = "in reverse order" if (at == np.arange(len(at))[::-1]).all() else "in another order"
            what = f"its {name}s" if name else "its entries"
            shown = f": {', '.join(str(i) for i in at)}" if way == "in another order" and len(at) < 9 else ""
            return "swapped_gradients", f"{name}s {at.tolist()}", f"has {what} {way}{shown}"
    return None


def place(h: Array, t: Array, allowed: Array) -> str:
    """Where an array is wrong, if that is a part of it."""
    found = next(_regions(h, t, allowed), None)
    return "" if found is None else found.words


def _regions(h: Array, t: Array, allowed: Array) -> Iterator[Region]:
    wrong = ~(np.abs(h - t) <= allowed)
    return regions(wrong, ~wrong & (np.abs(t) > allowed))
