"""check_function understands the orders, results and parameters of real code, and sees what is wrong."""

import pytest

from mlp_torch import check_function
from tests.mlp_torch.check.calling.styles import ORDERS, PARAMETERS, RESULTS, P, X, Y


@pytest.mark.parametrize("style", ORDERS)
def test_the_order_of_the_arguments_is_found(style):
    function, parameters, data, keywords = ORDERS[style]
    report = check_function(function, parameters, *data, **keywords)
    assert report.verdict == "right", str(report)
    assert "wrap_numpy" in report.method


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
