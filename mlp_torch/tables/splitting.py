"""Which rows train, validate and test: stratified, by group, or in the order of time.

`shuffled` and `stratified` draw the very rows of scikit-learn's ShuffleSplit and StratifiedShuffleSplit (a
test holds them to it): whoever trains on digits does not wait for that library to be imported.
"""

import math

import numpy as np

from manual.numbers import Array
from mlp_torch.errors import UserError

VALIDATION, TEST = 0.1, 0.2
Parts = tuple[Array, Array, Array]


def split(
    n: int, labels: Array | None, seed: int, *, groups: Array | None = None, shuffle: bool = True,
    validation: float = VALIDATION, test: float = TEST,
) -> Parts:  # fmt: skip
    """Indices (train, validation, test); a share of 0 gives none of that part.

    `labels` keep their proportions where each class has rows enough; a group lies in one part alone;
    without `shuffle` the last rows are tested on. Raises UserError where a part would be empty.
    """
    rows = np.arange(n)
    rest, tested = _two(rows, test, labels, seed, groups, shuffle)
    share = validation / (1 - test)
    train, validated = _two(rest, share, labels, seed, groups, shuffle)
    if not len(train) or (test and not len(tested)) or (validation and not len(validated)):
        what = f"{len(np.unique(groups))} groups" if groups is not None else f"{n} rows"
        raise UserError(
            f"{what} are too few to hold samples back; give --validation FILE and --test FILE, or more"
        )
    return train, validated, tested


def _two(
    rows: Array, share: float, labels: Array | None, seed: int, groups: Array | None, shuffle: bool
) -> tuple[Array, Array]:
    """(the greater part, the share)."""
    if share == 0 or len(rows) < 2:
        return rows, rows[:0]
    if not shuffle:
        cut = len(rows) - max(1, round(len(rows) * share))
        if groups is not None:  # a group is not torn
            while 0 < cut < len(rows) and groups[rows[cut]] == groups[rows[cut - 1]]:
                cut -= 1
        return rows[:cut], rows[cut:]
    if groups is not None:
        if len(np.unique(groups[rows])) < 2:
            return rows, rows[:0]
        from sklearn.model_selection import GroupShuffleSplit

        first, second = next(
            GroupShuffleSplit(1, test_size=share, random_state=seed).split(rows, groups=groups[rows])
        )
        return rows[first], rows[second]
    if labels is not None:
        sizes = np.unique(labels[rows], return_counts=True)[1]
        if sizes.min() >= 2 and len(rows) * min(share, 1 - share) >= len(sizes):
            first, second = stratified(labels[rows], share, seed)
            return rows[first], rows[second]
    first, second = shuffled(len(rows), share, seed)
    return rows[first], rows[second]


def shuffled(n: int, share: float, seed: int) -> tuple[Array, Array]:
    """(the greater part, the share) of 0 … n − 1, in the order drawn."""
    drawn = np.random.RandomState(seed).permutation(n)
    held = math.ceil(share * n)
    return drawn[held:], drawn[:held]


def stratified(labels: Array, share: float, seed: int) -> tuple[Array, Array]:
    """The same of rows with these labels (n,), at least two of each: every class gives its part to both."""
    generator = np.random.RandomState(seed)
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    held = math.ceil(share * len(labels))
    first = _apportioned(counts, len(labels) - held, generator)
    second = _apportioned(counts - first, held, generator)
    members = np.split(np.argsort(classes, kind="stable"), np.cumsum(counts)[:-1])
    drawn = [rows[generator.permutation(len(rows))] for rows in members]
    greater = np.concatenate([rows[:n] for rows, n in zip(drawn, first, strict=True)])
    smaller = np.concatenate([rows[n : n + m] for rows, n, m in zip(drawn, first, second, strict=True)])
    return generator.permutation(greater), generator.permutation(smaller)


def _apportioned(counts: Array, n: int, generator: np.random.RandomState) -> Array:
    """n split in proportion to the counts, rounded down; what is left goes to the largest remainders."""
    exact = counts / counts.sum() * n
    found = np.floor(exact)
    left, remainders = int(n - found.sum()), exact - found
    for remainder in np.sort(np.unique(remainders))[::-1]:
        if left == 0:
            break
        (tied,) = np.where(remainders == remainder)
        chosen = generator.choice(tied, size=min(len(tied), left), replace=False)
        found[chosen] += 1
        left -= len(chosen)
    return found.astype(int)
