"""Equal formulas are right whichever of them keeps its digits, and a slip that can be seen is seen."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf, erfc

from mlp_torch import Layer, check_gradients


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def elu(z):
    return np.where(z > 0, z, np.exp(np.minimum(z, 0)) - 1)


NORMAL, ROOT = lambda z: (1 + erf(z / np.sqrt(2))) / 2, np.sqrt(2 / np.pi)
SPELLINGS = {
    "tanh": (np.tanh, [lambda z: 1 - np.tanh(z) ** 2, lambda z: 1 / np.cosh(z) ** 2]),
    "sigmoid": (
        sigmoid,
        [
            lambda z: sigmoid(z) * (1 - sigmoid(z)),
            lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2,
            lambda z: 1 / (2 + 2 * np.cosh(z)),
        ],
    ),
    "softplus": (
        lambda z: np.log(1 + np.exp(z)),
        [sigmoid, lambda z: np.exp(z) / (1 + np.exp(z)), lambda z: 1 - np.exp(-np.log(1 + np.exp(z)))],
    ),
    "elu": (
        elu,
        [lambda z: np.where(z > 0, 1, np.exp(np.minimum(z, 0))), lambda z: np.where(z > 0, 1, elu(z) + 1)],
    ),
    "silu": (
        lambda z: z * sigmoid(z),
        [
            lambda z: sigmoid(z) * (1 + z * (1 - sigmoid(z))),
            lambda z: z * sigmoid(z) + sigmoid(z) * (1 - z * sigmoid(z)),
        ],
    ),
    "gelu": (lambda z: z * NORMAL(z), [lambda z: NORMAL(z) + z * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)]),
}
CASES = [(name, i) for name, (_, ways) in SPELLINGS.items() for i in range(len(ways))]


def hidden_layer(name, i, seed, scale, factor=1.0, all_saturated=False):
    r = np.random.default_rng(seed)
    x, y = r.normal(size=(6, 3)), r.normal(size=(6, 2))
    W1, W2 = r.normal(size=(3, 4)) * scale, r.normal(size=(4, 2))
    if all_saturated:
        x, W1 = np.sign(x), np.array([[scale], [0], [0]]) * np.ones((3, 4))
    f, ways = SPELLINGS[name]
    z = x @ W1
    d = (f(z) @ W2 - y) / 6
    G = {"W1": factor * x.T @ (d @ W2.T * ways[i](z)), "W2": f(z).T @ d}
    layers = [Layer("W1", None, name), Layer("W2")]
    return check_gradients({"W1": W1, "W2": W2}, G, x, y, layers=layers, loss="half_squared_error")


@pytest.mark.parametrize(("name", "i"), CASES)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 20))
def test_every_spelling_is_right_from_flat_to_saturated(name, i, seed, scale):
    assert hidden_layer(name, i, seed, scale).verdict == "right"


@pytest.mark.parametrize(("name", "i"), CASES)
@pytest.mark.parametrize("factor", [1 + 1e-6, 0.99, -1])
def test_a_slip_is_never_right(name, i, factor):
    for scale in (0.5, 4, 15):
        assert hidden_layer(name, i, 3, scale, factor).verdict in ("wrong", "scaled")


def test_where_rounding_is_all_there_is_nothing_is_called_right():
    assert hidden_layer("tanh", 1, 3, 18.0, all_saturated=True).verdict == "right"  # 1/cosh² kept its digits
    for i, factor in ((0, 1), (0, 2), (1, 2)):
        report = hidden_layer("tanh", i, 3, 18.0, factor, all_saturated=True)
        assert (report.verdict, report.message[:19]) == ("not_comparable", "rounding hides dW1:")
        assert "dW2" in report.message


# f as it is usually written, which is exactly 0 at such a z, f that is not, f′, and z
VANISHING = {
    "gelu": (
        SPELLINGS["gelu"][0],
        lambda z: z * erfc(-z / np.sqrt(2)) / 2,
        lambda z: erfc(-z / np.sqrt(2)) / 2 + z * np.exp(-z * z / 2) / np.sqrt(2 * np.pi),
        -12.0,
    ),
    "softplus": (SPELLINGS["softplus"][0], lambda z: np.log1p(np.exp(z)), sigmoid, -40.0),
    "elu": (elu, np.expm1, np.exp, -1e-20),
    "tanh": (lambda z: (np.exp(z) - np.exp(-z)) / 2, np.tanh, lambda z: 1 / np.cosh(z) ** 2, 1e-20),
}


@pytest.mark.parametrize("name", VANISHING)
def test_an_exact_0_where_f_cancels_is_no_fault_and_who_keeps_the_digits_is_held_to_them(name):
    usual, exact, slope, z0 = VANISHING[name]
    r = np.random.default_rng(1)
    x, y, W2 = 1 + r.random((6, 3)), r.normal(size=(6, 2)), r.normal(size=(4, 2))
    W1 = z0 / 3 * (1 + r.random((3, 4)))
    z = x @ W1

    def checked(f, factor=1.0):
        a = f(z)
        d = (a @ W2 - y) / 6
        G = {"W1": x.T @ (d @ W2.T * slope(z)), "W2": a.T @ d * factor}
        layers = [Layer("W1", None, name), Layer("W2")]
        return check_gradients({"W1": W1, "W2": W2}, G, x, y, layers=layers, loss="half_squared_error")

    report = checked(usual)
    assert not usual(z).any()
    assert (report.verdict, report.message[:14]) == ("not_comparable", "rounding hides")
    assert report.arrays["W2"].verdict == "hidden"
    assert checked(exact).verdict == "right"
    for factor in (1 + 1e-6, 0.99, -1):
        assert checked(exact, factor).verdict != "right"


def test_what_has_no_digits_in_float32_is_hidden_and_in_float64_right():
    r = np.random.default_rng(1)
    given = [1 + r.random((6, 3)), r.normal(size=(6, 2)), -22 * (1 + r.random((3, 4))), r.normal(size=(4, 2))]

    def checked(dtype, factor=1.0):
        x, y, W1, W2 = (v.astype(np.float32).astype(dtype) for v in given)
        a = sigmoid(x @ W1)
        d = (a @ W2 - y) / 6
        G = {"W1": x.T @ (d @ W2.T * a * (1 - a)) * factor, "W2": a.T @ d}
        layers = [Layer("W1", None, "sigmoid"), Layer("W2")]
        return check_gradients({"W1": W1, "W2": W2}, G, x, y, layers=layers, loss="half_squared_error")

    with np.errstate(over="ignore"):
        for factor in (1.0, 1.001):
            report = checked(np.float32, factor)
            assert (report.verdict, report.message[:14]) == ("not_comparable", "rounding hides")
    assert checked(np.float64).verdict == "right"
    assert checked(np.float64, 1 + 1e-6).verdict in ("wrong", "scaled")


def test_what_underflows_between_p_and_1_over_p_is_no_fault():
    """Jᵀda with pᵢ pⱼ first, where pⱼ is 1e-220 and the loss divides by it."""
    z, y = np.array([[0.0, -400.0, -506.0]]), np.array([[0.0, 0.0, 1.0]])
    p = np.exp(z) / np.exp(z).sum()
    jacobian = np.diag(p[0]) - np.outer(p[0], p[0])
    options = {
        "activations": ["softmax"],
        "loss": "cross_entropy",
        "samples": "rows",
        "weight_layout": "in,out",
    }
    x, given = np.ones((1, 1)), {"W": z, "b": np.zeros(3)}
    for dz in (p - y, (jacobian @ (-y / p)[0])[None]):
        G = {"W": x.T @ dz, "b": dz.sum(axis=0)}
        assert check_gradients(given, G, x, y, **options).verdict == "right"
        G["W"] = G["W"] * (1 + 1e-6)
        assert check_gradients(given, G, x, y, **options).verdict in ("wrong", "scaled")


@pytest.mark.parametrize("scale", [1, 10, 20])
@pytest.mark.parametrize("fits", [False, True])
def test_cross_entropy_beside_0_and_1(scale, fits):
    r = np.random.default_rng(5)
    x, w = r.normal(size=(7, 3)), r.normal(size=(3, 1)) * scale / 2
    y = 1.0 * (x @ w > 0) if fits else 1.0 * (r.random((7, 1)) < 0.5)
    z, p = x @ w, sigmoid(x @ w)
    for d in (p - y, np.where(y == 1, -sigmoid(-z), p), ((1 - y) / (1 - p) - y / p) * p * (1 - p)):
        given = ({"w": w}, {"w": x.T @ d / 7}, x, y)
        assert check_gradients(*given, activations=["sigmoid"], loss="bce").verdict == "right"
        logits = check_gradients(*given, activations=["identity"], loss="bce_with_logits")
        assert logits.verdict == "right"
        slipped = ({"w": w}, {"w": x.T @ d / 7 * (1 + 1e-4)}, x, y)
        assert check_gradients(*slipped, activations=["sigmoid"], loss="bce").verdict != "right"


def test_absolute_error_over_softmax_where_all_residuals_have_one_sign_is_0():
    r = np.random.default_rng(0)
    x, W = r.normal(size=(4, 3)), r.normal(size=(3, 5))
    e = np.exp(x @ W)
    p, g = e / e.sum(axis=1, keepdims=True), np.full((4, 5), 0.25)
    options = {"activations": ["softmax"], "loss": "absolute_error"}
    for dz in (0 * p, p * (g - (g * p).sum(axis=1, keepdims=True)), p * g - p * (p * g).sum(1)[:, None]):
        assert check_gradients([W], [x.T @ dz], x, p - 1, **options).verdict == "right"
    assert check_gradients([W], [x.T @ g], x, p - 1, **options).verdict == "wrong"


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
def test_the_tolerance_is_the_dtypes_and_a_fifth_is_seen(kind):
    torch = pytest.importorskip("torch")
    dtype = getattr(torch, kind)
    for seed in range(3):
        torch.manual_seed(seed)
        net = torch.nn.Sequential(
            torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 16), torch.nn.ReLU(),
            torch.nn.Linear(16, 4),
        ).to(dtype)  # fmt: skip
        x, t = torch.randn(40, 8).to(dtype), torch.randint(0, 4, (40,))
        torch.nn.functional.cross_entropy(net(x), t).backward()
        P = dict(net.named_parameters())
        G = {name: value.grad for name, value in P.items()}
        layers = [
            Layer(f"{i}.weight", f"{i}.bias", a) for i, a in ((0, "tanh"), (2, "relu"), (4, "identity"))
        ]
        options = {"layers": layers, "loss": "cross_entropy_from_logits"}
        assert check_gradients(P, G, x, t, **options).verdict == "right"
        for name in ("0.weight", "2.bias", "4.bias"):
            report = check_gradients(P, {**G, name: 1.2 * G[name]}, x, t, **options)
            assert report.verdict in ("wrong", "scaled")


def test_float32_inside_a_float64_program_is_no_fault():
    r = np.random.default_rng(2)
    x, y, W = r.normal(size=(9, 4)), r.normal(size=(9, 3)), r.normal(size=(4, 3))
    d = (x.astype("f4") @ W.astype("f4") - y.astype("f4")) / np.float32(9)
    G = (x.astype("f4").T @ d).astype(float)
    options = {"activations": ["identity"], "loss": "half_squared_error"}
    report = check_gradients([W], [G], x, y, **options)
    assert report.verdict == "right"
    assert any("float32" in note for note in report.notes)
    with warnings.catch_warnings():
        assert check_gradients([W], [G * np.float32(1.001)], x, y, **options).verdict != "right"
