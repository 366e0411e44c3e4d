"""check_function, the command and the fixture, on small authors' code."""

import json

import numpy as np
import pytest

from mlp_torch import check_function
from mlp_torch.__main__ import main

STUDENT = """
import numpy as np

def loss_and_gradients(params, x, y):
    a = np.tanh(x @ params["W1"] + params["b1"])
    z = a @ params["W2"] + params["b2"]
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    n = x.shape[0]
    loss = -np.log(p[np.arange(n), y]).mean()
    d = p.copy()
    d[np.arange(n), y] -= 1
    d = d / n
    gradients = {"W2": a.T @ d, "b2": d.sum(axis=0)}
    d = d @ params["W2"].T * (1 - a**2)
    gradients["W1"], gradients["b1"] = x.T @ d, d.sum(axis=0)
    return loss, gradients

r = np.random.default_rng(0)
shapes = {"W1": (4, 5), "b1": (5,), "W2": (5, 3), "b2": (3,)}
parameters = {name: r.normal(size=shape) for name, shape in shapes.items()}
x, y = r.normal(size=(6, 4)), r.integers(0, 3, 6)
"""
space: dict = {}
exec(STUDENT, space)
loss_and_gradients, P, x, y = (space[k] for k in ("loss_and_gradients", "parameters", "x", "y"))


def test_a_right_function_is_right_by_autograd():
    report = check_function(loss_and_gradients, P, x, y)
    assert report.verdict == "right", str(report)
    assert "autograd of your own forward pass" in report.method
    assert report.resolution < 1e-11


def test_a_method_of_a_class_that_holds_its_parameters():
    class Net:
        def __init__(self):
            self.params = {k: v.copy() for k, v in P.items()}

        def backward(self, x, y):
            return loss_and_gradients(self.params, x, y)

    net = Net()
    assert check_function(net.backward, net.params, x, y).verdict == "right"


def test_the_methods_attributes_are_the_parameters():
    class Line:
        def __init__(self):
            self.w, self.b = np.array([0.3, -0.2, 0.5, 0.1]), 0.2

        def step(self, x, t):
            e = x @ self.w + self.b - t
            return (e**2).mean(), {"w": 2 * x.T @ e / len(t), "b": e.mean()}

    line = Line()
    report = check_function(line.step, {"w": line.w, "b": line.b}, x, np.arange(6.0))
    assert [(f.kind, f.arrays) for f in report.faults] == [("constant_factor", ("b",))]


def broken(change):
    def function(params, x, y):
        loss, gradients = loss_and_gradients(params, x, y)
        change(gradients, params, x)
        return loss, gradients

    return function


@pytest.mark.parametrize(
    ("change", "kind", "verdict"),
    [
        (lambda g, p, x: g.update(W1=6 * g["W1"]), "constant_factor", "wrong"),
        (lambda g, p, x: g.update({k: -v for k, v in g.items()}), "sign", "wrong"),
        (lambda g, p, x: g.update({k: 6 * v for k, v in g.items()}), "constant_factor", "scaled"),
        (lambda g, p, x: g.update(W2=0 * g["W2"]), "zero_gradient", "wrong"),
        (lambda g, p, x: x.__isub__(1), "mutated_input", "wrong"),
        (lambda g, p, x: p["b1"].__iadd__(1), "mutated_input", "wrong"),
    ],
)
def test_what_a_function_shows_on_its_own(change, kind, verdict):
    report = check_function(broken(change), P, x, y)
    assert (report.verdict, [f.kind for f in report.faults]) == (verdict, [kind]), str(report)


def test_a_sum_that_is_not_reset_is_stale():
    total: dict = {}

    def function(params, x, y):
        loss, gradients = loss_and_gradients(params, x, y)
        for name, g in gradients.items():
            total[name] = total.get(name, 0) + g
        return loss, {name: g.copy() for name, g in total.items()}

    report = check_function(function, P, x, y)
    assert [f.kind for f in report.faults] == ["stale_gradient"]


