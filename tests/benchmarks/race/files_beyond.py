"""`mlp train` on files of 10³ to 10⁷ rows; the inputs of the last exceed what is held in memory.

    python -m race.files_beyond FILE ROWS

writes one such file: 30 columns of float32, and whether their sum is above its mean.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from race.candidates import path_of_modules

COLUMNS, EPOCHS, TRAINED = 30, 2, 0.7


@dataclass(frozen=True)
class Whole:
    """One command: MB of its file, where its inputs lay, seconds, µs a sample in training, peak MB."""

    rows: int
    file: float
    where: str
    seconds: float
    sample: float
    peak: float


def write(path: Path, rows: int) -> None:
    """A Parquet file."""
    import numpy as np
    import polars as pl

    x = np.random.default_rng(0).random((COLUMNS, rows), dtype=np.float32)
    columns = {f"x{i}": x[i] for i in range(COLUMNS)}
    above = x.sum(axis=0) > COLUMNS / 2
    pl.DataFrame(columns | {"above": above}).write_parquet(path, compression="uncompressed")


def command(file: Path, runs: Path) -> list[str]:
    """The command that is measured."""
    flags = ["--hidden", "32", "16", "--batch-size", "128", "--epochs", str(EPOCHS), "--log", "minimal"]
    place = ["--engine", "compiled", "--runs-dir", str(runs), "--name", "run"]
    return [sys.executable, "-m", "mlp_torch", "train", "--data", str(file), *flags, *place]


def whole(decades: int, say: Callable[[str], None]) -> list[Whole]:
    """A row a size, 1,000 rows first; what is compiled once is compiled by a run before them."""
    from mlp_torch.data.on_disk import IN_MEMORY

    found = []
    for i, rows in enumerate([1_000, *(10 ** (3 + k) for k in range(decades))]):
        with tempfile.TemporaryDirectory() as folder:
            file, runs = Path(folder) / "rows.parquet", Path(folder) / "runs"
            maker = [sys.executable, "-m", "race.files_beyond", str(file), str(rows)]
            environment = {**os.environ, "PYTHONPATH": path_of_modules()}
            if subprocess.run(maker, check=False, env=environment).returncode:
                say(f"files: {file} of {rows:,} rows could not be written")
                return found
            start = time.perf_counter()
            process = subprocess.Popen(command(file, runs), stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.perf_counter() - start
            if process.returncode:
                say(f"files: {rows:,} rows: exit code {process.returncode}")
                return found
            lines = (runs / "run" / "metrics.jsonl").read_text().splitlines()
            sample = 1e6 * json.loads(lines[-1])["seconds"] / (EPOCHS * TRAINED * rows)
            where = "in memory" if rows * COLUMNS * 4 <= IN_MEMORY else "on disk"
            peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
            if i:
                found.append(Whole(rows, file.stat().st_size / 1e6, where, seconds, sample, peak))
    return found


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
