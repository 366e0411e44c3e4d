"""check_function understands the orders, results and parameters of real code, and sees what is wrong."""

import pytest

from mlp_torch import Layer, check_function
from tests.mlp_torch.check.functions.calling import styles
from tests.mlp_torch.check.functions.calling.styles import (
    B1,
    B2,
    ORDERS,
    PARAMETERS,
    RESULTS,
    W1,
    W2,
    P,
    X,
    Y,
)


@pytest.mark.parametrize("style", ORDERS)
def test_the_order_of_the_arguments_is_found(style):
    function, parameters, data, keywords = ORDERS[style]
    report = check_function(function, parameters, *data, **keywords)
    assert report.verdict == "right", str(report)
    assert "autograd" in report.method


@pytest.mark.parametrize("style", RESULTS)
def test_the_form_of_the_result_is_found(style):
    report = check_function(RESULTS[style], P, X, Y)
    assert report.verdict == "right", str(report)


@pytest.mark.parametrize("style", PARAMETERS)
def test_the_parameters_are_found_and_named(style):
    parameters, function, names = PARAMETERS[style]
    report = check_function(function, parameters, X, Y)
    assert report.verdict == "right", str(report)
    assert list(report.arrays) == names


@pytest.mark.parametrize("table", ["ORDERS", "RESULTS", "PARAMETERS"])
def test_a_wrong_gradient_stays_wrong_in_every_style(table, monkeypatch):
    right = styles.core

    def core(*args):
        loss, g = right(*args)
        return loss, [2 * g[0], *g[1:]]

    monkeypatch.setattr(styles, "core", core)
    for style, given in getattr(styles, table).items():
        if table == "ORDERS":
            function, parameters, data, keywords = given
        else:
            function, parameters = (given, P) if table == "RESULTS" else (given[1], given[0])
            data, keywords = (X, Y), {}
        report = check_function(function, parameters, *data, timeout=0.01, **keywords)
        assert report.verdict == "wrong", f"{style}\n{report}"
        faulty = [n for n, row in report.arrays.items() if row.verdict != "right"]
        assert len(faulty) == 1, f"{style}\n{report}"
        assert f"d{faulty[0]}" in str(report).splitlines()[0] or style == "one vector", f"{style}\n{report}"


@pytest.mark.parametrize("names", [(0, 1, 2, 3), ("w1", "c1", "w2", "c2")])
def test_a_description_of_a_list_names_its_members_by_number_or_by_the_functions_names(names):
    def unpacking(params, x, y):
        w1, c1, w2, c2 = params
        loss, g = styles.core(w1, c1, w2, c2, x, y)
        return loss, [2 * g[0], *g[1:]]

    layers = [Layer(names[0], names[1], "tanh"), Layer(names[2], names[3])]
    report = check_function(unpacking, [W1, B1, W2, B2], X, Y, layers=layers, loss="mse")
    assert [(f.kind, f.arrays) for f in report.faults] == [("constant_factor", ("w1",))], str(report)
    assert "d0" not in str(report)
    assert "gradient[" not in str(report)


def test_a_name_that_both_know_is_the_functions_own():
    def with_loss(params, x, y, loss="mse", l2=0.0):
        assert loss == "theirs"
        return styles.with_reg(params, x, y, l2)

    assert check_function(with_loss, P, X, Y, loss="theirs", l2=0.1).verdict == "right"


def test_a_name_whose_place_is_taken_describes():
    def with_lr(params, x, y, lr):
        return styles.rule(params, x, y)

    options = {"activations": ["tanh", "identity"], "loss": "mse", "lr": 0.1}
    assert check_function(with_lr, P, X, Y, 0.1, **options).verdict == "right"


def test_a_constant_among_the_parameters_is_said():
    report = check_function(styles.of_constants, {**P, "reg": 0.1}, X, Y)
    assert "note: reg has no gradient and was taken for a constant" in report.notes


def test_an_order_and_a_form_that_are_not_the_rule_are_said():
    assert "note: your function was called as data_first(x, y, parameters)" in str(
        check_function(styles.data_first, P, X, Y)
    )
    report = check_function(RESULTS["{'loss', 'grads'}"], P, X, Y)
    assert "note: your function's result was read as: ['loss'] and ['grads']" in report.notes
    assert not any("read as" in n or "called as" in n for n in check_function(styles.rule, P, X, Y).notes)


def test_what_a_call_replaces_in_a_list_is_a_change():
    def steps(params, x, y):
        loss, g = styles.core(*params, x, y)
        params[0] = params[0] - 0.1 * g[0]
        return loss, g

    report = check_function(steps, [W1, B1, W2, B2], X, Y)
    assert [f.kind for f in report.faults] == ["mutated_input"]
