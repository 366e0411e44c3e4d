"""Authors' code as it is written stays in the graph: its derivative is autograd's, slips of 1e-9 are seen."""

import numpy as np
import pytest

from mlp_torch import check_function
from mlp_torch.check.functions.derivative import _complex_step, _richardson
from tests.mlp_torch.check.functions.idioms import IDIOMS

r = np.random.default_rng(4)
P = {"W": r.normal(size=(4, 3)), "b": r.normal(size=3)}


def truth(forward):
    """(gradient, how near it is): in complex numbers where the loss is analytic."""

    def loss(arrays):
        return forward(arrays["W"], arrays["b"])

    with np.errstate(all="ignore"):
        try:
            return _complex_step(loss, P), 1e-11
        except Exception:  # whatever a loss that takes no complex numbers raises
            return _richardson(loss, P, 1.0)[0], 1e-6


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("forward", IDIOMS, ids=lambda f: f.__name__)
def test_an_idiom_is_followed(forward):
    expected, near = truth(forward)

    def function(p):
        return forward(p["W"], p["b"]), expected

    report = check_function(function, P)
    assert report.method == "autograd of your own forward pass", str(report)
    if near < 1e-10:
        assert report.verdict == "right", str(report)
    for name, row in report.arrays.items():
        gap = row.relative if np.linalg.norm(expected[name]) > 1e-9 else 0.0
        assert gap < near, str(report)
    slipped = {n: v.copy() for n, v in expected.items()}
    slipped["W"][np.unravel_index(np.argmax(np.abs(slipped["W"])), (4, 3))] *= 1 + 1e-9
    if near < 1e-10:
        assert not check_function(lambda p: (forward(p["W"], p["b"]), slipped), P).passed


def test_an_author_s_objects_and_globals_stay_as_they_are():
    space = {"np": np, "kept": np.ones(3), "calls": []}
    exec(
        "def function(p, x):\n"
        "    calls.append(1)\n"
        "    kept_here = kept\n"
        "    loss = float(np.sum((x @ p['w']) ** 2) + kept_here.sum())\n"
        "    kept_here += 0\n"
        "    return loss, {'w': 2 * x.T @ (x @ p['w'])}\n",
        space,
    )
    function, globals_ = space["function"], dict(space)
    report = check_function(function, {"w": np.array([1.0, 2])}, r.normal(size=(4, 2)))
    assert report.verdict == "right", str(report)
    assert {k: id(v) for k, v in space.items()} == {k: id(v) for k, v in globals_.items()}
    assert type(space["kept"]) is np.ndarray


def test_a_backward_pass_that_no_graph_follows_is_no_hindrance():
    def function(p, x, y):
        e = x @ p["w"] - y
        cost = np.mean(e**2)
        d = np.frombuffer(e.tobytes())
        return cost, {"w": 2 * x.T @ d / len(y)}

    report = check_function(function, {"w": r.normal(size=3)}, r.normal(size=(5, 3)), r.normal(size=5))
    assert report.verdict == "right", str(report)
    assert report.method == "autograd of your own forward pass"


def test_a_number_that_leaves_the_graph_is_not_trusted():
    def function(p, x, y):
        w = p["w"]
        scale = float(f"{w[0]:.17g}")  # through text
        return scale * np.sum(w**2), {"w": 2 * scale * w + np.array([np.sum(w**2), 0, 0])}

    report = check_function(function, {"w": np.array([0.5, 2, 3])}, r.normal(size=(5, 3)), r.normal(size=5))
    assert report.verdict == "right", str(report)
    assert "tracing failed" in report.method


def test_a_rounded_loss_is_differentiated_before_it_is_rounded():
    def function(p, x, y):
        e = x @ p["w"] - y
        return round(float(np.mean(e**2)), 4), {"w": 2 * x.T @ e / len(y)}

    report = check_function(function, {"w": r.normal(size=3)}, r.normal(size=(5, 3)), r.normal(size=5))
    assert report.verdict == "right", str(report)


def test_names_survive_helpers_and_caches():
    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    def function(p, x, y):
        cache = {}
        cache["A"] = sigmoid(x @ p["w"])
        A = cache["A"]
        cost = -np.mean(y * np.log(A) + (1 - y) * np.log(1 - A))
        return float(np.squeeze(cost)), {"w": x.T @ (A - y) / len(y)}

    report = check_function(
        function, {"w": r.normal(size=3)}, r.normal(size=(5, 3)), np.array([0.0, 1, 1, 0, 1])
    )
    assert report.verdict == "right", str(report)
    assert "note: your loss is bce over A, reduction mean_over_samples" in report.notes
