"""A check's report as it is read from above: the verdict, the guilty line, what else it may be, the table."""

from dataclasses import replace

import numpy as np

from mlp_torch import check_function, check_gradients
from mlp_torch.check.report import HEAD, CheckReport, Fault
from tests.mlp_torch.test_html import Reader


def squares(p, x, y):
    """A line through the data; its gradient has a slip."""
    e = x @ p["w"] - y
    return (e**2).mean(), {"w": x.T @ e / len(y)}


def found() -> CheckReport:
    rng = np.random.default_rng(0)
    report = check_function(squares, {"w": rng.normal(size=3)}, rng.normal(size=(7, 3)), rng.normal(size=7))
    other = Fault("wrong_layer", 1, ("w",), "another fault", "its evidence")
    message = f"{report.message}\nor: something else [sign]."
    return replace(report, message=message, alternatives=[[other]], notes=("note: by the way",))


def places(text: str, *parts: str) -> list[int]:
    assert all(part in text for part in parts), text
    return [text.index(part) for part in parts]


def test_the_verdict_and_the_guilty_line_stand_first_the_table_second_the_notes_last():
    report = found()
    text = str(report)
    line = report.lines[0]
    first = text.splitlines()[0]
    assert first.startswith("scaled: ")
    assert first.endswith("seen)")  # how it was judged belongs to the verdict, not to what else it may be
    assert text.splitlines()[1] == line.where
    table = "array  shape"
    order = places(text, "scaled: ", line.where, "mends it:", "or: something else", table, "note: by the way")
    assert order == sorted(order)


def test_in_a_notebook_the_order_is_the_same():
    report = found()
    text = "\n".join(Reader(report._repr_html_()).texts)
    order = places(text, "scaled", report.lines[0].where, "or: something else", HEAD[-1], "note: by the way")
    assert order == sorted(order)


def test_faults_that_the_message_does_not_tell_stand_above_the_table_too():
    fault = Fault("sign", 2, ("W2",), "has the wrong sign", "dW2 = −true")
    report = replace(found(), message="unexplained", faults=[fault], lines=())
    order = places(str(report), "scaled: unexplained", "sign at layer 2: dW2 = −true", "array  shape")
    assert order == sorted(order)


def test_a_verdict_without_a_message_stands_alone():
    report = CheckReport("right", {})
    assert str(report) == "right"


def test_a_right_report_says_so_before_its_table():
    x, y, w = np.eye(3), np.ones(3), np.ones((3, 1))
    report = check_gradients(
        {"W": w}, {"W": np.zeros((3, 1))}, x, y + 0.0, activations=["identity"], loss="squared_error"
    )
    first, *rest = str(report).splitlines()
    assert first.startswith(f"{report.verdict}: ")
    assert rest[0].startswith("array")
