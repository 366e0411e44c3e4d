"""What the flags name → three splits: built-in sets, files, and OpenML's tables through scikit-learn."""

import hashlib
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from manual.catalogue import LOSSES
from manual.numbers import Array
from mlp_torch.data.config import OPENML, DataFlags
from mlp_torch.data.on_disk import IN_MEMORY, OnDisk
from mlp_torch.data.sets import DATASETS, Dataset
from mlp_torch.data.splits import Data, Split, code
from mlp_torch.errors import UserError
from mlp_torch.tables.delimited import place
from mlp_torch.tables.kinds import Column, choose, require_column, understand
from mlp_torch.tables.preprocessing import Preprocessor
from mlp_torch.tables.reader import ROWS, from_arrays
from mlp_torch.tables.splitting import TEST, VALIDATION, split
from mlp_torch.tables.table import IN_MEMORY as TABLE
from mlp_torch.tables.table import Table, read_table
from mlp_torch.tables.targets import Target, task_of

STEPS = 1_000_000  # samples that are seen in all, if nobody says for how many epochs
EPOCHS = (5, 100)


class Holder(Protocol):
    """What keeps a part of the inputs in this process, the others being kept elsewhere."""

    in_memory: int  # bytes of a table up to which it is held in memory while it is read
    at_once: int  # rows of a file that are read at once
    shared: bool  # whether others keep the rest, so that nothing need lie on disk

    def rows(self, n: int, size: int) -> slice:
        """Which of n rows of a split are kept here; `size` is that of all splits' inputs, in bytes."""

    def inputs(self, own: Array, first: int, n: int, size: int) -> Any:
        """What stands for all n rows, of which `own` are kept here, from `first` on."""


class _All:
    """Keeps all."""

    in_memory, at_once, shared = TABLE, ROWS, False

    def rows(self, n: int, size: int) -> slice:
        return slice(0, n)

    def inputs(self, own: Array, first: int, n: int, size: int) -> Array:
        return own


def load(
    flags: DataFlags,
    loss: str | None = None,
    *,
    seed: int = 0,
    dtype: Any = np.float32,
    holder: Holder | None = None,
) -> Data:
    """The data set that the flags name: by `seed` 70 % training, 10 % validation, 20 % test, unless told.

    `holder` keeps a part of a table's inputs alone.
    Targets are coded for `loss` (the data's own if None). Raises UserError, one line, for what cannot
    be read, understood or trained on.
    """
    if flags.data in DATASETS:
        return _built_in(DATASETS[flags.data], loss, seed, dtype)
    if flags.data.startswith(OPENML):
        return _tables(flags, openml(flags.data.removeprefix(OPENML)), loss, seed, dtype, holder or _All())
    holder = holder or _All()
    return _tables(
        flags, read_table(Path(flags.data), holder.in_memory, holder.at_once), loss, seed, dtype, holder
    )


def _built_in(row: Dataset, loss: str | None, seed: int, dtype: Any) -> Data:
    assert row.read is not None
    loss = loss or row.loss
    x, target, names = row.read(seed)
    if loss not in LOSSES or (LOSSES[loss].target != "real" and not row.classes):
        code(target, row.classes, loss, dtype, row.name)  # raises
    labels = target if row.classes else None
    parts = split(len(x), labels, seed) if row.split else (np.arange(len(x)),) * 3
    mean, scale = np.zeros(x.shape[1]), np.full(x.shape[1], row.divide)
    if row.standardize:
        mean, scale = x[parts[0]].mean(axis=0), x[parts[0]].std(axis=0)
        scale = np.where(scale > 0, scale, 1)
    column = Target("target", row.labels)
    if not row.classes and row.standardize:
        y = target[parts[0]]
        column = Target("target", (), float(y.mean()), float(y.std()))
        target = (target - column.mean) / column.scale
    x = ((x - mean) / scale).astype(dtype)
    y, outputs = code(target, row.classes, loss, dtype, row.name)
    train, validation, test = (
        Split(x[part], y[part], None if labels is None else labels[part]) for part in parts
    )
    preprocessing = Preprocessor.divided(names, mean.tolist(), scale.tolist())
    return Data(row, loss, x.shape[1], outputs, train, validation, test, preprocessing, column)


