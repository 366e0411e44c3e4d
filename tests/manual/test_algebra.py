"""The algebra itself: the hand-derived source, run on exact numbers, is the derivative of its forward.

Every formula runs unchanged on object arrays: of `Fraction` where it is rational, then equality is
equality; of `arb` (proven enclosures, 240 bits), then the two sides agree to 1e-50. The other side is
`tests/duals.py`, which sees the forward pass only. A constant kept as a float spoils it to 1e-17.
"""

import ast
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import flint
import numpy as np
import pytest
from flint import arb

import manual
from manual import ACTIVATIONS, LOSSES, MLP, catalogue
from manual.catalogue.activations import prelu_slope_gradient
from manual.catalogue.layers import BatchNorm, BatchNormEvaluation, LayerNorm
from manual.chain import forward_stages
from manual.layers import Dropout, Linear
from manual.losses import l1_penalty, l2_penalty
from manual.numbers import Array, erf, number, pi
from manual.structure.trace import run
from tests.duals import derivative, dual_over, entrywise, exact
from tests.problems import DTYPES, targets

BASES = {"fraction": Fraction, "arb": arb}
RATIONAL = ["identity", "relu", "leaky_relu", "prelu", "hardtanh"]
RATIONAL_LOSSES = ["half_squared_error", "mse", "l1", "smooth_l1", "hinge", "multi_margin"]
CLOSE = "1e-50"


@pytest.fixture(autouse=True)
def _two_hundred_and_forty_bits() -> Iterator[None]:
    before, flint.ctx.prec = flint.ctx.prec, 240
    yield
    flint.ctx.prec = before


def generic(shape: tuple[int, ...], seed: int, base: Any, low: int = -48, high: int = 48) -> Array:
    """Numbers (3k + 1) / 48 from −3 to 3: on both sides of every kink but softplus's, and on none."""
    k = np.random.default_rng([seed, *shape]).integers(low, high, shape)
    return exact(entrywise(lambda k: Fraction(3 * int(k) + 1, 48), k), base)


def differs(ours: Any, theirs: Any) -> str:
    """Where the two differ, or nothing: fractions must be equal, balls agree to 1e-50 for certain."""
    ours, theirs = np.asarray(ours, dtype=object), np.asarray(theirs, dtype=object)
    if ours.shape != theirs.shape:
        return f"shapes {ours.shape} and {theirs.shape}"
    for index in np.ndindex(ours.shape):
        a, b = ours[index], theirs[index]
        if isinstance(a, float | np.floating):
            return f"a float at {index}: {a!r}"
        same = a == b if isinstance(b, Fraction) else abs(arb(a) - b) < arb(CLOSE)
        if not same:
            return f"{a} is not {b} at {index}"
    return ""


def rows(table: Any, rational: list[str]) -> list[Any]:
    """Each row on arb, and on fractions where its formula is rational."""
    return [pytest.param(name, arb, id=f"{name}-arb") for name in table] + [
        pytest.param(name, Fraction, id=f"{name}-fraction") for name in rational
    ]


# ---- activations -----------------------------------------------------------------------------------


def activation_differs(name: str, base: Any) -> str:
    row, z, da = ACTIVATIONS[name], generic((4, 5), 1, base), generic((4, 5), 2, base)
    z[0, 0], z[1, 1] = exact(Fraction(64, 3), base)[()], exact(Fraction(-64, 3), base)[()]
    slope = [] if row.slope is None else [exact([Fraction(2, 7)], base)]

    def forward(z: Array, da: Array, *slope: Array) -> Any:
        return (da * row.forward(z, *slope)).sum()

    a = row.forward(z, *slope)
    found = differs(row.backward(da, z, a, *slope), derivative(forward, (z, da, *slope), 0))
    if slope and not found:
        return differs(prelu_slope_gradient(da, z), derivative(forward, (z, da, *slope), 2))
    return found


