"""`mlp predict`: labels and probabilities, or numbers, for every row of a table, chunk by chunk."""

import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl

from mlp_torch import artifact
from mlp_torch.errors import UserError
from mlp_torch.inference.config import Predict
from mlp_torch.inference.engine import predictor
from mlp_torch.inference.loaded import decided, has_probabilities, probabilities
from mlp_torch.tables.reader import read_chunks


def run(config: Predict) -> int:
    """Predict as the flags say; 0. Raises UserError for what the user can put right."""
    chunks = predictions(config.run, config.file)
    if config.out is None:
        for i, chunk in enumerate(chunks):
            sys.stdout.write(chunk.write_csv(include_header=i == 0))
        return 0
    beside = config.out.with_name(f".{config.out.name}.part")
    try:
        rows = write(chunks, config.out, beside)
    except OSError as error:
        raise UserError(f"--out {config.out}: cannot be written ({error})") from None
    finally:
        beside.unlink(missing_ok=True)
    print(f"{rows:,} predictions: {config.out}")
    return 0


def predictions(run: Path, file: Path) -> Iterator[pl.DataFrame]:
    """A frame a chunk: `prediction`, and a column `probability LABEL` a class."""
    loaded, arrays = artifact.read(run)
    predict, first = predictor(loaded, arrays, str(run)), 0
    dtype = np.dtype(loaded.dtype)
    for chunk in read_chunks(file):
        output = predict(loaded.preprocessing.transform(chunk, str(file), first=first, dtype=dtype))
        first += len(chunk)
        columns = {"prediction": decided(output, loaded).tolist()}
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
