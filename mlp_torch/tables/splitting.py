"""Which rows train, validate and test: stratified, by group, or in the order of time."""

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
    from sklearn.model_selection import GroupShuffleSplit, train_test_split

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
        first, second = next(
            GroupShuffleSplit(1, test_size=share, random_state=seed).split(rows, groups=groups[rows])
        )
        return rows[first], rows[second]
    if labels is not None:
        sizes = np.unique(labels[rows], return_counts=True)[1]
        if sizes.min() >= 2 and len(rows) * min(share, 1 - share) >= len(sizes):
            a, b = train_test_split(rows, test_size=share, random_state=seed, stratify=labels[rows])
            return a, b
    a, b = train_test_split(rows, test_size=share, random_state=seed)
    return a, b