@pytest.mark.parametrize(("name", "base"), rows(ACTIVATIONS, RATIONAL))
def test_the_derivative_of_an_activation(name: str, base: Any) -> None:
    assert activation_differs(name, base) == ""


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_floats_compute_the_same_function(name: str) -> None:
    row, z = ACTIVATIONS[name], generic((4, 5), 1, arb)
    slope = [] if row.slope is None else [exact([0.25], arb)]
    exactly = entrywise(float, row.forward(z, *slope)).astype(float)
    rounded = row.forward(entrywise(float, z).astype(float), *[s.astype(float) for s in slope])
    np.testing.assert_allclose(rounded, exactly, rtol=1e-14)


# ---- losses ----------------------------------------------------------------------------------------


def loss_differs(name: str, base: Any, reduction: Any = "mean", probabilities: bool = False) -> str:
    output = generic((5, 3), 3, base)
    y = targets(name, (5, 3), np.random.default_rng(0), float, probabilities)
    if np.issubdtype(y.dtype, np.floating):
        y = exact(y, base)

    def value(output: Array) -> Any:
        wanted = y if y.dtype != object else entrywise(dual_over(base), y)
        return LOSSES[name].value(output, wanted, reduction)

    assert isinstance(LOSSES[name].value(output, y, reduction), base)
    return differs(LOSSES[name].gradient(output, y, reduction), derivative(value, (output,), 0))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("name", "base"), rows(LOSSES, RATIONAL_LOSSES))
def test_the_gradient_of_a_loss(name: str, base: Any, reduction: str) -> None:
    assert loss_differs(name, base, reduction) == ""


def test_the_gradient_of_cross_entropy_with_probabilities() -> None:
    assert loss_differs("cross_entropy", arb, probabilities=True) == ""


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
@pytest.mark.parametrize("penalty", [l1_penalty, l2_penalty])
def test_the_gradient_of_a_penalty(penalty: Any, base: Any) -> None:
    weights = generic((3, 2), 1, base)
    theirs = derivative(lambda w: penalty(w, 0.125)[0], (weights,), 0)
    assert differs(penalty(weights, 0.125)[1], theirs) == ""


# ---- layers ----------------------------------------------------------------------------------------


def layer_differs(
    forward: Callable[..., Array], arguments: tuple[Array, ...], backward: Callable[[Array], tuple[Any, ...]]
) -> list[str]:
    """What of ∂(Σ d · forward)/∂argument, d generic, is not what `backward(d)` gives, in order."""
    d = generic(forward(*arguments).shape, 9, type(arguments[0].flat[0]))
    kind = dual_over(type(d.flat[0]))

    def total(*moved: Array) -> Any:
        return (entrywise(kind, d) * forward(*moved)).sum()

    found = [differs(g, derivative(total, arguments, i)) for i, g in enumerate(backward(d))]
    return [f for f in found if f]


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_the_backward_of_linear(base: Any) -> None:
    a, W, b = generic((5, 3), 1, base), generic((2, 3), 2, base), generic((2,), 3, base)

    def backward(d: Array) -> tuple[Any, ...]:
        return Linear.backward_input(d, W), Linear.backward_weight(d, a), Linear.backward_bias(d)

    assert layer_differs(Linear.forward, (a, W, b), backward) == []


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_the_backward_of_dropout(base: Any) -> None:
    a = generic((5, 3), 1, base)
    mask = Dropout.mask((5, 3), 0.25, a, np.random.default_rng(1))
    assert {str(m) for m in mask.flat} == {str(base(0)), str(base(4) / 3)}
    assert layer_differs(Dropout.forward, (a, mask), lambda d: (Dropout.backward(d, mask),)) == []


def normalization_differs(layer: Any) -> list[str]:
    z, weight, bias = generic((5, 3), 1, arb), generic((3,), 2, arb), generic((3,), 3, arb)

    def backward(d: Array) -> tuple[Any, ...]:
        return layer.backward_input(d, z, weight), layer.backward_weight(d, z), layer.backward_bias(d)

    return layer_differs(layer.forward, (z, weight, bias), backward)


@pytest.mark.parametrize("layer", [BatchNorm, LayerNorm])
def test_the_backward_of_a_normalization(layer: Any) -> None:
    assert normalization_differs(layer) == []


