"""The truth itself: each f′ against flint's own derivative of f, each f against `manual` on balls."""

from collections.abc import Callable, Iterator
from typing import Any

import flint
import numpy as np
import pytest
import torch
from flint import arb, arb_series

from manual import ACTIVATIONS, LOSSES
from mlp_torch import model as torch_model
from mlp_torch.verify import truth
from mlp_torch.verify.derived.jets import Jet, Way
from mlp_torch.verify.derived.rows import truth_with
from mlp_torch.verify.truth import FUNCTIONS, TERMS, log_softmax
from tests.duals import exact

ELEMENTWISE = [name for name, row in ACTIVATIONS.items() if row.jacobian_product is None]
SLOPE = {"prelu": 0.25, "leaky_relu": 0.01}
POINTS = [
    *np.random.default_rng(0).normal(0, 3, 40),
    -25.0,
    25.0,
    1e-9,
    -1e-9,
    1e-30,
    0.999,
    -1.001,
    19.9,
    21.0,
]
KINKS = {"relu": [0], "leaky_relu": [0], "prelu": [0], "selu": [0], "hardtanh": [-1, 1], "elu": [0]}


@pytest.fixture(autouse=True)
def _two_hundred_bits() -> Iterator[None]:
    before, flint.ctx.prec = flint.ctx.prec, 200
    yield
    flint.ctx.prec = before


def constants(name: str) -> list[Any]:
    """The learned or chosen slope of a row, as an exact ball."""
    return [arb(SLOPE[name])] if name in SLOPE else []


def close(a: Any, b: Any) -> bool:
    """Equal for certain to 1e-30 of b, or to 1e-50 where one of them cancels to nothing."""
    return abs(arb(a) - arb(b)) <= arb("1e-30") * abs(arb(b)) + arb("1e-50")


# f as a power series, in flint's own functions: its second coefficient is f′. Nothing of `truth` in here.
def _series_sigmoid(z: Any) -> Any:
    return 1 / (1 + (-z).exp())


SERIES: dict[str, Callable[..., Any]] = {
    "identity": lambda z: z,
    "sigmoid": _series_sigmoid,
    "tanh": lambda z: z.tanh() if hasattr(z, "tanh") else ((2 * z).exp() - 1) / ((2 * z).exp() + 1),
    "relu": lambda z: z if z[0] > 0 else 0 * z,
    "leaky_relu": lambda z, slope: z if z[0] > 0 else slope * z,
    "prelu": lambda z, slope: z if z[0] > 0 else slope * z,
    "elu": lambda z: z if z[0] > 0 else z.exp() - 1,
    "selu": lambda z: (
        arb("1.0507009873554804934193349852946")
        * (z if z[0] > 0 else arb("1.6732632423543772848170429916717") * (z.exp() - 1))
    ),
    "gelu": lambda z: z * (1 + (z / arb(2).sqrt()).erf()) / 2,
    "gelu_tanh": lambda z: z * _series_sigmoid(2 * (2 / arb.pi()).sqrt() * (z + arb("0.044715") * z * z * z)),
    "silu": lambda z: z * _series_sigmoid(z),
    "softplus": lambda z: z if z[0] > 20 else (1 + z.exp()).log(),
    "hardtanh": lambda z: z if abs(z[0]) < 1 else 0 * z + (1 if z[0] > 0 else -1),
}
SERIES_TERMS: dict[str, Callable[[Any, Any], Any]] = {
    "half_squared_error": lambda o, y: (o - y) * (o - y) / 2,
    "mse": lambda o, y: (o - y) * (o - y),
    "l1": lambda o, y: o - y if (o - y)[0] > 0 else y - o,
    "smooth_l1": lambda o, y: (
        (o - y) * (o - y) / 2 if abs((o - y)[0]) < 1 else (o - y if (o - y)[0] > 0 else y - o) - arb(1) / 2
    ),
    "hinge": lambda o, y: 1 - y * o if (1 - y * o)[0] > 0 else 0 * o,
    "bce_with_logits": lambda o, y: (1 + o.exp()).log() - y * o,
}


