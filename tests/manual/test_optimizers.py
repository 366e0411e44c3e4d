"""Every update rule takes torch.optim's steps, every penalty has autograd's gradient."""

import inspect
from typing import Any

import numpy as np
import pytest
import torch

from manual import OPTIMIZERS
from manual.numbers import Array
from manual.optimizers import Optimizer
from manual.training.recipe import l1_penalty, l2_penalty
from mlp_torch.model import OPTIMIZERS as TORCH_OPTIMIZERS

STEPS = 50
SHAPES = {"layers.0.weight": (5, 3), "layers.0.bias": (5,), "layers.1.weight": (2, 5)}
# A step rounds each entry of a parameter and of its moments some 20 times, by u relative to the largest
# value on its way; 50 steps add up to 1000 u at most: 1.1e-13 and 6e-5.
TOLERANCE = {np.float64: STEPS * 20 * 2.0**-53, np.float32: STEPS * 20 * 2.0**-24}

OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("sgd", {}),
    ("sgd", {"weight_decay": 0.1}),
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.9, "dampening": 0.5}),
    ("sgd", {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("sgd", {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1}),
    ("rmsprop", {}),
    ("rmsprop", {"alpha": 0.9}),
    ("rmsprop", {"eps": 1e-3}),
    ("rmsprop", {"momentum": 0.9}),
    ("rmsprop", {"momentum": 0.5, "alpha": 0.8, "weight_decay": 0.1}),
    ("adagrad", {}),
    ("adagrad", {"lr_decay": 0.1}),
    ("adagrad", {"eps": 1e-2, "weight_decay": 0.1}),
    ("adam", {}),
    ("adam", {"betas": (0.8, 0.9)}),
    ("adam", {"eps": 1e-2}),
    ("adam", {"weight_decay": 0.1}),
    ("adamw", {}),
    ("adamw", {"weight_decay": 0.0}),
    ("adamw", {"weight_decay": 0.3, "betas": (0.5, 0.9), "eps": 1e-4}),
    ("lion", {}),
    ("lion", {"betas": (0.5, 0.9)}),
    ("lion", {"weight_decay": 0.1}),
]


class Lion(torch.optim.Optimizer):
    """The paper's program 1 (Chen et al. 2023), with the decay in the step; torch has none."""

    def __init__(self, params: Any, lr: float = 1e-4, betas: Any = (0.9, 0.99), weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        (group,) = self.param_groups
        (beta1, beta2), lr = group["betas"], group["lr"]
        for p in group["params"]:
            m = self.state[p].setdefault("m", torch.zeros_like(p))
            update = torch.lerp(p.grad, m, beta1).sign() + group["weight_decay"] * p
            p.sub_(update, alpha=lr)
            m.lerp_(p.grad, 1 - beta2)


REFERENCES = TORCH_OPTIMIZERS | {"lion": Lion}


def distance(name: str, options: dict[str, Any], dtype: Any, rates: list[float] | None = None) -> float:
    """The largest ‖Δ‖ over ‖θ‖ of a parameter after any of the steps, on the same gradients."""
    rng = np.random.default_rng(0)
    ours = {n: rng.normal(0, 1, shape).astype(dtype) for n, shape in SHAPES.items()}
    theirs = {n: torch.nn.Parameter(torch.from_numpy(v.copy())) for n, v in ours.items()}
    rule = OPTIMIZERS[name](ours, lr=0.05, **options)
    reference = REFERENCES[name](theirs.values(), lr=0.05, **options)
    worst = 0.0
    for step in range(STEPS):
        if rates is not None:
            rule.lr = reference.param_groups[0]["lr"] = rates[step]
        gradients = {n: rng.normal(0, 1, v.shape).astype(dtype) for n, v in ours.items()}
        kept = {n: g.copy() for n, g in gradients.items()}
        rule.step(gradients)
        for n, parameter in theirs.items():
            parameter.grad = torch.from_numpy(kept[n].copy())
            assert np.array_equal(gradients[n], kept[n]), "the caller's gradient was changed"
        reference.step()
        for n, value in ours.items():
            other = theirs[n].detach().numpy()
            assert value.shape == other.shape
            assert value.dtype == other.dtype == dtype
            worst = max(worst, float(np.linalg.norm(value - other) / np.linalg.norm(other)))
    return worst


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_here_with_each_of_its_options(name: str) -> None:
    rows = [options for row, options in OPTIONS if row == name]
    defaults, own = vars(OPTIMIZERS[name]({})), list(inspect.signature(OPTIMIZERS[name]).parameters)[2:]
    lacking = [
        option for option in own if all(o.get(option, v) == v for o in rows for v in [defaults[option]])
    ]
    where = f"OPTIONS of tests/manual/test_optimizers.py: no row of {name}"
    assert {} in rows, f"{where} with {{}}, and none that sets {', '.join(lacking)}"
    assert lacking == [], f"{where} sets {', '.join(lacking)} to another value than its default"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_fifty_steps_are_torchs(name: str, options: dict[str, Any], dtype: Any) -> None:
    assert distance(name, options, dtype) <= TOLERANCE[dtype]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_rate_may_change_before_each_step(name: str) -> None:
    options = {"momentum": 0.9} if name in ("sgd", "rmsprop") else {}
    rates = [0.1 / (1 + step) for step in range(STEPS)]
    assert distance(name, options, np.float64, rates) <= TOLERANCE[np.float64]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_defaults_are_torchs(name: str) -> None:
    ours = OPTIMIZERS[name]({"w": np.ones(3)})
    theirs = TORCH_OPTIMIZERS[name]([torch.nn.Parameter(torch.ones(3))]).defaults
    names = {"lr", "momentum", "dampening", "weight_decay", "nesterov", "alpha", "eps", "lr_decay", "betas"}
    for option in names & set(theirs):
        assert getattr(ours, option) == theirs[option], option


def moves_by_signs(name: str) -> bool:
    """Whether every entry moves by the learning rate, whatever the size of its gradient."""
    rng, w = np.random.default_rng(0), np.ones(30)
    rule, moved = OPTIMIZERS[name]({"w": w}, lr=0.5), []
    for _ in range(3):
        before = w.copy()
        rule.step({"w": rng.normal(0, 1, 30)})
        moved.append(np.abs(w - before))
    return np.allclose(moved, 0.5, rtol=1e-9)


# ---- each check fails on a planted fault; a slightly larger gradient changes no sign
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if not moves_by_signs(name)])
def test_one_slightly_larger_gradient_is_seen(name: str, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # the adaptive rules divide a lasting factor away: the fault is put on one step only
    rule = OPTIMIZERS[name]
    right = rule.update

    def wrong(self: Any, parameter: Array, g: Array, state: Any) -> None:
        factor = 1 + 1000 * TOLERANCE[dtype] if self.steps == 2 else 1
        right(self, parameter, (g * factor).astype(g.dtype), state)

    monkeypatch.setattr(rule, "update", wrong)
    assert distance(name, {}, dtype) > TOLERANCE[dtype]


@pytest.mark.parametrize(("name", "options"), [o for o in OPTIONS if o[1].get("weight_decay")], ids=str)
def test_a_forgotten_weight_decay_is_seen(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OPTIMIZERS[name], "decay", lambda self, parameter, g: g)
    assert distance(name, options, np.float64) > 1e-3


@pytest.mark.parametrize("option", ["momentum", "dampening", "alpha", "betas", "eps", "lr_decay"])
def test_an_option_that_is_ignored_is_seen(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, options in OPTIONS:
        rule = OPTIMIZERS[name]
        default = getattr(rule({}), option, None)
        if option not in options or options[option] == default:
            continue
        right = rule.update

        def wrong(self: Any, *a: Any, default: Any = default, right: Any = right) -> None:
            setattr(self, option, default)
            right(self, *a)

        with monkeypatch.context() as patch:
            patch.setattr(rule, "update", wrong)
            assert distance(name, options, np.float64) > 1e-6, (name, options)


def test_a_gradient_of_another_shape_is_refused_by_name() -> None:
    rule = OPTIMIZERS["sgd"]({"layers.0.bias": np.ones(3)})
    with pytest.raises(ValueError, match=r"layers.0.bias has shape \(3,\), its gradient \(3, 1\)"):
        rule.step({"layers.0.bias": np.ones((3, 1))})


@pytest.mark.parametrize("options", [{"momentum": 0.0}, {"momentum": 0.9, "dampening": 0.1}])
def test_nesterov_needs_momentum_and_no_dampening_as_in_torch(options: dict[str, float]) -> None:
    says = ("^nesterov needs a momentum above 0 and no dampening$", "momentum")
    for table, text in zip((OPTIMIZERS, TORCH_OPTIMIZERS), says, strict=True):
        with pytest.raises(ValueError, match=text):
            table["sgd"]([torch.nn.Parameter(torch.ones(1))], lr=0.1, nesterov=True, **options)


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_the_moments_have_torchs_names(name: str, options: dict[str, Any]) -> None:
    ours = OPTIMIZERS[name]({"w": np.ones(3)}, lr=0.1, **options)
    parameter = torch.nn.Parameter(torch.ones(3))
    theirs = TORCH_OPTIMIZERS[name]([parameter], lr=0.1, **options)
    ours.step({"w": np.ones(3)})
    parameter.grad = torch.ones(3)
    theirs.step()
    held = {n for n, value in theirs.state[parameter].items() if n != "step" and value is not None}
    assert set(ours.state["w"]) == held


def test_a_rule_of_ones_own_needs_an_update_only_and_decays_nothing_unless_told() -> None:
    class Plain(Optimizer):
        def update(self, parameter: Array, g: Array, state: Any) -> None:
            parameter -= self.lr * g

    weights = np.array([1.0, -2.0])
    Plain({"w": weights}, 0.5).step({"w": np.array([0.5, 0.25])})
    assert weights.tolist() == [0.75, -2.125]


# ---- penalties -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("penalty", [l1_penalty, l2_penalty])
def test_penalties_are_autograds_also_at_zero(penalty: Any, dtype: Any) -> None:
    weights = np.random.default_rng(0).normal(0, 1, (5, 3)).astype(dtype)
    weights[1, 1] = 0
    tensor = torch.from_numpy(weights.copy()).requires_grad_()
    theirs = 0.3 * tensor.abs().sum() if penalty is l1_penalty else 0.3 * (tensor**2).sum() / 2
    theirs.backward()
    value, gradient = penalty(weights, 0.3)
    assert tensor.grad is not None
    assert gradient.dtype == value.dtype == dtype
    assert np.isclose(value, theirs.item(), rtol=20 * np.finfo(dtype).eps)
    np.testing.assert_allclose(gradient, tensor.grad, rtol=2 * np.finfo(dtype).eps)
    assert gradient[1, 1] == 0
    assert not np.allclose(2 * gradient, tensor.grad), "the l2 penalty's lost ½ would be seen"


def test_the_l2_penalty_is_what_weight_decay_means() -> None:
    rule = OPTIMIZERS["sgd"]({"w": np.ones(3)}, weight_decay=0.25)
    weights, g = np.array([1.0, -2.0, 0.5]), np.array([0.5, 0.25, 4.0])
    assert np.array_equal(rule.decay(weights, g), g + l2_penalty(weights, 0.25)[1])


def test_a_moment_that_moves_before_lions_step_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(self: Any, parameter: Array, g: Array, state: Any) -> None:
        (beta1, beta2), m = self.betas, self.moment("exp_avg", parameter, state)
        m *= beta2
        m += (1 - beta2) * g
        parameter -= self.lr * np.sign(beta1 * m + (1 - beta1) * g)

    monkeypatch.setattr(OPTIMIZERS["lion"], "update", wrong)
    assert distance("lion", {}, np.float64) > 1e-3