def test_the_backward_of_batch_norm_in_evaluation() -> None:
    z, weight, bias = generic((5, 3), 1, arb), generic((3,), 2, arb), generic((3,), 3, arb)
    mean, variance = generic((3,), 4, arb), generic((3,), 5, arb, low=1)

    def backward(d: Array) -> tuple[Any, ...]:
        return (
            BatchNormEvaluation.backward_input(d, weight, variance),
            BatchNormEvaluation.backward_weight(d, z, mean, variance),
            BatchNorm.backward_bias(d),
        )

    assert layer_differs(BatchNormEvaluation.forward, (z, weight, bias, mean, variance), backward) == []


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_batch_statistics_are_the_mean_and_the_unbiased_variance(base: Any) -> None:
    mean, variance = BatchNorm.statistics(exact([[1, 0], [2, 4], [6, 5]], base))
    assert differs(mean, exact([3, 3], base)) == ""
    assert differs(variance, exact([7, 7], base)) == ""


# ---- whole networks --------------------------------------------------------------------------------


def network_differs(base: Any, loss: str, training: bool = True, **options: Any) -> dict[str, str]:
    """The parameters (and x) whose gradient by hand is not the duals'."""
    model = MLP((2, 3, 2), seed=1, **options)
    model.training = training
    for seed, (name, value) in enumerate((model.parameters | model.buffers).items()):
        home = model.parameters if name in model.parameters else model.buffers
        home[name] = generic(value.shape, seed, base, low=1 if "var" in name else -12, high=12)
    x, y = generic((5, 2), 99, base, -16, 16), targets(loss, (5, 2), np.random.default_rng(0), float)
    if np.issubdtype(y.dtype, np.floating):
        y = exact(y, base)
    masks = model.draw_masks(5)
    trace = model.trace(x, y, loss, masks=masks)
    stages = forward_stages(model.architecture, loss, "mean", training)
    leaves = {**model.leaves(x, masks), "y": y}
    names = [n for n, v in leaves.items() if v.dtype == object]
    learned = [n for n in names if f"d{n}" in trace]
    assert len(learned) == len(model.parameters) + 1
    assert any(trace["dW1"].flat), "a gradient that is zero proves nothing"

    def forward(*moved: Array) -> Any:
        return run(stages, {**leaves, **dict(zip(names, moved, strict=True))}).loss

    arguments = tuple(leaves[n] for n in names)
    found = {n: differs(trace[f"d{n}"], derivative(forward, arguments, names.index(n))) for n in learned}
    return {n: f for n, f in found.items() if f}


