"""`mlp explain`: the factors multiply to the gradient, and a fault in one of them is seen."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manual import ACTIVATIONS, LOSSES, MLP
from manual.structure.architecture import NORMALIZATIONS
from mlp_torch.__main__ import main
from mlp_torch.explanation import factors as rules
from mlp_torch.explanation.chain import contract, explain
from mlp_torch.explanation.markdown import markdown
from tests.mlp_torch.explanation.entries import EVERY_KIND, FIXED, explained
from tests.problems import DTYPES, faulty, problems


def from_json(explanation):
    """The product, from nothing but what `--json` prints."""
    table = json.loads(json.dumps(explanation.to_dict(), allow_nan=False))
    return contract([(f["rule"], f["values"]) for f in table["factors"]]), table


@settings(max_examples=40, deadline=None)
@given(
    problem=problems(),
    loss=st.sampled_from(["mse", "half_squared_error", "cross_entropy", "bce_with_logits"]),
    activation=st.sampled_from(list(ACTIVATIONS)),
    output_activation=st.sampled_from(["identity", "softmax", "tanh", "prelu"]),
    normalization=st.sampled_from(NORMALIZATIONS),
    dropout=st.sampled_from([0.0, 0.4]),
    dtype=st.sampled_from(list(DTYPES)),
    choose=st.integers(0, 10_000),
)
def test_the_serialised_factors_multiply_to_the_gradient_of_both_engines(
    problem, loss, activation, output_activation, normalization, dropout, dtype, choose
):
    rows = {"activation": activation, "output_activation": output_activation}
    rows |= {"normalization": normalization, "dropout": dropout}
    e = explained(problem, loss, choose=choose, dtype=dtype, **rows)
    product, table = from_json(e)
    assert product == e.product == table["product"]
    assert abs(product - table["gradient"]["manual"]) <= table["tolerance"]
    assert abs(product - table["gradient"]["autograd"]) <= table["tolerance"] + e.row.bound
    assert table["holds"]


@pytest.mark.parametrize(
    "parameter",
    [
        "layers.0.weight",
        "layers.2.weight",
        "layers.2.bias",
        "normalizations.0.weight",
        "normalizations.0.bias",
        "activations.0.weight",
        "activations.1.weight",
    ],
)
@pytest.mark.parametrize("normalization", ["batch_norm", "layer_norm"])
def test_a_tampered_factor_changes_the_product_beyond_rounding(parameter, normalization):
    e = explained(FIXED, "mse", parameter, choose=3, **(EVERY_KIND | {"normalization": normalization}))
    assert e.multiplies
    assert e.product != 0
    given_ = [(f.rule, f.values) for f in e.factors]
    for i, (rule, values) in enumerate(given_):
        tampered = [*given_[:i], (rule, values * (1 + 1e-9)), *given_[i + 1 :]]
        assert not replace(e, product=contract(tampered)).multiplies, e.factors[i].stage


def test_each_factor_is_the_closed_form_of_its_local_derivative():
    rows = {"activation": "tanh", "dropout": 0.4, "output_activation": "softmax"}
    e = explained(FIXED, "mse", "layers.0.weight", choose=6 * 10, **rows)
    (j, k), values = e.index, e.traces[0]
    found = {f.stage: f.values for f in e.factors}
    a3 = values["a3"]
    jacobian = a3[:, :, None] * (np.eye(2) - a3[:, None, :])
    np.testing.assert_array_equal(found["dloss"], 2 * (a3 - values["y"]) / a3.size)
    np.testing.assert_allclose(found["dz3"], jacobian, rtol=1e-13, atol=1e-16)
    np.testing.assert_array_equal(found["dh2"], values["W3"])
    np.testing.assert_array_equal(found["da2"], values["mask2"])
    np.testing.assert_array_equal(found["dz2"], 1 - values["a2"] ** 2)
    np.testing.assert_array_equal(found["dh1"], values["W2"][:, [j]])
    np.testing.assert_array_equal(found["dz1"], 1 - values["a1"][:, [j]] ** 2)
    np.testing.assert_array_equal(found["dW1"], values["x"][:, [k]])


@pytest.mark.parametrize("normalization", ["batch_norm", "layer_norm"])
def test_the_jacobian_of_a_normalization_is_that_of_differences(normalization):
    e = explained(FIXED, "mse", "layers.0.weight", choose=10 * 5, normalization=normalization)
    values, axis = e.traces[0], 0 if normalization == "batch_norm" else 1
    stage = values.stage("n2")
    factor = next(f for f in e.factors if f.stage == "dz2")
    z, step = values["z2"], 1e-6
    for n, c in np.ndindex(z.shape):
        moved = [z.copy(), z.copy()]
        moved[0][n, c] += step
        moved[1][n, c] -= step
        up, down = (stage.function(m, values["gamma2"], values["beta2"]) for m in moved)
        slope = (up - down) / (2 * step)
        ours = factor.values[c, :, n] if axis == 0 else factor.values[n, :, c]
        np.testing.assert_allclose(ours, slope[:, c] if axis == 0 else slope[n], rtol=1e-6, atol=1e-8)


def test_what_the_layer_above_has_computed_is_marked_as_re_used_and_nothing_else():
    e = explained(FIXED, "mse", "layers.0.weight", dropout=0.3)
    above = explained(FIXED, "mse", "layers.1.weight", dropout=0.3)
    assert [f.stage for f in e.factors if f.reused] == [f.stage for f in above.factors[:-1]]
    for again, first in zip(e.factors, above.factors[:-1], strict=False):
        assert again.denominator == first.denominator
    last = explained(FIXED, "mse", "layers.2.bias", dropout=0.3)
    assert not any(f.reused for f in last.factors)


@pytest.mark.parametrize(
    ("parameter", "guilty"), [("layers.0.weight", {"dz1", "dz2"}), ("layers.1.bias", {"dz2"})]
)
def test_a_faulty_derivative_is_marked_wrong_at_its_stage(monkeypatch, parameter, guilty):
    monkeypatch.setitem(ACTIVATIONS, "tanh", faulty(ACTIVATIONS, "tanh"))
    e = explained(FIXED, "mse", parameter, activation="tanh")
    assert {f.stage for f in e.wrong} == guilty
    assert not e.holds
    assert e.row.verdict == "wrong"
    assert "wrong" in markdown(e)


def test_a_gradient_that_is_not_the_product_of_its_factors_is_said_to_be_none():
    e = explained(FIXED, "mse", "layers.0.weight", activation="tanh")
    e.traces[0].values["dW1"] = e.traces[0]["dW1"] * (1 + 1e-9)
    again = explain(*e.traces, "layers.0.weight", e.index)
    assert not again.multiplies
    assert not again.holds


def test_a_wrong_stage_ends_the_command_with_1_and_is_named(monkeypatch, capsys):
    monkeypatch.setitem(ACTIVATIONS, "tanh", faulty(ACTIVATIONS, "tanh"))
    assert main(["explain", "--data", "xor", "--hidden", "3", "--activation", "tanh", "--sample", "1"]) == 1
    assert re.search(r"^dz1: manual's dz1\[.*proven to be", capsys.readouterr().out, re.M)


def test_every_kind_of_backward_stage_has_a_rule():
    kinds = set()
    for normalization in NORMALIZATIONS:
        for training in (True, False):
            model = MLP((2, 3, 2), normalization=normalization, dropout=0.5, output_activation="softmax")
            model.training = training
            kinds |= {s.kind for s in model.stages("mse") if s.name.startswith("d") and s.parameter is None}
    assert kinds - {"dropout", "loss_gradient"} == set(rules.RULES)
    assert set(LOSSES)
