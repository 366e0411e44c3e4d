"""The pytest plugin: the fixture `gradient_check` for teachers' autograders."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def gradient_check() -> Callable[..., Any]:
    """`gradient_check(parameters, gradients, x, y, …)` or `gradient_check(function, parameters, x, y, …)`.

    Takes what `check_gradients` or, where the first argument is callable, `check_function` takes; fails the
    test with the whole report unless the verdict is right, and returns the report.
    """

    def check(first: Any, *rest: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        if callable(first):
            from mlp_torch.check.functions.function import check_function

            report = check_function(first, *rest, **options)
        else:
            from mlp_torch.check.gradients import check_gradients

            report = check_gradients(first, *rest, **options)
        if not report.passed:
            pytest.fail(str(report), pytrace=False)
        return report

    return check
