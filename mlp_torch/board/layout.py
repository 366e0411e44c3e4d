"""The tab Custom Scalars: what belongs together in one chart, the loss first."""

from tensorboard.plugins.custom_scalar import layout_pb2, metadata

from mlp_torch.board.moment import Moment
from mlp_torch.board.values import Value, strings

# One row a chart: its category, its title, the tags that it shows (regular expressions).
LINES: tuple[tuple[str, str, str], ...] = (
    ("by epoch", "loss: train and validation", r"^loss/(train|validation)$"),
    ("by epoch", "accuracy: train and validation", r"^accuracy/(train|validation)$"),
    ("optimization, by epoch", "update ratio of the weights", r"^update_ratio/layers\.\d+\.weight$"),
    ("optimization, by epoch", "gradient norm of the weights", r"^gradient_norm/layers\.\d+\.weight$"),
    ("optimization, by epoch", "dead units", r"^dead_units/"),
)
MARGIN = "margin of the certificate, by epoch"
BAND = "error over bound of the gradients: smallest, median, largest; 1 is the bound"


def layout(moment: Moment) -> list[Value]:
    """The charts, the same in every run; those without points stay empty, but accuracies of real targets."""
    found: dict[str, layout_pb2.Category] = {}
    for category, title, tag in LINES:
        if moment.data.train.labels is None and title.startswith("accuracy"):
            continue
        chart = layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=[tag]))
        found.setdefault(category, layout_pb2.Category(title=category)).chart.append(chart)
    series = layout_pb2.MarginChartContent.Series(
        value="certificate/median", lower="certificate/smallest", upper="certificate/largest"
    )
    band = layout_pb2.Chart(title=BAND, margin=layout_pb2.MarginChartContent(series=[series]))
    found[MARGIN] = layout_pb2.Category(title=MARGIN, chart=[band])
    content = layout_pb2.Layout(category=list(found.values()))
    return [strings(metadata.CONFIG_SUMMARY_TAG, metadata.PLUGIN_NAME, content.SerializeToString())]
