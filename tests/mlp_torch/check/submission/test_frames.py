"""What goes through the pipe comes out as it went in; what is no frame is refused, and nothing is run."""

import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlp_torch import Dropout, Layer, Penalty
from mlp_torch.check.lines.line import GuiltyLine
from mlp_torch.check.report import ArrayRow, CheckReport, Fault
from mlp_torch.check.submission.frames import MOST, FrameError, pack, receive

NUMBERS = arrays(st.sampled_from(["f8", "f4", "i8", "u1", "?", "c16", ">f8", "U3"]), st.sampled_from(
    [(), (0,), (3,), (2, 0), (2, 3)]))  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | NUMBERS,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
ROW = ArrayRow("W", "wrong", (2, 3), (0, 1), 1.5, math.nan, -1.0, math.inf, 0.1, 1e-300)
LINE = GuiltyLine("net.py", 3, 4, "f", "a = b", "", "has", ("W",), True, "a = -b", (), 9, 2, 0.0)
REPORT = CheckReport("wrong", {"W": ROW}, [Fault("sign", 1, ("W",), "sign", "seen")], [[]], "W", ("note",), 1,
                     "autograd", 1e-12, {"forward": "ran"}, (LINE,))  # fmt: skip


def through(value):
    return receive(io.BytesIO(pack(value)).read)


def same(a, b):
    if isinstance(a, np.ndarray | np.generic):
        return (
            type(a) is type(b) and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
        )
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))


@given(VALUES)
def test_values_come_out_as_they_went_in(value):
    assert same(value, through(value))


def test_reports_and_descriptions_come_out_as_they_went_in():
    found = through(REPORT)
    assert str(found) == str(REPORT)
    assert found.to_json() == REPORT.to_json()
    layer = Layer("W", "b", "relu", dropout=Dropout(0.5, np.ones((2, 2))))
    assert repr(through([layer, Penalty(0.1)])) == repr([layer, Penalty(0.1)])


@pytest.mark.parametrize("value", [print, object(), {1, 2}, b"x", np.array([None]), np.zeros(2, "i4,f8")])
def test_what_is_no_value_is_not_sent(value):
    with pytest.raises(FrameError):
        pack({"a": [value]})


@settings(max_examples=200)
@given(st.data())
def test_a_changed_frame_is_refused_or_read_and_never_more(data):
    frame = bytearray(pack({"report": REPORT, "arrays": {"W": np.ones((2, 3))}}))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    stream = io.BytesIO(frame)
    try:
        receive(stream.read)
    except (FrameError, EOFError):
        return


@pytest.mark.parametrize(
    "text",
    ['{"record": "Path", "fields": {"dict": []}}', '{"array": "O", "shape": [1], "at": 0, "number": false}',
     '{"array": "f8", "shape": [1000000000000], "at": 0, "number": false}', "[1]", "{}", "[" * 100000,
     '{"array": "f8", "shape": [-1], "at": 0, "number": false}', '{"dict": [[1]]}', '{"dict": 3}', "nonsense",
     '{"array": "f8", "shape": [1], "at": -8, "number": false}'],
)  # fmt: skip
def test_a_frame_that_asks_for_more_is_refused(text):
    head = text.encode()
    frame = (8 + len(head)).to_bytes(8, "big") + len(head).to_bytes(8, "big") + head
    with pytest.raises(FrameError):
        receive(io.BytesIO(frame).read)


def test_a_frame_of_more_than_is_allowed_is_not_read():
    with pytest.raises(FrameError, match="bytes"):
        receive(io.BytesIO((MOST + 1).to_bytes(8, "big") + bytes(100)).read)