def by_slopes(name: str, point: float) -> Any:
    """f and f′ of f alone: as a power series, or where it has none here by the slopes of its own steps."""
    if name in SERIES:
        return SERIES[name](arb_series([arb(point), 1], prec=2), *constants(name))
    f, _ = truth_with(FUNCTIONS[name], ACTIVATIONS[name].options)(Jet(Way(()), arb(point), arb(1)))
    return (f.value, f.slope) if isinstance(f, Jet) else (f, arb(0))  # a constant is a plain ball


def term_by_slopes(name: str, point: float, y: float) -> Any:
    """ℓ and ℓ′ of ℓ alone, as `by_slopes`."""
    if name in SERIES_TERMS:
        return SERIES_TERMS[name](arb_series([arb(point), 1], prec=2), arb(y))
    value, _ = term_of(name)(Jet(Way(()), arb(point), arb(1)), arb(y))
    return (value.value, value.slope) if isinstance(value, Jet) else (value, arb(0))


def term_of(name: str) -> Callable[[Any, Any], Any]:
    """The truth of a loss with its row's own options."""
    return truth_with(TERMS[name], LOSSES[name].options)


def activation_differs(name: str, function: Callable[..., Any]) -> list[float]:
    """The points where f or f′ is not that of the power series."""
    found = []
    for point in POINTS:
        series = by_slopes(name, point)
        f, d = function(arb(point), *constants(name))
        if not (close(f, series[0]) and close(d, series[1])):
            found.append(point)
    return found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_f_and_its_derivative_are_those_of_the_power_series(name: str) -> None:
    assert activation_differs(name, FUNCTIONS[name]) == []


def targets_of(row: str) -> list[float]:
    return {"sign": [1.0, -1.0], "binary": [0.0, 1.0, 0.3]}.get(LOSSES[row].target, [0.5, -2.0, 0.25])


def term_differs(name: str, term: Callable[[Any, Any], Any]) -> list[tuple[float, float]]:
    found = []
    for point in POINTS:
        for y in targets_of(name):
            series = term_by_slopes(name, point, y)
            value, d = term(arb(point), arb(y))
            if not (close(value, series[0]) and close(d, series[1])):
                found.append((point, y))
    return found


@pytest.mark.parametrize("name", TERMS)
def test_a_loss_and_its_derivative_are_those_of_the_power_series(name: str) -> None:
    assert term_differs(name, term_of(name)) == []


def test_log_softmax_has_the_derivative_of_cross_entropy() -> None:
    row, label = [0.5, -3.0, 2.0, 2.0], 1
    for j in range(len(row)):
        cells = [arb_series([arb(v), int(i == j)], prec=2) for i, v in enumerate(row)]
        total = sum((c.exp() for c in cells[1:]), cells[0].exp())
        series = cells[label] - total.log()
        log_p = log_softmax([arb(v) for v in row])
        assert close(log_p[label], series[0])
        assert close(int(j == label) - log_p[j].exp(), series[1])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_f_is_the_function_that_manual_computes(name: str) -> None:
    row, z = ACTIVATIONS[name], exact(np.array(POINTS), arb)
    slope = [exact([SLOPE[name]], arb)] if row.slope is not None else []
    options = {**row.options, **({"negative_slope": SLOPE[name]} if name == "leaky_relu" else {})}
    ours = row.function(z, *slope, **options)
    derivative = row.derivative(z, ours, *slope, **options)
    for point, f, d in zip(z, ours, derivative, strict=True):
        truth_f, truth_d = FUNCTIONS[name](point, *constants(name))
        assert close(f, truth_f)
        assert close(d, truth_d)


