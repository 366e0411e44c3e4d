"""A row by its name, or by a call of it with options; and what a call that cannot be is told."""

import re
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from manual import LOSSES, MLP
from manual.structure.architecture import choose
from manual.structure.table import base, parsed
from mlp_torch.model import loss_value

DELTAS = st.sampled_from(["0.1", "0.5", "1", "2.75", "1e-3", "40"])


@given(DELTAS, st.sampled_from(["mean", "sum"]), st.integers(0, 99), st.booleans())
def test_a_loss_with_an_option_is_torchs_with_it(
    delta: str, reduction: str, seed: int, weighted: bool
) -> None:
    rng = np.random.default_rng(seed)
    output, y, w = rng.normal(0, 3, (5, 2)), rng.normal(0, 3, (5, 2)), rng.uniform(0.1, 2, 5)
    row, weights = LOSSES[f"huber(delta={delta})"], w if weighted else None
    tensor = torch.tensor(output, requires_grad=True)
    given = torch.tensor(w) if weighted else None
    theirs = loss_value(f"huber( delta = {delta} )", tensor, torch.tensor(y), reduction, given)
    theirs.backward()
    assert float(theirs.detach()) == pytest.approx(row.value(output, y, reduction, weights), rel=1e-13)
    np.testing.assert_allclose(row.gradient(output, y, reduction, weights), tensor.grad.numpy(), rtol=1e-13)
    if not weighted:
        own = F.huber_loss(torch.tensor(output), torch.tensor(y), reduction=reduction, delta=float(delta))
        assert float(own) == pytest.approx(float(theirs.detach()), rel=1e-13)


def test_an_option_is_the_decimal_that_was_written() -> None:
    output, y = np.array([[Fraction(3)]]), np.array([[Fraction(0)]])
    assert LOSSES["huber(delta=0.1)"].value(output, y) == Fraction(1, 10) * (3 - Fraction(1, 20))


def test_the_rows_own_options_are_torchs_defaults() -> None:
    output, y = np.linspace(-3, 3, 7)[:, None], np.zeros((7, 1))
    theirs = F.huber_loss(torch.tensor(output), torch.tensor(y))
    assert LOSSES["huber"].value(output, y) == pytest.approx(float(theirs), rel=1e-15)
    assert LOSSES["huber()"] == LOSSES["huber"] == LOSSES["huber(delta=1)"]


def test_the_option_stands_in_the_chain_rule_as_a_constant_and_in_its_text() -> None:
    stages = {stage.name: stage for stage in MLP((2, 1)).stages("huber(delta=0.5)")}
    for name in ("loss", "dloss"):
        assert (stages[name].row, dict(stages[name].constants)) == ("huber", {"delta": "0.5"})
        assert "0.5" in stages[name].formula


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("huber(delta=0)", "delta is a finite number above 0"),
        ("huber(delta=-1)", "delta is a finite number above 0"),
        ("huber(delta=inf)", "delta is a finite number above 0"),
        ("huber(delta=much)", "delta is a finite number above 0"),
        ("huber(gamma=1)", "huber has no option 'gamma': it takes delta"),
        ("mse(delta=1)", "mse has no option 'delta': it takes none"),
        ("huber(delta)", "written as in huber"),
        ("huber(delta=1, delta=2)", "each once"),
        ("hubr(delta=1)", "unknown loss 'hubr(delta=1)': did you mean 'huber'?"),
        ("huber(delta=1", "written as in huber"),
        ("", "unknown loss"),
    ],
)
def test_a_call_that_cannot_be_is_told_in_one_line(name: str, said: str) -> None:
    assert name not in LOSSES
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        choose("loss", name, LOSSES)
    assert "\n" not in str(error.value)


def test_an_unknown_name_is_a_key_error_and_a_table_lists_names_alone() -> None:
    with pytest.raises(KeyError, match="nobody"):
        LOSSES["nobody(delta=1)"]
    assert "huber(delta=2)" in LOSSES
    assert 3 not in LOSSES
    assert [base(name) for name in LOSSES] == list(LOSSES)
    assert parsed("huber(a=1, b=2)") == ("huber", {"a": "1", "b": "2"})
