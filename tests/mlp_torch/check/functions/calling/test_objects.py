"""Objects: their methods are found where that is unambiguous, and else the error says what to write."""

import functools

import numpy as np
import pytest

from mlp_torch import check_function
from mlp_torch.errors import UserError
from tests.mlp_torch.check.functions.calling.nets import NETS, Course, Sequential, Stores
from tests.mlp_torch.check.functions.calling.styles import P, X, Y, rule


@pytest.mark.parametrize("name", NETS)
def test_an_object_is_judged_by_its_own_methods(name):
    net = NETS[name]()
    before = repr(vars(net))
    report = check_function(net, X, Y)
    assert report.verdict == "right", str(report)
    assert len(report.arrays) == 4
    assert any("was called as" in note for note in report.notes)
    assert repr(vars(net)) == before


@pytest.mark.parametrize("name", NETS)
def test_an_objects_wrong_gradient_is_wrong(name):
    class Wrong(NETS[name]):
        """One weight's gradient is doubled, wherever it is made."""

    def doubled(method):
        @functools.wraps(method)
        def call(self, *args, **named):
            given = method(self, *args, **named)
            for holder in (self, *getattr(self, "layers", [])[:1]):
                for attribute in ("dW1", "dW"):
                    if isinstance(getattr(holder, attribute, None), np.ndarray):
                        setattr(holder, attribute, 2 * getattr(holder, attribute))
            for found in (given, getattr(self, "grads", None), *(given if isinstance(given, tuple) else ())):
                if isinstance(found, dict):
                    key = "W1" if "W1" in found else "dW1"
                    found[key] = 2 * found[key]
            if hasattr(self, "grad_weights"):
                self.grad_weights[0] = 2 * self.grad_weights[0]
            return given

        return call

    for method in ("backward", "loss_and_gradients", "loss"):
        if callable(getattr(Wrong, method, None)) and (method != "loss" or not hasattr(Wrong, "backward")):
            setattr(Wrong, method, doubled(getattr(Wrong, method)))
            break
    report = check_function(Wrong(), X, Y)
    assert report.verdict == "wrong", str(report)
    wrong = [n for n, row in report.arrays.items() if row.verdict != "right"]
    assert len(wrong) == 1


def test_an_objects_own_keyword_goes_to_its_method():
    report = check_function(Course(), X, Y, reg=0.1)
    assert report.verdict == "right"
    assert "plus ½·0.2·Σθ² of W1 and W2" in str(report)


def test_parameters_may_be_handed_over_with_the_object():
    net = Course()
    assert check_function(net, net.params, X, Y).verdict == "right"
    assert check_function(net.loss, net.params, X, Y).verdict == "right"


def test_a_method_without_parameters_finds_them_in_its_object():
    assert check_function(Course().loss, X, Y).verdict == "right"


def test_an_upstream_gradient_is_drawn_and_said():
    report = check_function(Sequential(), X, Y)
    assert "Σ output · R" in str(report)
    assert list(report.arrays) == ["layers.0.W", "layers.0.b", "layers.2.W", "layers.2.b"]


class NoLoss(Stores):
    loss = None


class Unclear(Stores):
    loss = None

    def backward(self, thing, other):
        return thing


class Raises(Stores):
    def backward(self, y):
        raise RuntimeError("not yet written")


class Nielsen:
    def __init__(self):
        self.weights, self.biases = [np.eye(4)], [np.zeros(4)]

    def feedforward(self, a):
        return np.tanh(a @ self.weights[0] + self.biases[0])

    def backprop(self, x, y):
        return [np.zeros(4)], [np.eye(4)]


@pytest.mark.parametrize(
    "net", [NoLoss(), Unclear(), Nielsen(), type("Empty", (), {"forward": lambda s, x: x})()]
)
def test_an_unclear_object_is_one_line_that_shows_what_to_write(net):
    with pytest.raises(UserError) as told:
        check_function(net, X, Y)
    text = str(told.value)
    assert "\n" not in text
    assert "def f(p, x, y): net." in text
    assert "check_function(f, " in text


def test_what_a_method_raises_is_said_with_its_line():
    with pytest.raises(
        UserError, match=r"raised RuntimeError: not yet written at test_objects.py:\d+ in backward"
    ):
        check_function(Raises(), X, Y)


def test_a_class_in_place_of_its_object_is_told():
    with pytest.raises(UserError, match="Course is a class"):
        check_function(Course, X, Y)


def test_an_object_that_is_called_with_its_parameters_is_a_function():
    class Model:
        def __init__(self):
            self.scale = np.ones(1)

        def __call__(self, p, x, y):
            return rule(p, x, y)

    assert check_function(Model(), P, X, Y).verdict == "right"
