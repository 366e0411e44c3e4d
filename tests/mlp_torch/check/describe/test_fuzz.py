"""Whatever is handed over, the check gives a report or one line, never another exception."""

import itertools
import warnings

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlp_torch import Dropout, Layer, Penalty, check_gradients, check_step
from mlp_torch.check.describe.activations import FORMS
from mlp_torch.check.describe.losses import LOSSES
from mlp_torch.check.report import VERDICTS
from mlp_torch.errors import UserError

SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)
DTYPES = ("f8", "f4", "f2", "i8", "i1", "u1", "?", "O", "c16", "U3")
VALUES = ("normal", "zeros", "ones", "nan", "inf", "huge", "tiny")


@st.composite
def arrays(draw, shape=None):
    shape = draw(SHAPES) if shape is None or draw(st.integers(0, 12)) == 0 else shape
    kind = draw(st.sampled_from(VALUES)) if draw(st.integers(0, 3)) == 0 else "normal"
    r = np.random.default_rng(draw(st.integers(0, 99)))
    value = {
        "normal": r.normal(size=shape),
        "zeros": np.zeros(shape),
        "ones": np.ones(shape),
        "nan": np.where(r.normal(size=shape) > 0, np.nan, 1.0),
        "inf": np.where(r.normal(size=shape) > 0, np.inf, 1.0),
        "huge": 1e300 * r.normal(size=shape),
        "tiny": 1e-310 * r.normal(size=shape),
    }[kind]
    dtype = draw(st.sampled_from(DTYPES)) if draw(st.integers(0, 5)) == 0 else "f8"
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return np.asarray(value).astype(dtype)


ODD = st.sampled_from([None, 0, 1.5, "x", [], {}, (), object(), True, [1, "a"], {"W1": {}}, np.nan, b"x"])


@st.composite
def calls(draw):
    n, sizes = draw(st.integers(1, 4)), draw(st.lists(st.integers(1, 4), min_size=2, max_size=3))
    parameters, gradients = {}, {}
    for i, (a, b) in enumerate(itertools.pairwise(sizes), start=1):
        for name, shape in ((f"W{i}", (a, b)), (f"b{i}", (b,))):
            parameters[name], gradients[name] = draw(arrays(shape)), draw(arrays(shape))
    for held in (parameters, gradients):
        if draw(st.integers(0, 6)) == 0:
            held[draw(st.sampled_from(["W1", "b1", "W9", ""]))] = draw(arrays() | ODD)
        if draw(st.integers(0, 6)) == 0:
            held.pop("b1", None)
    if draw(st.booleans()):
        parameters, gradients = list(parameters.values()), list(gradients.values())
    depth = len(sizes) - 1
    names = st.sampled_from([*FORMS, "linear", "tahn"])
    options = {"loss": draw(st.sampled_from([*LOSSES])), "activations": [draw(names) for _ in range(depth)]}
    if draw(st.integers(0, 2)) == 0:
        del options["activations"]
        options["layers"] = [
            draw(
                st.sampled_from(
                    [Layer(f"W{i}", f"b{i}", "relu"), (f"W{i}", None, "tanh"), Layer(2 * i - 2, 2 * i - 1)]
                )
                | ODD
            )
            for i in range(1, depth + 1)
        ]
    extras = {
        "samples": st.sampled_from(["rows", "columns", "x", 3]),
        "weight_layout": st.sampled_from(["in,out", "out,in", ["in,out"], {}, 7, "y"]),
        "l2": st.sampled_from([0.1, Penalty(0.1), Penalty(per_array={"W1": 0.2}), "a", [1]]),
        "l1": st.sampled_from([0.1, np.nan, None]),
        "sample_weight": arrays((n,)),
        "output": arrays((n, sizes[-1])) | ODD,
        "loss_value": st.sampled_from([1.0, np.nan, np.inf, "a", [1.0], [1, 2], np.float32(2)]),
        "lr": st.sampled_from([0.1, 0, "a", np.inf]),
        "ones_in_x": st.booleans(),
        "reduction": st.sampled_from(["sum", "mean", 3, None]),
        "previous": arrays() | ODD,
    }
    for key, values in extras.items():
        if draw(st.integers(0, 9)) == 0:
            options[key] = draw(values)
    labels = st.sampled_from([np.zeros(n), np.zeros(n, int), np.ones((n, 1))])
    x = draw(arrays((n, sizes[0]))) if draw(st.integers(0, 19)) else draw(ODD)
    y = draw(arrays((n, sizes[-1])) | labels) if draw(st.integers(0, 19)) else draw(ODD)
    return parameters, gradients, x, y, options


def answers(check, *given, **options):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            report = check(*given, **options)
        except UserError as told:
            lines = str(told).splitlines()
        else:
            lines = [""]
            assert report.verdict in VERDICTS
            assert str(report)
            assert report.to_json()
    assert len(lines) == 1


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(calls())
def test_a_report_or_one_line(call):
    parameters, gradients, x, y, options = call
    answers(check_gradients, parameters, gradients, x, y, **options)
    options = {k: v for k, v in options.items() if k not in ("lr", "previous")}
    answers(check_step, parameters, gradients, 0.1, x, y, **options)


@settings(max_examples=60, deadline=None)
@given(ODD, ODD, ODD, ODD, ODD)
def test_layers_of_anything(weight, bias, activation, dropout, constants):
    P = {"W1": np.ones((2, 2)), "b1": np.ones(2)}
    for make in (
        lambda: Layer(weight, bias, "relu"),
        lambda: Layer("W1", "b1", activation),
        lambda: Layer("W1", "b1", "relu", dropout=dropout),
        lambda: Layer("W1", "b1", "elu", constants),
        lambda: Layer("W1", "b1", "elu", {"alpha": constants}),
        lambda: Layer("W1", bias_in_weight=activation),
        lambda: Layer("W1", "b1", weight_layout=activation),
        lambda: Layer("W1", "b1", "relu", dropout=Dropout(dropout, constants)),
    ):
        try:
            layer = make()
        except UserError:
            continue
        answers(check_gradients, P, P, np.ones((3, 2)), np.ones((3, 2)), layers=[layer], loss="squared_error")
