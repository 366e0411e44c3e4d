"""The network as a graph for TensorBoard's Graphs: a node a stage of the forward pass, an edge a read.

The nodes are the rows of `manual.chain.forward_stages` under their own names, z1, a1, …, loss, and what
they start from; a layer's are in one scope with its parameters, which bear the names of the state_dict:
layers.0 holds z1, a1, weight and bias. The formula of a stage is among its attributes.
"""

from collections.abc import Sequence
from typing import Any

from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.config_pb2 import RunMetadata
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.versions_pb2 import VersionDef
from tensorboard.plugins.graph import metadata

from manual.catalogue import LOSSES
from manual.chain import forward_stages
from manual.losses import Reduction
from manual.structure.architecture import Architecture, symbol
from manual.structure.trace import Stage
from manual.training.recipe import PLAIN, Recipe
from mlp_torch.board.moment import Moment
from mlp_torch.board.values import Value

BATCH = -1  # the samples of a batch, however many: TensorBoard draws ?
Shape = tuple[int, ...]


def network(moment: Moment) -> list[Value]:
    """The stages of the forward pass of a run."""
    weighted = moment.data.train.weights is not None
    return list(
        graph(moment.architecture, moment.loss, weighted=weighted, recipe=moment.config.recipe()).value
    )


def graph(
    architecture: Architecture,
    loss: str,
    *,
    reduction: Reduction = "mean",
    training: bool = True,
    weighted: bool = False,
    recipe: Recipe = PLAIN,
) -> Any:
    """The forward pass as a summary for the tab Graphs, tag `network`.

    `weighted`: the loss reads sample weights; `recipe`: with penalties the objective is a stage more.
    """
    stages = forward_stages(architecture, loss, reduction, training, weighted, recipe)
    names, nodes = {}, []
    read = {name for stage in stages for name in stage.reads}
    for leaf, (name, says, shape) in _leaves(architecture, loss).items():
        if leaf in read:
            names[leaf] = name
            nodes.append(_node(name, "parameter" if says else "input", says, (), shape))
    for stage in stages:
        names[stage.name] = name = _place(stage)
        size = () if stage.kind in ("loss", "penalty") else (BATCH, architecture.sizes[stage.layer])
        nodes.append(
            _node(name, stage.row or stage.kind, stage.formula, [names[n] for n in stage.reads], size)
        )
    definition = GraphDef(node=nodes, versions=VersionDef(producer=22))
    # The summary of a function's graph, as TensorFlow 2 writes it; the event of a whole run's has no tag.
    traced = RunMetadata(function_graphs=[RunMetadata.FunctionGraphs(pre_optimization_graph=definition)])
    plugin = SummaryMetadata.PluginData(
        plugin_name=metadata.PLUGIN_NAME_RUN_METADATA_WITH_GRAPH, content=b"1"
    )
    tensor = TensorProto(dtype="DT_STRING", string_val=[traced.SerializeToString()])
    kind = SummaryMetadata(plugin_data=plugin)
    return Summary(value=[Summary.Value(tag="network", metadata=kind, tensor=tensor)])


def _place(stage: Stage) -> str:
    """The stage's node: in the scope of its layer, but for the loss and what follows it."""
    return stage.name if stage.kind in ("loss", "penalty") else f"layers.{stage.layer - 1}/{stage.name}"


def _leaves(architecture: Architecture, loss: str) -> dict[str, tuple[str, str, Shape]]:
    """(node, name in the state_dict, shape) by the name that stages read: data, parameters, masks."""
    sizes = architecture.sizes
    y = (BATCH,) if LOSSES[loss].target == "label" else (BATCH, sizes[-1])
    leaves: dict[str, tuple[str, str, Shape]] = {
        "x": ("x", "", (BATCH, sizes[0])),
        "y": ("y", "", y),
        "weights": ("weights", "", (BATCH,)),
    }
    for name, shape in (architecture.parameter_shapes() | architecture.buffer_shapes()).items():
        leaves[symbol(name)] = (f"layers.{name.split('.')[1]}/{symbol(name)}", name, shape)
    for i, size in enumerate(sizes[1:-1], start=1):
        leaves[f"mask{i}"] = (f"layers.{i - 1}/mask{i}", "", (BATCH, size))
    return leaves


def _node(name: str, op: str, says: str, inputs: Sequence[str], shape: Shape) -> NodeDef:
    dims = [TensorShapeProto.Dim(size=size) for size in shape]
    attributes = {"_output_shapes": AttrValue(list=AttrValue.ListValue(shape=[TensorShapeProto(dim=dims)]))}
    if says:  # `placeholder` is text; bytes would be shown with their signs as octal numbers
        attributes["name" if op == "parameter" else "formula"] = AttrValue(placeholder=says)
    return NodeDef(name=name, op=op, input=inputs, attr=attributes)