@pytest.mark.parametrize("name", TERMS)
def test_a_term_is_the_loss_that_manual_computes(name: str) -> None:
    outputs = exact(np.array(POINTS)[:, None], arb)
    for y in targets_of(name):
        targets = exact(np.full(outputs.shape, y), arb)
        row = LOSSES[name]
        values = row.terms(outputs, targets, **row.options)
        slopes = row.derivative(outputs, targets, **row.options)
        for o, value, d in zip(outputs.flat, values.flat, slopes.flat, strict=True):
            term, derivative = term_of(name)(o, arb(y))
            assert close(value, term)
            assert close(d, derivative)


@pytest.mark.parametrize(("name", "kink"), [(n, k) for n, points in KINKS.items() for k in points])
def test_the_side_at_a_kink_is_torchs(name: str, kink: int) -> None:
    module = torch_model.ACTIVATIONS[name]().double()
    z = torch.tensor([float(kink)], dtype=torch.float64, requires_grad=True)
    module(z).sum().backward()
    f, d = FUNCTIONS[name](arb(kink), *constants(name))
    assert z.grad is not None
    assert abs(float(d) - z.grad.item()) < 1e-15
    assert abs(float(f) - module(z).item()) < 1e-15


def test_the_threshold_of_softplus_is_on_torchs_side() -> None:
    z = torch.tensor([20.0, float(np.nextafter(20, 21))], dtype=torch.float64, requires_grad=True)
    torch.nn.functional.softplus(z).sum().backward()
    assert z.grad is not None
    for point, d in zip(z.tolist(), z.grad.tolist(), strict=True):
        assert (float(FUNCTIONS["softplus"](arb(point))[1]) == 1.0) is (d == 1.0)


@pytest.mark.parametrize(
    ("name", "output", "y"), [("l1", 2.0, 2.0), ("hinge", 0.5, 2.0), ("hinge", -1.0, -1.0)]
)
def test_the_side_at_a_kink_of_a_loss_is_torchs(name: str, output: float, y: float) -> None:
    o = torch.tensor([[output]], dtype=torch.float64, requires_grad=True)
    torch_model.LOSSES[name](o, torch.tensor([[y]], dtype=torch.float64), reduction="sum").backward()
    assert o.grad is not None
    assert float(TERMS[name](arb(output), arb(y))[1]) == o.grad.item() == 0.0


@pytest.mark.parametrize("z", [1e300, -1e300, 1e30, -1e30, 745.0, -745.0, 1e-300, 5e-324, 0.0])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_f_and_its_derivative_are_finite_balls_at_the_ends_of_float64(name: str, z: float) -> None:
    for value in FUNCTIONS[name](arb(z), *constants(name)):
        assert arb(value).is_finite()
        assert arb(value).rad() <= abs(arb(value).mid()) * arb("1e-35") + arb("1e-300")


def test_a_decimal_kept_from_a_lower_precision_does_not_widen_the_truth() -> None:
    flint.ctx.prec = 53
    coarse = FUNCTIONS["selu"](arb(-1))[0]
    flint.ctx.prec = 200
    fine = FUNCTIONS["selu"](arb(-1))[0]
    assert coarse.rad() > arb("1e-18")
    assert fine.rad() < arb("1e-50")


# ---- each check fails on a planted fault -----------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_derivative_that_is_off_by_1e_29_is_seen(name: str) -> None:
    def wrong(*arguments: Any) -> Any:
        f, d = FUNCTIONS[name](*arguments)
        return f, d * (1 + arb("1e-29"))

    assert activation_differs(name, wrong) != []


@pytest.mark.parametrize("name", TERMS)
def test_a_loss_derivative_that_is_off_by_1e_29_is_seen(name: str) -> None:
    def wrong(o: Any, y: Any) -> Any:
        value, d = term_of(name)(o, y)
        return value, d * (1 + arb("1e-29"))

    assert term_differs(name, wrong) != []


def test_truth_shares_no_formula_with_manual() -> None:
    assert not [
        name for name, value in vars(truth).items() if getattr(value, "__module__", "").startswith("manual")
    ]
