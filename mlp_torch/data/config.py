"""The flags that say what is trained on: a built-in set, a file or OpenML, and how a table is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mlp_torch.data.sets import DATASETS
from mlp_torch.errors import UserError
from mlp_torch.flags import require, require_choice

OPENML = "openml:"
TASKS = ("auto", "classification", "regression")
SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".npz", ".gz")


@dataclass(frozen=True, kw_only=True)
class DataFlags:
    """Where the data comes from, and what of it is used; all but `data` are for tables."""

    data: Annotated[str, tyro.conf.arg(metavar="{" + ",".join(DATASETS) + "},FILE,openml:NAME")] = "digits"
    """A built-in set, a table (CSV, TSV, .gz of them, Parquet, NPZ), or one of OpenML's by name."""
    target: Annotated[str | None, tyro.conf.arg(metavar="COLUMN")] = None
    """The column to predict; if not given, the last."""
    features: Annotated[tuple[str, ...], tyro.conf.arg(metavar="COLUMN …")] = ()
    """The columns to predict from; if not given, all the others."""
    drop: Annotated[tuple[str, ...], tyro.conf.arg(metavar="COLUMN …")] = ()
    """Columns to leave out."""
    categories: Annotated[tuple[str, ...], tyro.conf.arg(metavar="COLUMN …")] = ()
    """Columns of numbers that stand for categories."""
    task: Annotated[str, tyro.conf.arg(metavar="{" + ",".join(TASKS) + "}")] = "auto"
    """What the target asks for; auto takes text, booleans and few whole numbers for classes."""
    validation: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A table of its own to choose the best weights by; if not given, 10 % are held back."""
    test: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A table of its own to test on; if not given, 20 % are held back."""
    group: Annotated[str | None, tyro.conf.arg(metavar="COLUMN")] = None
    """Rows of one value stay together, in one part of the split."""
    no_shuffle: bool = False
    """The rows are in the order of time: train on the first, test on the last."""
    sample_weight: Annotated[str | None, tyro.conf.arg(metavar="COLUMN")] = None
    """The column of how much a row counts in the loss."""

    def check(self) -> None:
        """Raise UserError, one line that names the flag, for a value that cannot be."""
        require_choice("--task", "task", self.task, TASKS)
        if self.data in DATASETS:
            given = {
                "--target": self.target, "--features": self.features, "--drop": self.drop,
                "--categories": self.categories, "--validation": self.validation, "--test": self.test,
                "--group": self.group, "--no-shuffle": self.no_shuffle, "--sample-weight": self.sample_weight,
            }  # fmt: skip
            for flag, value in given.items():
                require(not value, flag, _text(value), f"is for tables; --data {self.data} is built in")
            require(
                self.task == "auto", "--task", self.task, f"is for tables; --data {self.data} is built in"
            )
            return
        if self.data.startswith(OPENML):
            require(
                len(self.data) > len(OPENML), "--data", self.data, "needs a name, such as openml:mnist_784"
            )
            return
        path = Path(self.data)
        if path.suffix.lower() not in SUFFIXES and not path.exists():
            try:
                require_choice("--data", "data set", self.data, DATASETS)
            except UserError as error:
                raise UserError(f"{error}, openml:NAME, or a file ({', '.join(SUFFIXES)})") from None
        require(path.exists(), "--data", self.data, "there is no such file")
        require(path.is_file(), "--data", self.data, "is no file")
        for flag, other in (("--validation", self.validation), ("--test", self.test)):
            require(other is None or other.is_file(), flag, str(other), "there is no such file")
            same = other is not None and other.samefile(path)
            require(
                not same, flag, str(other), "is --data itself; leave it out, and rows of it are held back"
            )


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value) if value is not True else ""
