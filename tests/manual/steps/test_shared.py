"""What the fast steps share: flat arrays, the program of stages, the names that checkpoints keep."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manual import ACTIVATIONS, MLP, OPTIMIZERS
from manual.buffered import BufferedEngine
from manual.buffered.step import Step as BufferedStep
from manual.compiled import CompiledEngine
from manual.compiled.engine import STAGES
from manual.optimizers import SGD
from manual.steps.flat import FlatArray
from manual.steps.program import NORMALIZATION, program
from manual.structure.architecture import NORMALIZATIONS, Architecture
from manual.training.recipe import Recipe
from mlp_torch.buffered import TorchEngine
from mlp_torch.buffered.step import Step as TorchStep
from mlp_torch.model import to_torch

ROWS = {"activation": st.sampled_from(list(ACTIVATIONS)), "normalization": st.sampled_from(NORMALIZATIONS)}


@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.booleans(), st.fixed_dictionaries(ROWS))
def test_every_place_of_a_flat_array_is_one_parameters(sizes: list[int], rows: bool, kinds: Any) -> None:
    architecture = Architecture(tuple(sizes), **kinds)
    flat = FlatArray.zeros(architecture, np.float32, rows=rows)
    for view in flat.views.values():
        view += 1
    assert (flat.array == 1).all()
    assert {name: view.shape for name, view in flat.views.items()} == architecture.parameter_shapes()
    for i, block in enumerate(flat.blocks):
        assert np.shares_memory(block[:, :-1], flat.views[f"layers.{i}.weight"])
        assert np.shares_memory(block[:, -1], flat.views[f"layers.{i}.bias"])
    values = {name: np.random.default_rng(0).normal(size=v.shape) for name, v in flat.views.items()}
    taken = flat.take(values).views
    assert all(np.array_equal(taken[name], value.astype(np.float32)) for name, value in values.items())


def kinds(training: bool) -> set[str]:
    """All kinds of stages that networks have."""
    found = set()
    for activation, normalization, recipe in product(ACTIVATIONS, NORMALIZATIONS, (Recipe(), Recipe(l1=0.1))):
        architecture = Architecture((3, 4, 2), activation, dropout=0.1, normalization=normalization)
        stages = program(architecture, "mse", training=training, recipe=recipe, dx=True)
        found |= {NORMALIZATION.sub("normalization", stage.kind) for stage in stages}
    return found


def test_every_kind_of_stage_has_its_method_in_the_steps_that_are_written() -> None:
    assert [kind for kind in kinds(True) | kinds(False) if not hasattr(TorchStep, kind)] == []
    penalties = {"penalty", "penalty_gradient"}  # which follow the buffered step
    assert [kind for kind in kinds(True) - penalties if not hasattr(BufferedStep, kind)] == []
    assert set(STAGES) <= kinds(True)


def test_the_gradient_of_the_input_is_left_out_unless_it_is_asked_for() -> None:
    architecture = Architecture((3, 4, 2))
    whole = program(architecture, "mse", dx=True)
    assert [s.name for s in whole if s not in program(architecture, "mse")] == ["dx"]


def test_a_kind_without_a_method_is_an_error_and_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(BufferedStep, "dropout_backward")
    model = MLP((3, 4, 2), dropout=0.5)
    with pytest.raises(AttributeError, match="dropout_backward"):
        BufferedEngine(model, "mse", SGD(model.parameters)).trace(np.ones((2, 3)), np.ones((2, 2)))


# ---- what lacks a kernel -----------------------------------------------------------------------------


class Mine(SGD):
    """A rule that no step has a kernel for: θ ← θ − 2 η g."""

    def update(self, parameter: Any, g: Any, state: Any) -> None:
        parameter -= 2 * self.lr * g
        self.moment("seen", parameter, state)[...] += 1


def test_a_rule_without_a_kernel_is_the_plain_one_in_numpy_and_refused_in_one_line_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(OPTIMIZERS, "mine", Mine)
    model, twice = (MLP((3, 4, 2), seed=1) for _ in range(2))
    x, y = np.random.default_rng(0).normal(size=(7, 3)), np.ones((7, 2))
    engine = BufferedEngine(model, "mse", Mine(model.parameters), Recipe(clip_norm=0.1, accumulate=2))
    plain = BufferedEngine(twice, "mse", SGD(twice.parameters), Recipe(clip_norm=0.1, accumulate=2))
    for each, rate in ((engine, 0.25), (plain, 0.5)):
        each.epoch(x, y, np.arange(7), 2, np.full(4, rate))
    assert all(np.array_equal(v, twice.parameters[n]) for n, v in engine.parameters().items())
    assert {n: v.max() for n, v in engine.moments["seen"].items()} == dict.fromkeys(model.parameters, 2.0)
    for make in (
        lambda: CompiledEngine(model, "mse", Mine(model.parameters)),
        lambda: TorchEngine(to_torch(model), "mse", "mine", {}),
    ):
        with pytest.raises(ValueError, match=r"^the (compiled|torch) engine has no kernel for Mine$"):
            make()


# ---- names that checkpoints keep ---------------------------------------------------------------------

KEPT: dict[str, tuple[set[str], set[str]]] = {
    "sgd": (set(), set()),
    "rmsprop": ({"square_avg"}, {"square_avg"}),
    "adagrad": ({"sum"}, {"sum", "divisor"}),
    "adam": ({"exp_avg", "exp_avg_sq"}, {"exp_avg", "exp_avg_sq", "step"}),
    "adamw": ({"exp_avg", "exp_avg_sq"}, {"exp_avg", "exp_avg_sq", "step"}),
}


@pytest.mark.parametrize("momentum", [False, True])
@pytest.mark.parametrize("name", KEPT)
def test_moments_are_kept_under_the_names_of_checkpoints(name: str, momentum: bool) -> None:
    takes = name in ("sgd", "rmsprop")
    options = {"momentum": 0.5} if momentum and takes else {}
    more = {"momentum_buffer"} if options else set()
    numpys, torchs = (names | more for names in KEPT[name])
    models = [MLP((3, 4, 2), activation="prelu") for _ in range(3)]
    rules = [OPTIMIZERS[name](model.parameters, **options) for model in models]
    buffered, compiled = (
        kind(model, "mse", rule)
        for kind, model, rule in zip((BufferedEngine, CompiledEngine), models, rules, strict=False)
    )
    torch = TorchEngine(to_torch(models[2]), "mse", name, options)
    for engine in (buffered, compiled, torch):
        engine.epoch(np.ones((2, 3)), np.ones((2, 2)), np.arange(2), 2, np.ones(1))
    assert set(buffered.state().of("moments")) == numpys
    assert {len(v) for v in buffered.state().of("moments").values()} <= {
        MLP((3, 4, 2), activation="prelu").counts.parameters
    }
    assert set(compiled.state().of("moments")) == {f"{m}/{p}" for m in numpys for p in models[0].parameters}
    assert set(torch.state().of("moments")) == torchs
