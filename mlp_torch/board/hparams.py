"""TensorBoard's HParams tab: three summaries inside the trial's own event file, and no run beside it.

The experiment says which flags are searched and which curves are the metrics; the session's start holds
the trial's values, its end how it ended. The metrics are the tags that every run logs.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from mlp_torch.sweep.space import Dimension, Raw

METRICS = ("loss/validation", "accuracy/validation")


def experiment(dimensions: Sequence[Dimension], metrics: Sequence[str]) -> Any:
    """The summary that is the same in every trial of a study."""
    infos = []
    for d in dimensions:
        text = any(isinstance(parameter(d, raw), str) for raw in d.corners())
        kind = api_pb2.DATA_TYPE_STRING if text else api_pb2.DATA_TYPE_FLOAT64
        info = api_pb2.HParamInfo(name=d.flag, type=kind)
        if not d.choices:
            info.domain_interval.min_value, info.domain_interval.max_value = d.low, d.high
        infos.append(info)
    named = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in metrics]
    content = api_pb2.Experiment(hparam_infos=infos, metric_infos=named, time_created_secs=time.time())
    return _summary(metadata.EXPERIMENT_TAG, experiment=content)


def start(dimensions: Sequence[Dimension], raw: Mapping[str, Raw], name: str) -> Any:
    """The summary with a trial's values."""
    content = plugin_data_pb2.SessionStartInfo(group_name=name, start_time_secs=time.time())
    for d in dimensions:
        value = parameter(d, raw[d.flag])
        if isinstance(value, str):
            content.hparams[d.flag].string_value = value
        else:
            content.hparams[d.flag].number_value = value
    return _summary(metadata.SESSION_START_INFO_TAG, session_start_info=content)


def end(status: Literal["SUCCESS", "FAILURE"]) -> Any:
    """The summary that closes a trial; a pruned one ends well, only earlier."""
    value = api_pb2.Status.Value(f"STATUS_{status}")
    content = plugin_data_pb2.SessionEndInfo(status=value, end_time_secs=time.time())
    return _summary(metadata.SESSION_END_INFO_TAG, session_end_info=content)


def parameter(dimension: Dimension, raw: Raw) -> float | str:
    """What HParams shows of a value: a number where all of the flag's values are, else its text."""
    values = [dimension.value(corner) for corner in dimension.corners()]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return float(raw) if numbers else str(raw)


def _summary(tag: str, **content: Any) -> Any:
    data = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)
    plugin = SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString())
    value = Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin), tensor=metadata.NULL_TENSOR)
    return Summary(value=[value])
