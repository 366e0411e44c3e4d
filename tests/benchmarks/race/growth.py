"""What grows: one row a quantity, its points, and the network, rows, batch and threads of each."""

import os
from dataclasses import dataclass

from race.problems import PROBLEMS, Spec

# Where rows are free: the products' operations in a run, the most samples and epochs of it.
OPERATIONS, MOST_ROWS, MOST_EPOCHS = 30e9, 16_384, 5


@dataclass(frozen=True)
class Point:
    """One run: `value` is what grows, the rest how it is trained."""

    value: int
    sizes: tuple[int, ...]
    batch: int
    rows: int
    epochs: int = 1
    threads: int = 1

    @property
    def samples(self) -> int:
        """All that are visited."""
        return self.rows * self.epochs

    @property
    def operations(self) -> int:
        """Those of the products, forward and backward, of one sample."""
        return 6 * sum(a * b for a, b in zip(self.sizes, self.sizes[1:], strict=False))

    def spec(self) -> Spec:
        """The problem as the race's trainers take it."""
        return Spec(
            "growth", "", self.sizes, "cross_entropy", self.rows, self.batch, self.epochs, self.threads,
            PROBLEMS["A"].read,
        )  # fmt: skip


@dataclass(frozen=True)
class Quantity:
    """What grows, with which network, and its points, the cheapest first."""

    name: str
    title: str
    points: tuple[Point, ...]


def _point(value: int, sizes: tuple[int, ...], batch: int, threads: int = 1) -> Point:
    """As many rows as make a run worth timing: whole batches, two at the least."""
    free = Point(value, sizes, batch, 1).operations
    rows = min(MOST_ROWS, int(OPERATIONS / free), 2_000 * batch)
    return Point(
        value, sizes, batch, max(2, rows // batch) * batch if batch < MOST_ROWS else batch, 1, threads
    )


A, B, D = (PROBLEMS[name].sizes for name in "ABD")
SMALL = (10, 32, 16, 2)
WIDTHS, DEPTHS = (2, 8, 32, 128, 512, 2048, 8192), (1, 2, 4, 8, 16, 32, 64)
BATCHES, ROWS, EPOCHS = (1, 8, 64, 512, 4096, MOST_ROWS), range(3, 8), range(4)
THREADS = range(1, min(8, os.cpu_count() or 1) + 1)

QUANTITIES: dict[str, Quantity] = {
    row.name: row
    for row in [
        Quantity(
            "rows",
            "10-32-16-2, batches of 128",
            tuple(Point(10**k, SMALL, 128, 10**k, max(1, 10 ** (5 - k))) for k in ROWS),
        ),
        Quantity(
            "epochs",
            "64-128-64-10, 1,000 rows, batches of 32",
            tuple(Point(10**k, A, 32, 1_000, 10**k) for k in EPOCHS),
        ),
        Quantity(
            "width",
            "64-width-width-10, batches of 128",
            tuple(_point(w, (64, w, w, 10), 128) for w in WIDTHS),
        ),
        Quantity(
            "depth",
            "64-…-10 with so many hidden layers of 64, batches of 128",
            tuple(_point(d, (64, *[64] * d, 10), 128) for d in DEPTHS),
        ),
        Quantity(
            "batch",
            f"64-128-64-10; the last is the full batch of {MOST_ROWS:,}",
            tuple(_point(b, A, b) for b in BATCHES),
        ),
        Quantity("threads", "784-256-128-10, batches of 128", tuple(_point(t, B, 128, t) for t in THREADS)),
        Quantity(
            "threads, wide", "784-2048-2048-10, batches of 512", tuple(_point(t, D, 512, t) for t in THREADS)
        ),
    ]
}


def quick(quantity: Quantity) -> Quantity:
    """Its first two points, to see that it runs."""
    return Quantity(quantity.name, quantity.title, quantity.points[:2])
