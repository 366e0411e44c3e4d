"""TensorBoard's event file: every record is in the file when the call returns, or the call says why not.

A writer with a thread of its own loses what the disk refuses, and its caller waits for it for ever. The
records are TensorBoard's own; a file that is there is added to, so that a run that goes on stays one file.
"""

import io
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.text.metadata import PLUGIN_NAME as TEXT
from tensorboard.summary.writer.record_writer import RecordWriter

from mlp_torch.files import append


def files(folder: Path) -> list[Path]:
    """A run's event files, the oldest first; those with a suffix, of an explanation say, are not its own."""
    return sorted(p for p in folder.glob("events.out.tfevents.*") if p.suffix[1:].isdigit())


class Events:
    """The event file of a folder, its last one or a new one. Raises OSError where it cannot be."""

    def __init__(self, folder: Path, suffix: str = "") -> None:
        found = [] if suffix else files(folder)
        name = f"events.out.tfevents.{int(time.time())}.{platform.node()}.{os.getpid()}{suffix}"
        self.path = found[-1] if found else folder / name
        self.file = self.path.open("ab", buffering=0)
        if not self.file.tell():
            self._write([Event(wall_time=time.time(), file_version="brain.Event:2")])

    def scalars(self, values: Mapping[str, float | None], step: int) -> None:
        """One point of each curve; None and no number are left out."""
        found = [Summary.Value(tag=t, simple_value=v) for t, v in values.items() if v is not None]
        self.add(Summary(value=found), step)

    def figure(self, tag: str, figure: Figure, step: int = 0) -> None:
        """A picture for the tab Images."""
        box = io.BytesIO()
        figure.savefig(box, format="png")
        width, height = (round(float(side)) for side in figure.get_size_inches() * figure.dpi)
        image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=box.getvalue())
        self.add(Summary(value=[Summary.Value(tag=tag, image=image)]), step)

    def text(self, tag: str, markdown: str, step: int = 0) -> None:
        """Markdown for the tab Text."""
        kind = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=TEXT))
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
        tensor = TensorProto(dtype="DT_STRING", string_val=[markdown.encode()], tensor_shape=shape)
        value = Summary.Value(tag=f"{tag}/text_summary", metadata=kind, tensor=tensor)
        self.add(Summary(value=[value]), step)

    def add(self, summary: Any, step: int = 0) -> None:
        """A summary as TensorBoard has them."""
        self._write([Event(wall_time=time.time(), step=step, summary=summary)])

    def close(self) -> None:
        self.file.close()

    def _write(self, events: list[Any]) -> None:
        """By one write."""
        box = io.BytesIO()
        for event in events:
            RecordWriter(box).write(event.SerializeToString())
        append(self.file, box.getvalue())
