"""The graph is the forward pass: a node a stage, an edge a read, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend import process_graph
from tensorboard.compat.proto.config_pb2 import RunMetadata

import manual
from manual.chain import forward_stages
from manual.structure.architecture import NORMALIZATIONS, Architecture, symbol
from manual.training.recipe import PLAIN, Recipe
from mlp_torch.board.graph import graph
from tests.problems import Problem


def nodes(summary):
    """The nodes by name, as TensorBoard reads them."""
    (value,) = summary.value
    (traced,) = RunMetadata.FromString(value.tensor.string_val[0]).function_graphs
    definition = traced.pre_optimization_graph
    process_graph.prepare_graph_for_ui(definition, limit_attr_size=1024, large_attrs_key="large")
    found = {node.name: node for node in definition.node}
    assert len(found) == len(definition.node)
    return found


def shape(node):
    return tuple(d.size for d in node.attr["_output_shapes"].list.shape[0].dim)


@st.composite
def networks(draw):
    sizes = draw(st.lists(st.integers(1, 9), min_size=2, max_size=14))
    activation = draw(st.sampled_from(list(manual.ACTIVATIONS)))
    normalization, dropout = draw(st.sampled_from(NORMALIZATIONS)), draw(st.sampled_from([0.0, 0.5]))
    return Architecture(tuple(sizes), activation, dropout=dropout, normalization=normalization)


@given(
    architecture=networks(), loss=st.sampled_from(list(manual.LOSSES)), training=st.booleans(),
    weighted=st.booleans(), recipe=st.sampled_from([PLAIN, Recipe(l1=0.1, l2=0.2)]),
)  # fmt: skip
def test_there_is_a_node_for_each_stage_and_an_edge_for_each_read(
    architecture, loss, training, weighted, recipe
):
    found = nodes(graph(architecture, loss, training=training, weighted=weighted, recipe=recipe))
    short = {name.split("/")[-1]: name for name in found}
    assert len(short) == len(found)
    stages = forward_stages(architecture, loss, "mean", training, weighted, recipe)
    for stage in stages:
        node = found[short[stage.name]]
        assert [name.split("/")[-1] for name in node.input] == list(stage.reads)
        assert set(node.input) <= set(found)
        assert node.op == (stage.row or stage.kind)
        assert node.attr["formula"].placeholder == stage.formula
    leaves = {name for stage in stages for name in stage.reads} - {stage.name for stage in stages}
    assert set(short) == leaves | {stage.name for stage in stages}


@pytest.mark.parametrize(
    "options", [{}, {"normalization": "batch_norm", "dropout": 0.5, "activation": "prelu"}]
)
def test_the_shapes_are_those_of_the_arrays(options):
    problem = Problem(11, (3, 7, 5), 0)
    model = problem.model(**options)
    trace = model.trace(*problem.batch("cross_entropy"), "cross_entropy")
    for name, node in nodes(graph(model.architecture, "cross_entropy")).items():
        known = trace[name.split("/")[-1]].shape
        assert tuple(11 if n == -1 else n for n in shape(node)) == known


def test_parameters_lie_in_their_layer_under_the_names_of_the_formulas():
    architecture = Architecture((4, 3, 2), "prelu", normalization="layer_norm")
    found = nodes(graph(architecture, "mse"))
    for name, size in architecture.parameter_shapes().items():
        node = found[f"layers.{name.split('.')[1]}/{symbol(name)}"]
        assert node.attr["name"].placeholder == name
        assert shape(node) == size
    assert {name.split("/")[0] for name in found} == {"x", "y", "loss", "layers.0", "layers.1"}


def test_another_network_has_another_graph():
    base = Architecture((4, 3, 2))
    texts = [
        graph(a, "mse").SerializeToString()
        for a in (
            base,
            Architecture((4, 3, 3, 2)),
            Architecture((4, 3, 2), "tanh"),
            Architecture((4, 3, 2), dropout=0.1),
        )
    ]
    assert len(set(texts)) == 4
