"""What torch has not, or a fast engine, runs by manual's formula: the same bits, and it is said."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import manual
from manual.training.fit import fit
from mlp_torch import model
from mlp_torch.by_formula import ByFormula
from mlp_torch.config import Train
from mlp_torch.engines import build, choose_engine, moves_by_formula, step_of
from mlp_torch.errors import UserError

RULES = list(manual.OPTIMIZERS)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_by_formula_has_the_bits_of_manuals_and_goes_on_from_a_state_dict(name: str) -> None:
    rng = np.random.default_rng(0)
    ours = {"a": rng.normal(size=(3, 2)), "b": rng.normal(size=2)}
    theirs = [torch.nn.Parameter(torch.from_numpy(v.copy())) for v in ours.values()]
    rule, reference = manual.OPTIMIZERS[name](ours, 0.1), ByFormula(manual.OPTIMIZERS[name], theirs, 0.1)
    for step in range(6):
        if step == 3:
            state = copy.deepcopy(reference.state_dict())
            reference = ByFormula(manual.OPTIMIZERS[name], theirs)
            reference.load_state_dict(state)
        rule.lr = reference.param_groups[0]["lr"] = 0.1 / (1 + step)
        gradients = {n: rng.normal(size=v.shape) for n, v in ours.items()}
        rule.step(gradients)
        for parameter, g in zip(theirs, gradients.values(), strict=True):
            parameter.grad = torch.from_numpy(g.copy())
        reference.step()
        for parameter, value in zip(theirs, ours.values(), strict=True):
            assert np.array_equal(parameter.detach().numpy(), value)


def test_another_option_is_a_type_error_and_the_defaults_are_the_rules() -> None:
    with pytest.raises(TypeError, match="Lion takes no momentum"):
        ByFormula(manual.OPTIMIZERS["lion"], [torch.nn.Parameter(torch.ones(1))], momentum=0.9)
    reference = ByFormula(manual.OPTIMIZERS["lion"], [torch.nn.Parameter(torch.ones(1))])
    assert reference.defaults == {"lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": 0.0}


def test_a_closures_loss_comes_back_and_what_has_no_gradient_stays() -> None:
    a, b = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    reference = ByFormula(manual.OPTIMIZERS["sgd"], [a, b], 0.5)

    def closure() -> float:
        (3 * a).sum().backward()
        return 3.0

    assert float(reference.step(closure)) == 3
    assert (float(a.detach()), float(b.detach())) == (1 - 0.5 * 3, 1)


def test_where_torch_has_no_such_optimizer_it_is_said() -> None:
    assert "torch has no lion" in moves_by_formula(Train(optimizer="lion", engine="both"))
    assert moves_by_formula(Train(optimizer="lion", engine="manual")) == ""
    assert moves_by_formula(Train(optimizer="adam", engine="both")) == ""


# ---- rows that the fast engines lack ----------------------------------------------------------------

PLANTED = ("activation", "loss", "optimizer")


@pytest.fixture
def planted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Train:
    """A row of manual and of the model that no fast engine knows, and the flags that ask for it."""
    kind = request.param
    ours: dict[str, Any] = {
        "activation": replace(manual.ACTIVATIONS["softmax"], name="invented"),
        "loss": replace(manual.LOSSES["multi_margin"], name="invented"),
        "optimizer": type("Invented", (manual.SGD,), {}),
    }
    theirs: dict[str, Any] = {
        "activation": model.ACTIVATIONS["softmax"],
        "loss": model.LOSSES["multi_margin"],
        "optimizer": model.OPTIMIZERS["sgd"],
    }
    tables = {"activation": "ACTIVATIONS", "loss": "LOSSES", "optimizer": "OPTIMIZERS"}
    monkeypatch.setitem(getattr(manual, tables[kind]), "invented", ours[kind])
    monkeypatch.setitem(getattr(model, tables[kind]), "invented", theirs[kind])
    flags: dict[str, Any] = {"loss": "multi_margin", "dtype": "float64", "hidden": (4,), "device": "cpu"}
    return Train(**flags | {kind: "invented"})


@pytest.mark.parametrize("planted", PLANTED, indirect=True)
def test_a_row_without_kernels_trains_by_the_formula_on_manual_autograd_and_both(planted: Train) -> None:
    rng, found = np.random.default_rng(0), []
    x, y = rng.normal(size=(20, 3)), rng.integers(0, 2, 20)
    architecture, loss = planted.architecture(3, 2), str(planted.loss)
    for name in ("manual", "autograd", "both"):
        config = replace(planted, engine=name)
        engine = build(config, architecture, loss)
        for _ in fit(engine, x, y, epochs=2, batch_size=8, lr=0.1):
            pass
        found.append(engine.parameters())
    for other in found[1:]:
        for name, value in other.items():
            np.testing.assert_allclose(found[0][name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("planted", PLANTED, indirect=True)
def test_a_row_without_kernels_is_refused_in_one_line_and_passed_over(planted: Train) -> None:
    architecture, loss = planted.architecture(3, 2), str(planted.loss)
    for name in ("compiled", "torch"):
        with pytest.raises(UserError, match=rf"^--engine {name}: it has no kernel for invented"):
            build(replace(planted, engine=name), architecture, loss)
    name, why = choose_engine(planted, architecture, loss, "cpu", 10**9)
    assert name == "manual"
    assert "compiled would be faster, but it has no kernel for invented" in why


@pytest.mark.parametrize("planted", PLANTED[:2], indirect=True)
def test_what_is_judged_is_the_step_that_trains(planted: Train) -> None:
    architecture, config = planted.architecture(3, 2), replace(planted, engine="manual")
    assert step_of(config, architecture, str(planted.loss)) == "manual"
    plain = replace(config, activation="relu", loss="multi_margin")
    assert step_of(plain, plain.architecture(3, 2), "multi_margin") == "buffered"