def openml(name: str) -> Table:
    """A table of OpenML's, through scikit-learn's cache; the target is its last column.

    Raises UserError where it is not there, or cannot be reached.
    """
    from urllib.error import URLError

    from sklearn.datasets import fetch_openml

    where = f"--data {OPENML}{name}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tries that failed; in the end one line says so
            bunch = fetch_openml(name, as_frame=False, parser="liac-arff")
    except (URLError, OSError) as error:
        raise UserError(f"{where}: OpenML cannot be reached ({error}); it needs the internet once") from None
    except ValueError as error:
        raise UserError(f"{where}: {str(error).splitlines()[0]}") from None
    x, columns = np.asarray(bunch.data), {}
    for i, feature in enumerate(bunch.feature_names):
        values: Any = x[:, i]
        levels = (bunch.get("categories") or {}).get(feature)
        if levels:
            values = np.array([None if v != v or v is None else levels[int(v)] for v in values], dtype=object)
            columns[feature] = pl.Series(feature, values.tolist(), dtype=pl.String)
        else:
            reals = np.asarray(values, dtype=np.float64)
            columns[feature] = pl.Series(feature, reals).fill_nan(None)
    target = (bunch.target_names or ["target"])[0]
    columns[target] = from_arrays({target: np.asarray(bunch.target).astype(str)}, where)[target]
    return Table.of(pl.DataFrame(columns), where)