def test_a_description_names_the_factor():
    def function(params, x, y):
        loss, gradients = loss_and_gradients(params, x, y)
        a = np.tanh(x @ params["W1"] + params["b1"])
        z = a @ params["W2"] + params["b2"]
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        d = (p - np.eye(3)[y]) / 6 @ params["W2"].T
        return loss, {**gradients, "W1": x.T @ d, "b1": d.sum(axis=0)}

    report = check_function(function, P, x, y, activations=["tanh", "softmax"], loss="cross_entropy")
    assert [(f.kind, f.layer) for f in report.faults] == [("missing_activation_derivative", 1)]


def test_a_right_gradient_of_a_wrong_loss_is_told_apart():
    def function(params, x, y):
        loss, gradients = loss_and_gradients(params, x, y)
        return loss * 1.7, {name: 1.7 * g for name, g in gradients.items()}

    report = check_function(function, P, x, y, activations=["tanh", "softmax"], loss="cross_entropy")
    assert report.verdict != "right"
    assert any("your own loss" in note for note in report.notes)


@pytest.mark.parametrize("hide", ["complex step", "Richardson"])
def test_untraceable_code_is_differentiated_numerically(hide):
    def function(params, x, t):
        w = params["w"]
        o = x @ w
        out = np.frombuffer(o.tobytes(), o.dtype)  # no graph goes through bytes
        e = (np.array([float(v) for v in out]) if hide == "Richardson" else out) - t
        return (e**2).mean(), {"w": 2 * x.T @ np.real(e) / len(t)}

    report = check_function(function, {"w": np.array([0.3, -0.2, 0.5, 0.1])}, x, np.arange(6.0))
    assert report.verdict == "right", str(report)
    assert hide in report.method


@pytest.fixture
def files(tmp_path):
    loss, gradients = loss_and_gradients(P, x, y)
    named = {f"d{k}": v for k, v in gradients.items()}
    np.savez(tmp_path / "good.npz", x=x, y=y, loss=loss, **P, **named)
    np.savez(tmp_path / "bad.npz", x=x, y=y, **P, **{**named, "dW1": 6 * named["dW1"]})
    np.savez(tmp_path / "step.npz", x=x, y=y, **P, **{f"{k}_after": P[k] - 0.1 * gradients[k] for k in P})
    np.savez(tmp_path / "forward.npz", x=x, y=y, output=np.ones((6, 3)), **P, **named)
    (tmp_path / "student.py").write_text(STUDENT)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "flags", "code"),
    [
        ("good.npz", [], 0),
        ("bad.npz", [], 1),
        ("forward.npz", [], 2),
        ("step.npz", ["--lr", "0.1"], 0),
        ("step.npz", [], 2),
        ("none.npz", [], 2),
    ],
)
def test_mlp_check_reads_arrays(files, capsys, file, flags, code):
    given = [
        str(files / file),
        "--activations",
        "tanh",
        "softmax",
        "--loss",
        "cross_entropy",
        "--json",
        *flags,
    ]
    assert main(["check", *given]) == code
    said = capsys.readouterr().out
    if said:
        assert json.loads(said)["verdict"] in ("right", "wrong", "not_comparable")


def test_mlp_check_runs_a_function_of_a_file(files, capsys):
    assert main(["check", f"{files / 'student.py'}:loss_and_gradients"]) == 0
    assert "right" in capsys.readouterr().out


def test_the_fixture_passes_and_fails(gradient_check):
    _, gradients = loss_and_gradients(P, x, y)
    gradient_check(P, gradients, x, y, activations=["tanh", "softmax"], loss="cross_entropy")
    wrong = {**gradients, "W1": 6 * gradients["W1"]}
    with pytest.raises(pytest.fail.Exception, match="constant_factor"):
        gradient_check(P, wrong, x, y, activations=["tanh", "softmax"], loss="cross_entropy")
