"""What stands in a run's event file, read by TensorBoard."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader, LegacyEventFileLoader
from tensorboard.plugins.hparams import metadata, plugin_data_pb2


def values(run: Path, loader: Any = LegacyEventFileLoader) -> dict[str, list[tuple[int, Any]]]:
    """(step, value) of every tag, in the order of the one event file."""
    (file,) = run.glob("events.out.tfevents.*")
    found: dict[str, list[tuple[int, Any]]] = defaultdict(list)
    for event in loader(str(file)).Load():
        for value in event.summary.value:
            found[value.tag].append((event.step, value))
    return found


def steps(run: Path) -> dict[str, list[int]]:
    """The steps of every tag."""
    return {tag: [step for step, _ in points] for tag, points in values(run).items()}


def descriptions(run: Path) -> dict[str, str]:
    """What TensorBoard says of every tag, from its first value, as it migrates it."""
    found = values(run, EventFileLoader)
    return {tag: points[0][1].metadata.summary_description for tag, points in found.items()}


def markdown(run: Path, tag: str) -> str:
    """A text."""
    ((_, value),) = values(run)[f"{tag}/text_summary"]
    return value.tensor.string_val[0].decode()


def hparams(run: Path) -> dict[str, Any]:
    """The three summaries, each of which stands there once."""
    found = {}
    for tag, points in values(run).items():
        if tag.startswith("_hparams_"):
            ((_, value),) = points
            content = value.metadata.plugin_data.content
            found[tag] = plugin_data_pb2.HParamsPluginData.FromString(content)
    return {
        "experiment": found[metadata.EXPERIMENT_TAG].experiment,
        "start": found[metadata.SESSION_START_INFO_TAG].session_start_info,
        "end": found[metadata.SESSION_END_INFO_TAG].session_end_info,
    }
