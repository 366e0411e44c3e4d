"""The flags of `mlp evaluate`, `mlp predict` and `mlp runs`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mlp_torch.errors import UserError
from mlp_torch.flags import require


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Evaluate a run: on the samples that were held back for the test, or on a table of yours."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run's folder, or its model.safetensors."""
    data: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A table with the columns that the run was trained on, the target among them."""
    json: bool = False
    """Print one JSON object in place of the tables."""
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Save a picture: the confusion matrix, or predictions against the truth."""

    def check(self) -> None:
        """Raise UserError, one line that names the flag, for a value that cannot be."""
        require(self.data is None or self.data.is_file(), "--data", str(self.data), "there is no such file")


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Predict the target of every row of a table, chunk by chunk; columns are matched by name."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run's folder, or its model.safetensors."""
    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The table: CSV, TSV, .gz of them, Parquet or NPZ."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Where the predictions go, as CSV or Parquet; if not given, to the terminal as CSV."""

    def check(self) -> None:
        """Raise UserError, one line that names the flag, for a value that cannot be."""
        if not self.file.is_file():
            raise UserError(f"{self.file}: there is no such file")
        if self.out is not None:
            known = self.out.suffix.lower() in (".csv", ".parquet")
            require(known, "--out", str(self.out), "the name must end in .csv or .parquet")
            require(self.out.parent.is_dir(), "--out", str(self.out), "there is no such folder")
            same = self.out.exists() and self.out.samefile(self.file)
            require(not same, "--out", str(self.out), "is the table itself; choose another name")


@dataclass(frozen=True, kw_only=True)
class Runs:
    """List the runs, the best first."""

    runs_dir: Path = Path("runs")
    """Where the runs lie."""
    sort: Annotated[str, tyro.conf.arg(metavar="METRIC")] = "test_accuracy"
    """What is best: any number that a run ends with or logs, such as test_loss or loss/validation."""
    json: bool = False
    """Print one JSON object a run in place of the table."""

    def check(self) -> None:
        """Raise UserError, one line that names the flag, for a value that cannot be."""
        require(self.runs_dir.is_dir(), "--runs-dir", str(self.runs_dir), "there is no such folder")