@pytest.mark.parametrize("normalization", ["none", "batch_norm", "layer_norm"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_gradient_of_a_network(activation: str, normalization: str) -> None:
    assert network_differs(arb, "mse", activation=activation, normalization=normalization) == {}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("output_activation", ACTIVATIONS)
def test_every_gradient_under_every_output_layer(output_activation: str, loss: str) -> None:
    assert network_differs(arb, loss, activation="sigmoid", output_activation=output_activation) == {}


@pytest.mark.parametrize("loss", RATIONAL_LOSSES)
@pytest.mark.parametrize("activation", RATIONAL)
def test_every_gradient_of_a_rational_network_is_equal(activation: str, loss: str) -> None:
    rows = {"activation": activation, "output_activation": activation, "dropout": 0.25}
    assert network_differs(Fraction, loss, **rows) == {}


def test_every_gradient_in_evaluation_and_under_dropout() -> None:
    rows = {"activation": "gelu", "normalization": "batch_norm", "dropout": 0.25}
    assert network_differs(arb, "cross_entropy", training=False, **rows) == {}
    assert network_differs(arb, "cross_entropy", **rows) == {}


# ---- constants come from the number system ---------------------------------------------------------


def test_constants_are_exact_in_every_number_system() -> None:
    third = exact([Fraction(1, 3)], Fraction)
    assert number("0.1", third) == Fraction(1, 10)
    assert abs(number("0.1", exact([1], arb)) - arb(1) / 10) < arb(CLOSE)
    assert abs(pi(exact([1], arb)) - arb.pi()) < arb(CLOSE)
    assert abs(erf(exact([1], arb))[0] - arb(1).erf()) < arb(CLOSE)
    with pytest.raises(AttributeError):
        pi(third)
    for dtype in DTYPES.values():
        assert type(number("0.1", np.ones(1, dtype))) is type(pi(np.ones(1, dtype))) is dtype


def float_literals(source: str) -> list[str]:
    """Every float constant of a source, but for the initial slope in a row of the table."""
    tree = ast.parse(source)
    rows = {
        id(keyword.value)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Activation"
        for keyword in call.keywords
        if keyword.arg == "slope"
    }
    return [
        f"line {node.lineno}: {node.value}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, float) and id(node) not in rows
    ]


@pytest.mark.parametrize(
    "room", [f"{shelf}{room}" for shelf in ("", "catalogue/") for room in ("activations", "losses", "layers")]
)
def test_no_float_literal_and_no_float_function_stands_in_a_formula(room: str) -> None:
    source = (Path(manual.__file__).parent / f"{room}.py").read_text(encoding="utf-8")
    assert float_literals(source) == []
    assert "math." not in source
    assert "np.pi" not in source


def test_a_float_literal_in_a_formula_would_be_found() -> None:
    assert float_literals("def f(z):\n    return 0.5 * z\n") == ["line 2: 0.5"]
    assert float_literals("Activation('prelu', slope=0.25)") == []


# ---- each check fails on a planted fault -----------------------------------------------------------


def test_a_constant_kept_as_a_float_spoils_gelu(monkeypatch: pytest.MonkeyPatch) -> None:
    right = catalogue.activations.d_gelu

    def wrong(z: Array, a: Array) -> Array:
        density = np.exp(-z * z / 2) * 0.3989422804014327  # 1/√2π
        return (1 + erf(z / np.sqrt(number(2, z)))) / 2 + z * density

    floats = np.linspace(-3, 3, 19)
    np.testing.assert_allclose(wrong(floats, floats), right(floats, floats), rtol=1e-14)
    row = ACTIVATIONS["gelu"]
    monkeypatch.setitem(ACTIVATIONS, "gelu", type(row)(**{**vars(row), "derivative": wrong}))
    assert activation_differs("gelu", arb) != ""
    assert set(network_differs(arb, "mse", activation="gelu")) == {"x", "W1", "b1"}


def test_a_float_in_a_forward_formula_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ACTIVATIONS["tanh"]
    wrong = type(row)(**{**vars(row), "function": lambda z: 0.5 * np.tanh(z)})
    monkeypatch.setitem(ACTIVATIONS, "tanh", wrong)
    with pytest.raises(TypeError):
        activation_differs("tanh", arb)


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_a_float_among_fractions_is_no_agreement(base: Any) -> None:
    assert differs([0.5], exact([0.5], base)).startswith("a float")


@pytest.mark.parametrize("name", LOSSES)
def test_a_slightly_wrong_loss_gradient_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = LOSSES[name]
    tiny = arb("1e-30")
    wrong = type(row)(**{**vars(row), "derivative": lambda o, y: row.derivative(o, y) * (1 + tiny)})
    monkeypatch.setitem(LOSSES, name, wrong)
    assert loss_differs(name, arb) != ""


def test_a_lost_path_of_a_normalization_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_mean_path(dx: Array, z: Array, axis: int) -> Array:
        x, deviation = catalogue.layers.standardize(z, axis)
        return (dx - x * (dx * x).sum(axis=axis, keepdims=True) / z.shape[axis]) / deviation

    monkeypatch.setattr(catalogue.layers, "standardize_backward", without_mean_path)
    assert len(normalization_differs(BatchNorm)) == 1
    assert len(normalization_differs(LayerNorm)) == 1


def test_a_weight_gradient_over_n_is_seen_in_fractions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Linear, "backward_weight", staticmethod(lambda dz, a: dz.T @ a / len(a)))
    assert set(network_differs(Fraction, "mse")) == {"W1", "W2"}
