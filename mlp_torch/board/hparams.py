"""TensorBoard's HParams tab: three summaries inside the run's own event file, and no run beside it.

The experiment says which flags are shown and which curves are the metrics; the session's start holds the
run's values, its end how it ended. TensorBoard takes the last point of a curve for the run's metric, and
the first experiment that it finds for all runs that it shows, so that every run of `mlp train` says the same.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from mlp_torch.board.values import Value
from mlp_torch.config import Train

if TYPE_CHECKING:
    from mlp_torch.sweep.space import Dimension, Raw

LOSS, ACCURACY = "loss/validation", "accuracy/validation"
TESTED = ("test/loss", "test/accuracy", "test/r2", "test/mae")  # of the weights that were kept
SHOWN = (
    "data", "engine", "hidden", "activation", "loss", "optimizer", "lr", "schedule", "warmup", "batch_size",
    "epochs", "dropout", "normalization", "initialization", "momentum", "weight_decay", "l1", "l2",
    "clip_norm", "clip_value", "label_smoothing", "class_weight", "dtype", "seed",
)  # fmt: skip
FIRST = ("batch_size", "engine", "epochs", "hidden", "lr")  # as many as TensorBoard ticks at first
Parameter = float | str
Status = Literal["SUCCESS", "FAILURE"]


@dataclass(frozen=True)
class HParams:
    """What the tab shows of one run: values by flag, and the metrics' tags.

    Of the flags `text` are those whose values are no numbers, `first` those that stand first, `intervals`
    the ends of what was searched.
    """

    values: Mapping[str, Parameter | None]
    metrics: Sequence[str]
    text: frozenset[str]
    first: Collection[str]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def experiment(self) -> Value:
        """The summary that is the same in every run."""
        infos = []
        for flag in self.values:
            kind = api_pb2.DATA_TYPE_STRING if flag in self.text else api_pb2.DATA_TYPE_FLOAT64
            info = api_pb2.HParamInfo(name=flag, type=kind, differs=flag in self.first)
            if flag in self.intervals:
                info.domain_interval.min_value, info.domain_interval.max_value = self.intervals[flag]
            infos.append(info)
        named = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in self.metrics]
        content = api_pb2.Experiment(hparam_infos=infos, metric_infos=named, time_created_secs=time.time())
        return _value(metadata.EXPERIMENT_TAG, experiment=content)

    def start(self, name: str) -> Value:
        """The summary with the run's values; a flag that was not given has none."""
        content = plugin_data_pb2.SessionStartInfo(group_name=name, start_time_secs=time.time())
        for flag, value in self.values.items():
            if isinstance(value, str):
                content.hparams[flag].string_value = value
            elif value is not None:
                content.hparams[flag].number_value = value
        return _value(metadata.SESSION_START_INFO_TAG, session_start_info=content)


def end(status: Status) -> Value:
    """The summary that closes a run; a pruned trial ends well, only earlier."""
    value = api_pb2.Status.Value(f"STATUS_{status}")
    content = plugin_data_pb2.SessionEndInfo(status=value, end_time_secs=time.time())
    return _value(metadata.SESSION_END_INFO_TAG, session_end_info=content)


def of_run(config: Train, classes: bool) -> HParams:
    """Of a run of `mlp train`: its flags; the last validation scores, and the test's of the kept weights."""
    values: dict[str, Parameter | None] = {}
    for flag in SHOWN:
        value = getattr(config, flag)
        number = isinstance(value, int | float) or value is None
        values[flag] = value if number else "-".join(map(str, value)) if flag == "hidden" else str(value)
    known = (LOSS, ACCURACY, *TESTED[:2]) if classes else (LOSS, TESTED[0], *TESTED[2:])
    return HParams(values, known, frozenset(f for f, v in values.items() if isinstance(v, str)), FIRST)


def of_trial(dimensions: "Sequence[Dimension]", raw: "Mapping[str, Raw]", classes: bool) -> HParams:
    """Of a trial of a sweep: the flags that are searched."""
    values = {d.flag: parameter(d, raw[d.flag]) for d in dimensions}
    text = {d.flag for d in dimensions if any(isinstance(parameter(d, c), str) for c in d.corners())}
    intervals = {d.flag: (float(d.low), float(d.high)) for d in dimensions if not d.choices}
    return HParams(values, (LOSS, ACCURACY) if classes else (LOSS,), frozenset(text), values, intervals)


def parameter(dimension: "Dimension", raw: "Raw") -> Parameter:
    """What HParams shows of a value: a number where all of the flag's values are, else its text."""
    values = [dimension.value(corner) for corner in dimension.corners()]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return float(raw) if numbers else str(raw)


def _value(tag: str, **content: Any) -> Value:
    data = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)
    plugin = SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString())
    return Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin), tensor=metadata.NULL_TENSOR)