class _Columns(Mapping[str, pl.Series]):
    """Columns of a table, each read when it is asked for."""

    def __init__(self, table: Table, names: Sequence[str]) -> None:
        self.table, self.names = table, names

    def __getitem__(self, name: str) -> pl.Series:
        return self.table.column(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def _tables(flags: DataFlags, table: Table, loss: str | None, seed: int, dtype: Any, holder: Holder) -> Data:
    """The table's rows, split; those of `--validation` and `--test` in the place of parts of it."""
    beside = [n for n in (flags.group, flags.sample_weight) if n]
    for flag, name in (("--group", flags.group), ("--sample-weight", flags.sample_weight)):
        if name:
            require_column(table.where, flag, name, table.names)
    for name in flags.categories:
        require_column(table.where, "--categories", name, table.names)
    name, features = choose(table.where, table.names, flags.target, flags.features, flags.drop, beside)
    values = table.column(name)
    task = task_of(values, table.where) if flags.task == "auto" else flags.task
    whole = Target.fit(values, task, table.where)
    labels = whole.encode(values, table.where) if whole.classes else None
    groups = (
        None if flags.group is None else table.column(flags.group).cast(pl.String).fill_null("").to_numpy()
    )
    parts = split(
        len(table), labels, seed, groups=groups, shuffle=not flags.no_shuffle,
        validation=0 if flags.validation else VALIDATION, test=0 if flags.test else TEST,
    )  # fmt: skip
    columns = _Columns(table, features)
    kinds = understand(table.where, columns, flags.categories)
    preprocessing = Preprocessor.fit(columns, kinds, table.where, parts[0])
    target = whole if whole.classes else Target.fit(values.gather(parts[0]), task, table.where)
    described = preprocessing.columns(kinds, columns)
    row = _row(flags, target, len(parts[0]))
    loss = loss or row.loss
    make = _Splits(preprocessing, target, loss, dtype, flags.sample_weight, holder)
    train, validation, test = make.of(table, parts)
    for flag, path in (("validation", flags.validation), ("test", flags.test)):
        if path is not None:
            other = read_table(path, holder.in_memory, holder.at_once)
            for column in (*preprocessing.feature_names, name):
                require_column(str(path), f"--{flag} {path}:", column, other.names)
            (part,) = make.of(other, (np.arange(len(other)),))
            validation, test = (part, test) if flag == "validation" else (validation, part)
    what = f"{len(target.classes):,} classes" if target.classes else "real"
    if labels is not None and (unseen := set(range(len(target.classes))) - set(labels[parts[0]].tolist())):
        what += f", {target.classes[min(unseen)]!r} in no row that is trained on"
    becomes = (
        what if target.classes else f"real numbers, mean {target.mean:.4g}, deviation {target.scale:.4g}"
    )
    last = Column(f"{name} (target)", task, 0, len(target.classes) or values.n_unique(), becomes)
    return Data(
        row, loss, len(preprocessing.input_names), make.outputs, train, validation, test, preprocessing,
        target, [*described, last], fingerprint(Path(flags.data)),
    )  # fmt: skip


def _row(flags: DataFlags, target: Target, n: int) -> Dataset:
    name = Path(flags.data).name if not flags.data.startswith(OPENML) else flags.data.removeprefix(OPENML)
    losses = {0: "mse", 2: "bce_with_logits"}
    epochs = min(EPOCHS[1], max(EPOCHS[0], STEPS // n))
    loss = losses.get(len(target.classes), "cross_entropy")
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name.split(".")[0]).strip("-") or "table"
    return Dataset(plain, None, target.classes, loss, epochs, "rows")


class _Splits:
    """Rows of a table → inputs and coded targets, in memory or, beyond a limit, on disk."""

    def __init__(
        self,
        preprocessing: Preprocessor,
        target: Target,
        loss: str,
        dtype: Any,
        weight: str | None,
        holder: Holder,
    ) -> None:
        self.preprocessing, self.target, self.loss, self.holder = preprocessing, target, loss, holder
        self.dtype, self.weight, self.outputs = dtype, weight, 0

    def of(self, table: Table, parts: tuple[Array, ...]) -> list[Split]:
        """One split a part; the rows of a part keep its order in memory, the table's on disk."""
        width = len(self.preprocessing.input_names)
        values = self.target.encode(table.column(self.target.name), table.where)
        y, self.outputs = code(values, len(self.target.classes), self.loss, self.dtype, table.where)
        weights = None if self.weight is None else _weights(table, self.weight)
        labels = values if self.target.classes else None
        size = len(table) * width * np.dtype(self.dtype).itemsize
        if size > IN_MEMORY:
            parts = tuple(np.sort(part) for part in parts)
        if size <= IN_MEMORY or self.holder.shared:
            arrays: list[tuple[Any, Array]] = self._in_memory(table, parts, width, size)
        else:
            arrays = self._on_disk(table, parts, width)
        return [
            Split(x, y[p], None if labels is None else labels[p], None if weights is None else weights[p])
            for x, p in arrays
        ]  # fmt: skip

    def _blocks(self, table: Table) -> Iterator[tuple[int, Array]]:
        first = 0
        for chunk in table.chunks():
            yield first, self.preprocessing.transform(chunk, table.where, first=first, dtype=self.dtype)
            first += len(chunk)

    def _in_memory(
        self, table: Table, parts: tuple[Array, ...], width: int, size: int
    ) -> list[tuple[Any, Array]]:
        """Each part's rows that are kept here, straight from the table's chunks."""
        kept = [self.holder.rows(len(part), size) for part in parts]
        mine = [part[rows] for part, rows in zip(parts, kept, strict=True)]
        orders = [np.argsort(rows) for rows in mine]
        arrays = [np.empty((len(rows), width), self.dtype) for rows in mine]
        for first, block in self._blocks(table):
            for x, rows, order in zip(arrays, mine, orders, strict=True):
                a, b = np.searchsorted(rows, (first, first + len(block)), sorter=order)
                x[order[a:b]] = block[rows[order[a:b]] - first]
        return [
            (self.holder.inputs(x, rows.start, len(part), size), part)
            for x, rows, part in zip(arrays, kept, parts, strict=True)
        ]

    def _on_disk(self, table: Table, parts: tuple[Array, ...], width: int) -> list[tuple[Any, Array]]:
        files = [OnDisk(width, self.dtype) for _ in parts]
        for first, block in self._blocks(table):
            for file, part in zip(files, parts, strict=True):
                a, b = np.searchsorted(part, (first, first + len(block)))
                file.append(block[part[a:b] - first])
        return list(zip(files, parts, strict=True))


def _weights(table: Table, name: str) -> Array:
    """Raises UserError for a weight that is negative or missing."""
    weights = table.column(name).cast(pl.Float64, strict=False)
    bad = (weights.is_null() | ~weights.is_finite() | (weights < 0)).fill_null(True).arg_true()
    if len(bad):
        value = table.column(name)[int(bad[0])]
        raise UserError(
            f"{table.where}: the weight {name!r} is {'missing' if value is None else repr(value)} in "
            f"{place(table.where, int(bad[0]))}; it must be a number, at least 0"
        )
    return np.asarray(weights.to_numpy())


def fingerprint(path: Path) -> str:
    """A hash of the file, by which a run knows its data again; none where it is no file."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]
