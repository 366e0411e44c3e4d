"""What the board is made of, as TensorBoard's own records: curves, histograms, pictures, text, layouts.

`about` is Markdown that TensorBoard shows under the (i) of a card.
"""

import io
import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.text.metadata import PLUGIN_NAME as TEXT

from manual.numbers import Array

BINS = 30  # TensorBoard draws as many, however many there are
LIMITS = np.arange(1, BINS + 1)
LARGEST = 8e307  # of which the double is still finite


@dataclass(frozen=True)
class File:
    """A file that a plugin reads beside the event file, under this name in the run's folder."""

    name: str
    content: bytes


Value = Any  # Summary.Value, which protobuf makes at run time


CLASSES = {"scalars": "DATA_CLASS_SCALAR", "images": "DATA_CLASS_BLOB_SEQUENCE"}  # all others are tensors


@cache
def described(plugin: str, about: str, content: bytes = b"") -> Any:
    """Which plugin shows a value, and what it is in words; read from the first of a tag alone.

    TensorBoard's quick reader keeps the words only where the class of the data is named.
    """
    data = SummaryMetadata.PluginData(plugin_name=plugin, content=content)
    kind = CLASSES.get(plugin, "DATA_CLASS_TENSOR")
    return SummaryMetadata(summary_description=about, plugin_data=data, data_class=kind)


def scalar(tag: str, value: float) -> Value:
    """A point of a curve; the board says in the first one what it is."""
    return Summary.Value(tag=tag, simple_value=value)


def histogram(tag: str, values: Array, about: str = "") -> Value:
    """How many of the values lie where, in equal bins from the least to the greatest finite one."""
    x = values.ravel().astype(np.float64)
    least, width = _extent(x)
    if not math.isfinite(width):
        x = x[np.isfinite(x)].clip(-LARGEST, LARGEST)
        least, width = _extent(x)
    if width > 0:
        at = ((x - least) / width * BINS).astype(np.intp)
        *counts, last = np.bincount(at, minlength=BINS + 1).tolist()  # the greatest lies on the last limit
        counts[-1] += last
    else:
        counts = [len(x)]
    limits = (least + LIMITS * (width / BINS)).tolist() if width > 0 else [least]
    histo = HistogramProto(
        min=least, max=least + width, num=len(x), bucket_limit=limits, bucket=counts,
    )  # fmt: skip
    return Summary.Value(tag=tag, histo=histo, metadata=described("histograms", about))


def _extent(x: Array) -> tuple[float, float]:
    """The least value, and how far it is to the greatest; of no values 0."""
    if not x.size:
        return 0.0, 0.0
    least = float(x.min())
    return least, float(x.max()) - least  # Python's floats, which overflow without a warning


def png(tag: str, content: bytes, width: int, height: int, about: str = "") -> Value:
    """A picture for the tab Images, already a PNG of that many pixels."""
    image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=content)
    return Summary.Value(tag=tag, image=image, metadata=described("images", about))


def figure(tag: str, drawn: Any, about: str = "") -> Value:
    """A matplotlib figure for the tab Images."""
    box = io.BytesIO()
    drawn.savefig(box, format="png")
    width, height = (round(float(side)) for side in drawn.get_size_inches() * drawn.dpi)
    return png(tag, box.getvalue(), width, height, about)


def text(tag: str, markdown: str, about: str = "") -> Value:
    """Markdown for the tab Text."""
    return strings(f"{tag}/text_summary", TEXT, markdown.encode(), about=about)


def strings(tag: str, plugin: str, *contents: bytes, about: str = "", data: bytes = b"") -> Value:
    """What a plugin keeps as bytes in a tensor of one dimension."""
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=len(contents))])
    tensor = TensorProto(dtype="DT_STRING", string_val=contents, tensor_shape=shape)
    return Summary.Value(tag=tag, metadata=described(plugin, about, data), tensor=tensor)
