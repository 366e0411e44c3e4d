"""The last hidden layer for TensorBoard's Projector: what it gives for each sample, with names and images.

The plugin reads files, no events, from a folder of its own within the run's, so that the run stays one
entry; paths in its configuration are relative to that folder and may not leave it. It looks for new files
when it starts, and when a run comes or goes. The configuration is written last: it never names a file
that is not there.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from google.protobuf import text_format  # type: ignore[import-untyped]  # it ships no types
from matplotlib.image import imsave
from tensorboard.plugins.projector import metadata
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from manual.numbers import Array
from mlp_torch.board.pictures.mistakes import Decisions
from mlp_torch.board.values import File

FOLDER = Path(metadata.PLUGINS_DIR, metadata.PLUGIN_ASSETS_NAME)
SAMPLES, VALUES = 2000, 1_000_000  # at most; a file of 9 MB
SIDE = 32, 64  # pixels of an image in the sprite: smaller ones are enlarged, larger ones thinned out


def files(
    values: Array,
    columns: Mapping[str, Sequence[object]],
    images: Array | None = None,
    name: str = "last hidden layer",
) -> list[File]:
    """The embedding (N, size) of N samples, under names in the run's folder.

    `columns` are what is known of each sample (`known`), at least two, images (N, height, width) are drawn
    with 0 as white. Of more than 2,000 samples, or a million values, so many are taken evenly. There are
    no files where no sample is left whose values are all finite.
    """
    rows = np.flatnonzero(np.isfinite(values).all(axis=1))
    most = min(SAMPLES, VALUES // max(values.shape[1], 1))
    if len(rows) > most:
        rows = rows[np.linspace(0, len(rows) - 1, max(most, 1)).astype(int)]
    if not len(rows):
        return []
    config = ProjectorConfig()
    info = config.embeddings.add()
    info.tensor_name, info.tensor_path, info.metadata_path = name, "tensors.tsv", "metadata.tsv"
    info.tensor_shape.extend([len(rows), values.shape[1]])
    found = {
        info.tensor_path: _table(pl.DataFrame(values[rows].astype(np.float32)), header=False),
        info.metadata_path: _table(
            pl.DataFrame({n: [_cell(v[i]) for i in rows.tolist()] for n, v in columns.items()}), header=True
        ),
    }
    if images is not None:
        info.sprite.image_path = "sprite.png"
        found["sprite.png"], side = sprite(images[rows])
        info.sprite.single_image_dim.extend(side)
    found[metadata.PROJECTOR_FILENAME] = text_format.MessageToString(config).encode()
    return [File(str(FOLDER / file), content) for file, content in found.items()]


def known(found: Decisions) -> dict[str, list[str]]:
    """What the Projector can label and colour a sample by: 4, or 4 → 9 for a mistake; truth and prediction.

    Classes that are called by numbers are given a word: numbers would be coloured on one scale.
    """
    called = [label if _is_text(label) else f"class {label}" for label in map(str, found.labels)]
    pairs = list(zip(found.truth.tolist(), found.decision.tolist(), strict=True))
    names = [str(label) for label in found.labels]
    return {
        "sample": [names[i] if i == j else f"{names[i]} → {names[j]}" for i, j in pairs],
        "truth": [called[i] for i, _ in pairs],
        "predicted": [called[j] for _, j in pairs],
        "decision": ["right" if i == j else "wrong" for i, j in pairs],
        "loss": [f"{loss:.4g}" for loss in found.losses.tolist()],
    }


def known_numbers(truth: Array, found: Array, losses: Array) -> dict[str, list[str]]:
    """The same of a regression: truth, prediction and loss (N,), which are coloured on scales."""
    columns = {"truth": truth, "predicted": found, "loss": losses}
    return {name: [f"{value:.4g}" for value in values.tolist()] for name, values in columns.items()}


def _is_text(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return True
    return False


def sprite(images: Array) -> tuple[bytes, tuple[int, int]]:
    """(a PNG of all images (N, height, width), row by row in a square; width and height of each)."""
    least, most = SIDE
    n, height, width = images.shape
    thin, large = -(-max(height, width) // most), max(1, least // max(height, width))
    tiles = images[:, ::thin, ::thin].repeat(large, axis=1).repeat(large, axis=2)
    n, height, width = tiles.shape
    across = int(np.ceil(np.sqrt(n)))
    sheet = np.zeros((across * across, height, width), tiles.dtype)
    sheet[:n] = tiles
    picture = sheet.reshape(across, across, height, width).swapaxes(1, 2).reshape(across * height, -1)
    box, high = io.BytesIO(), float(np.nan_to_num(tiles).max())
    imsave(box, picture, cmap="gray_r", vmin=0, vmax=high if high > 0 else 1, format="png")
    return box.getvalue(), (width, height)


def _table(frame: pl.DataFrame, header: bool) -> bytes:
    """Tab-separated, numbers in six digits."""
    text = frame.write_csv(
        separator="\t", include_header=header, quote_style="never", float_scientific=True, float_precision=5
    )
    return text.encode()


def _cell(value: object) -> str:
    """A value as a cell of a file that knows no quotes."""
    return " ".join(str(value).split()) or "(empty)"
