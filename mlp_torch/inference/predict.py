"""`mlp predict`: labels and probabilities, or numbers, for every row of a table, chunk by chunk."""

import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl

from mlp_torch import artifact
from mlp_torch.errors import UserError
from mlp_torch.inference.config import Predict
from mlp_torch.inference.engine import predictor
from mlp_torch.inference.loaded import decided, finite, has_probabilities, probabilities
from mlp_torch.tables.reader import read_chunks


def run(config: Predict) -> int:
    """Predict as the flags say; 0. Raises UserError for what the user can put right."""
    blank: list[int] = []
    chunks = predictions(config.run, config.file, blank.append)
    if config.out is None:
        for i, chunk in enumerate(chunks):
            sys.stdout.write(chunk.write_csv(include_header=i == 0))
        if sum(blank):
            print(f"mlp predict: {_skipped(config.file, sum(blank))}", file=sys.stderr)
        return 0
    beside = config.out.with_name(f".{config.out.name}.part")
    try:
        rows = write(chunks, config.out, beside)
    except OSError as error:
        raise UserError(f"--out {config.out}: cannot be written ({error})") from None
    finally:
        beside.unlink(missing_ok=True)
    print(
        f"{rows:,} predictions: {config.out}" + (f"; {_skipped(config.file, n)}" if (n := sum(blank)) else "")
    )
    return 0


def _skipped(file: Path, blank: int) -> str:
    return f"{blank:,} empty {'lines' if blank > 1 else 'line'} of {file} got none"


def predictions(
    run: Path, file: Path, blank: Callable[[int], object] = lambda lines: None
) -> Iterator[pl.DataFrame]:
    """A frame a chunk: `prediction`, and a column `probability LABEL` a class."""
    loaded, arrays = artifact.read(run)
    predict, first = predictor(loaded, arrays, str(run)), 0
    dtype = np.dtype(loaded.dtype)
    for chunk in read_chunks(file, blank=blank):
        output = predict(loaded.preprocessing.transform(chunk, str(file), first=first, dtype=dtype))
        finite(output, str(file), first)
        first += len(chunk)
        label = decided(output, loaded)
        columns = {"prediction": (label.astype(str) if label.dtype == bool else label).tolist()}
        if has_probabilities(loaded):
            p = probabilities(output, loaded)
            columns |= {f"probability {c}": p[:, i] for i, c in enumerate(loaded.target.classes)}
        yield pl.DataFrame(columns)


def write(chunks: Iterator[pl.DataFrame], out: Path, beside: Path) -> int:
    """The whole file, first beside its place; how many rows."""
    rows = 0
    if out.suffix.lower() == ".parquet":
        frame = pl.concat(list(chunks))
        content = BytesIO()
        frame.write_parquet(content)
        beside.write_bytes(content.getvalue())
        rows = len(frame)
    else:
        with beside.open("wb") as file:
            for i, chunk in enumerate(chunks):
                file.write(chunk.write_csv(include_header=i == 0).encode())
                rows += len(chunk)
    beside.replace(out)
    return rows
