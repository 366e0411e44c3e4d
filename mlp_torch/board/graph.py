"""The network as a graph for TensorBoard's Graphs: a node a stage of the forward pass, an edge a read.

The nodes are the rows of `manual.chain.forward_stages` under their own names, z1, a1, …, loss, and what
they start from; a layer's are in one scope with its parameters, which bear the names of the state_dict:
layers.0 holds z1, a1, weight and bias. The formula of a stage is among its attributes.
"""

import math

from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.versions_pb2 import VersionDef

from manual.architecture import Architecture
from manual.chain import forward_stages, symbol
from manual.losses import LOSSES, Reduction
from manual.recipe import PLAIN, Recipe
from manual.trace import Stage

BATCH = -1  # the samples of a batch, however many: TensorBoard draws ?
Shape = tuple[int, ...]


def graph(
    architecture: Architecture,
    loss: str,
    *,
    reduction: Reduction = "mean",
    training: bool = True,
    weighted: bool = False,
    recipe: Recipe = PLAIN,
) -> bytes:
    """The forward pass as a serialized GraphDef: what `Event.graph_def` takes.

    `weighted`: the loss reads sample weights; `recipe`: with penalties the objective is a stage more.
    """
    stages = forward_stages(architecture, loss, reduction, training, weighted, recipe)
    names, shapes = _leaves(architecture, loss)
    read = {name for stage in stages for name in stage.reads}
    nodes = [_node(names[leaf], *_kind(leaf), (), shapes[leaf]) for leaf in names if leaf in read]
    for stage in stages:
        names[stage.name] = _place(stage)
        size = () if stage.kind in ("loss", "penalty") else (BATCH, architecture.sizes[stage.layer])
        inputs = tuple(names[name] for name in stage.reads)
        nodes.append(_node(names[stage.name], stage.row or stage.kind, stage.formula, inputs, size))
    definition: bytes = GraphDef(node=nodes, versions=VersionDef(producer=22)).SerializeToString()
    return definition


def _place(stage: Stage) -> str:
    """The stage's node: in the scope of its layer, but for the loss and what follows it."""
    return stage.name if stage.kind in ("loss", "penalty") else f"layers.{stage.layer - 1}/{stage.name}"


def _leaves(architecture: Architecture, loss: str) -> tuple[dict[str, str], dict[str, Shape]]:
    """(node, shape) by the name that stages read: data, parameters and buffers, masks."""
    sizes = architecture.sizes
    labels = LOSSES[loss].target == "label"
    names = {"x": "x", "y": "y", "weights": "sample_weights"}
    shapes: dict[str, Shape] = {
        "x": (BATCH, sizes[0]),
        "y": (BATCH,) if labels else (BATCH, sizes[-1]),
        "weights": (BATCH,),
    }
    for parameter, shape in (architecture.parameter_shapes() | architecture.buffer_shapes()).items():
        part, index, kind = parameter.split(".")
        inner = kind if part == "layers" else f"{part}.{kind}"
        names[symbol(parameter)] = f"layers.{index}/{inner}"
        shapes[symbol(parameter)] = shape
    for i, size in enumerate(sizes[1:-1], start=1):
        names[f"mask{i}"] = f"layers.{i - 1}/mask{i}"
        shapes[f"mask{i}"] = (BATCH, size)
    return names, shapes


def _kind(leaf: str) -> tuple[str, str]:
    """(what the node is, in TensorFlow's word where it has one; what it is called in the formulas)."""
    data = leaf in ("x", "y", "weights") or leaf.startswith("mask")
    return ("Placeholder" if data else "Parameter"), leaf


def _node(name: str, op: str, formula: str, inputs: tuple[str, ...], shape: Shape) -> NodeDef:
    dims = [TensorShapeProto.Dim(size=size) for size in shape]
    attributes = {
        "formula": AttrValue(s=formula.encode()),
        "_output_shapes": AttrValue(list=AttrValue.ListValue(shape=[TensorShapeProto(dim=dims)])),
    }
    if op == "Parameter":
        attributes["entries"] = AttrValue(i=math.prod(shape))
    return NodeDef(name=name, op=op, input=inputs, attr=attributes)
