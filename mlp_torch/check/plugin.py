"""The pytest plugin: the fixture `gradient_check` for autograders; nothing is imported until it is used."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def gradient_check() -> Callable[..., Any]:
    """`gradient_check(parameters, gradients, x, y, …)` or `gradient_check(function, parameters, x, y, …)`.

    Takes what `check_gradients` or, where the first argument is a function or an object with methods,
    `check_function` takes. Fails the test unless the verdict is right, with the verdict and its sentence
    first and the table below, and also where the call itself is a mistake; returns the report.
    """

    def check(first: Any, *rest: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        from mlp_torch.errors import UserError

        try:
            report = _judge(first)(first, *rest, **options)
        except UserError as error:
            pytest.fail(f"the gradients cannot be checked: {error}", pytrace=False)
        if not report.passed:
            pytest.fail(str(report), pytrace=False)
        return report

    return check


def _judge(first: Any) -> Callable[..., Any]:
    """check_function for what can be called, check_gradients for arrays."""
    from mlp_torch.check.functions.calling.objects import is_net

    if callable(first) or is_net(first):
        from mlp_torch.check.functions.function import check_function

        return check_function
    from mlp_torch.check.gradients import check_gradients

    return check_gradients
