"""Inputs that are the pixels of an image: found by their names, which say where each of them lies."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from manual.numbers import Array

NAME = re.compile(r"pix(?:el)?s?[ _.-]*(\d+)(?:[ _.x×,-]+(\d+))?", re.IGNORECASE)
FEWEST, LARGEST = 9, 512  # inputs that make an image, and pixels on a side


@dataclass(frozen=True)
class Pixels:
    """Images of height × width, and where each input lies in them, row by row.

    Pixels that are the same in every image are no inputs; they are drawn as 0.
    """

    height: int
    width: int
    at: Array

    def images(self, x: Array, empty: float = 0.0) -> Array:
        """Inputs (N, in) as images (N, height, width)."""
        flat = np.full((len(x), self.height * self.width), empty, np.result_type(x, np.float32))
        flat[:, self.at] = x
        return flat.reshape(-1, self.height, self.width)


def pixels(names: Sequence[str]) -> Pixels | None:
    """Where the inputs of these names lie, or None where they are no pixels of one grey image.

    `pixel_3_4` is row 3, column 4, from 0; `pixel1` to `pixel784` (or from 0) fill a square, row by row.
    At least half of the image must be there.
    """
    found = [NAME.fullmatch(name) for name in names]
    if len(names) < FEWEST or not all(found):
        return None
    numbers = [[int(n) for n in m.groups() if n is not None] for m in found if m is not None]
    if len({len(n) for n in numbers}) > 1:
        return None
    table = np.array(numbers)
    if table.shape[1] == 2:
        height, width = (int(n) + 1 for n in table.max(axis=0))
        at = table[:, 0] * width + table[:, 1]
    else:
        at = table[:, 0] - min(1, int(table.min()))
        height = width = int(np.ceil(np.sqrt(at.max() + 1)))
    whole = len(set(at.tolist())) == len(at) and 2 * len(at) >= height * width
    return Pixels(height, width, at) if whole and max(height, width) <= LARGEST else None
