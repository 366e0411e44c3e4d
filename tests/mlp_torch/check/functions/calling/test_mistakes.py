"""What a person may get wrong in calling check_function: one line each, and what to write."""

import sys
import warnings

import numpy as np
import pytest
import torch

from mlp_torch import check_function
from mlp_torch.errors import UserError
from tests.mlp_torch.check.functions.calling import styles
from tests.mlp_torch.check.functions.calling.styles import P, X, Y, rule


def raising(p, x, y):
    z = x @ p["W1"].T
    return z.sum(), {}


def four(a, b, c, d):
    return 1.0, {}


def spread(weights_a, weights_b, bias_a, bias_b, x, y):
    return styles.core(weights_a, bias_a, weights_b, bias_b, x, y)


def of(change):
    return lambda p, x, y: change(*rule(p, x, y))


def drops(loss, g):
    return loss, {n: v for n, v in g.items() if n != "b1"}


def generator(p, x, y):
    yield 1.0


def without(x, y):
    return 1.0, {}


def in_torch(p, x, y):
    return torch.tanh(x @ p).sum(), {}


@pytest.mark.parametrize(
    ("function", "given", "words"),
    [
        (raising, (P, X, Y), ["raised ValueError", "at test_mistakes.py:", "in raising: `z = x @ p["]),
        (lambda p, x, y: p["W"], (P, X, Y), ["raised KeyError: 'W' at test_mistakes.py:"]),
        (lambda p, x, y: sys.exit("done"), (P, X, Y), ["called sys.exit('done')"]),
        (lambda p, x, y: 1 / 0, (P, X, Y), ["raised ZeroDivisionError"]),
        (four, (P, X, Y), ["four(a, b, c, d) cannot be called with parameters, x, y; write"]),
        (rule, (P,), ["cannot be called with parameters; write check_function(lambda p: rule(p, x, y)"]),
        (rule, (X, Y, P), ["the parameters come first: check_function(f, parameters, x, y)"]),
        (spread, ({"W1": P["W1"], "b1": P["b1"], "W2": P["W2"], "b2": P["b2"]}, X, Y),
         ["tried spread(W1, b1, W2, b2, x, y), spread(x, y, W1, ", "write check_function(lambda"]),
        (of(lambda v, g: None), (P, X, Y), ["it returns None: is its `return` missing?"]),
        (of(lambda v, g: v), (P, X, Y), ["it returns the loss alone"]),
        (of(lambda v, g: g), (P, X, Y), ["it returns a dict of W1, b1, W2, b2, and no loss"]),
        (of(lambda v, g: list(g.values())), (P, X, Y), ["no number is among the 4 things"]),
        (of(lambda v, g: (np.ones(6), g)), (P, X, Y), ["the loss has shape (6,)", ".sum() or .mean()"]),
        (of(lambda v, g: ("0.3", g)), (P, X, Y), ["the loss is a str"]),
        (of(lambda v, g: (v, {})), (P, X, Y), ["the gradients are an empty dict"]),
        (of(drops), (P, X, Y), ["no gradient for b1"]),
        (of(lambda v, g: (v, {**g, "W9": g["W1"]})), (P, X, Y), ["W9 is the name of no parameter"]),
        (of(lambda v, g: (v, {**g, "W1": [[1.0], [2.0, 3.0]]})), (P, X, Y), ["gradients: W1"]),
        (generator, (P, X, Y), ["it returns a generator"]),
        (without, (P, X, Y), ["without(x, y) takes no parameters"]),
        (3, (P, X, Y), ["f is a int, no function"]),
        (rule, ({}, X, Y), ["parameters: a dict without any array"]),
        (rule, ("W1", X, Y), ["parameters: a str without any array"]),
        (rule, (P, X, (i for i in Y)), ["cannot be copied for every call"]),
        (in_torch, (torch.tensor(P["W1"]), torch.tensor(X), Y), ["check_autograd_function"]),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_says_what_to_do(function, given, words):
    with pytest.raises(UserError) as told:
        check_function(function, *given)
    assert "\n" not in str(told.value)
    for part in words:
        assert part in str(told.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"regg": 0.1},
            ["regg= is unknown: did you mean reg?", "takes params, x, y, reg, lr", "layers,"],
        ),
        ({"verbose": True}, ["verbose= is unknown: with_reg_default takes"]),
        ({"activations": ["tanh"]}, ["a description needs layers= or activations=, and loss="]),
    ],
)
def test_an_unknown_keyword_names_the_functions_own_and_the_descriptions(options, words):
    with pytest.raises(UserError) as told:
        check_function(styles.with_reg_default, P, X, Y, **options)
    assert "\n" not in str(told.value)
    for part in words:
        assert part in str(told.value)


def test_prints_and_warnings_are_heard_once_and_reach_nobody(capfd, recwarn):
    def talkative(p, x, y):
        print("epoch", 1, "\nloss", 0.5)
        print("z" * 300, file=sys.stderr)
        warnings.warn("careful", stacklevel=1)
        np.log(np.zeros(1))
        return rule(p, x, y)

    report = check_function(talkative, P, X, Y)
    assert report.verdict == "right"
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
    printed = [n for n in report.notes if "your function printed: epoch 1 loss 0.5 zzz" in n]
    assert len(printed) == 1
    assert len(printed[0]) < 140
    assert any("your function warned: UserWarning: careful at test_mistakes.py" in n for n in report.notes)
    assert any("(and 1 more)" in n for n in report.notes)


def test_an_interrupt_is_not_swallowed():
    def interrupted(p, x, y):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_function(interrupted, P, X, Y)


def test_tensors_are_handed_over_as_arrays():
    tensors = {n: torch.tensor(v) for n, v in P.items()}
    assert check_function(rule, tensors, torch.tensor(X), torch.tensor(Y)).verdict == "right"
