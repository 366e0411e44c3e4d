"""`mlp explain` shows something: which sample and which entry are chosen where none is named."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from mlp_torch.__main__ import main
from mlp_torch.explanation.choice import choose
from mlp_torch.explanation.config import Explain
from mlp_torch.explanation.source import our_trace, source, traces

# ---- what is chosen --------------------------------------------------------------------------------


def chosen(**flags):
    found = source(Explain(**flags))
    return choose(found), found


@pytest.mark.parametrize("data", ["xor", "moons", "digits", "iris"])
@pytest.mark.parametrize("more", [{}, {"hidden": (3,)}, {"hidden": (1, 1), "activation": "sigmoid"}])
def test_with_nothing_named_the_entry_is_not_0_and_the_title_says_which_and_why(data, more, capsys):
    flags = [f"--{k} {' '.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in more.items()]
    assert main(f"explain --data {data} --json {' '.join(flags)}".split()) == 0
    table = json.loads(capsys.readouterr().out)
    assert abs(table["product"]) > 1e-8
    assert re.search(
        r"sample \d+ of .*; chosen: the largest entry of \S+( over the first \d+ samples|, )", table["title"]
    )


def test_the_sample_is_the_one_of_the_largest_entry_among_the_first_and_always_the_same():
    choice, found = chosen(data="moons", hidden=(5,))
    largest = [
        np.abs(our_trace(replace(found, config=replace(found.config, sample=i)))["dW1"]).max()
        for i in range(16)
    ]
    assert choice.found.config.sample == int(np.argmax(largest))
    assert chosen(data="moons", hidden=(5,))[0].index == choice.index


def test_where_the_sample_is_named_the_parameter_is_chosen_for_it():
    choice, _ = chosen(data="xor", hidden=(3,), activation="tanh", sample=0)  # its inputs are 0
    assert choice.found.config.sample == 0
    assert choice.parameter == "layers.0.bias"
    assert "the first parameter whose gradient is not 0" in choice.why
    assert our_trace(choice.found).gradients["layers.0.bias"][choice.index] != 0


def test_where_the_entry_is_named_the_sample_is_chosen_for_it():
    choice, _ = chosen(data="xor", hidden=(3,), activation="tanh", parameter="layers.0.weight[0,0]")
    assert (choice.parameter, choice.index) == ("layers.0.weight", (0, 0))
    assert choice.found.config.sample in (2, 3)  # of the others the input is 0
    assert "chosen: the sample of the largest such entry over the first 4 samples" in choice.why


def test_where_both_are_named_nothing_is_chosen():
    choice, _ = chosen(data="xor", hidden=(3,), sample=0, parameter="layers.0.weight[0,0]")
    assert (choice.found.config.sample, choice.index, choice.why) == (0, (0, 0), "")


@pytest.mark.parametrize(
    ("parameter", "says"),
    [
        (None, "the largest entry of layers.1.bias, the first parameter whose gradient is not 0"),
        ("layers.0.weight", "layers.0.weight is 0 over the first 4 samples"),
        ("layers.0.weight[1,1]", "this entry is 0 over the first 4 samples"),
    ],
)
def test_a_dead_layer_is_said_to_be_dead(parameter, says):
    found = source(Explain(data="xor", hidden=(3,), parameter=parameter))
    found.model.parameters["layers.0.bias"] -= 100  # relu is off for every sample
    assert says in choose(found).why


@pytest.mark.parametrize("normalization", ["none", "batch_norm"])
def test_the_masks_that_a_sample_is_chosen_by_are_those_it_is_explained_with(normalization):
    flags = {"data": "moons", "hidden": (4, 3), "dropout": 0.5, "normalization": normalization}
    choice, _ = chosen(**flags)
    before = our_trace(choice.found)
    ours, theirs = traces(choice.found)
    assert np.array_equal(before["mask1"], ours["mask1"])
    assert np.array_equal(before["dW1"], ours["dW1"])
    assert ours.gradients[choice.parameter][choice.index] != 0 or not ours["dW1"].any()
    assert np.allclose(theirs["dW1"], ours["dW1"])


# ---- where a gradient dies that is not shown -------------------------------------------------------


@pytest.mark.parametrize("flags", ["--data moons", "--data digits --hidden 8 5", "--data xor"])
def test_with_nothing_named_the_last_line_names_an_entry_that_dies_and_it_does(flags, capsys):
    assert main(["explain", *flags.split()]) == 0
    said = capsys.readouterr().out
    assert "kills it" not in said
    last = said.splitlines()[-1]
    assert last.startswith("a gradient dies elsewhere: relu is off in ")
    sample, name = re.search(r"to see one: --sample (\d+) --parameter '(\S+)'$", last).groups()
    assert main(["explain", *flags.split(), "--sample", sample, "--parameter", name]) == 0
    named = capsys.readouterr().out
    assert "this factor kills it: relu is off at z" in named.splitlines()[2]
    assert "elsewhere" not in named


def test_where_nothing_dies_nothing_is_said_of_it(capsys):
    for flags in ("--data line --hidden", "--data moons --hidden 3 --activation softplus"):
        assert main(["explain", *flags.split()]) == 0
        assert "elsewhere" not in capsys.readouterr().out
