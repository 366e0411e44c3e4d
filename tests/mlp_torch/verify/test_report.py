"""The report of a comparison as its reader meets it: in a console, in a notebook."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mlp_torch.model import MLP
from mlp_torch.verify import ComparisonReport, compare
from tests.mlp_torch.test_html import EVIL, Reader


def report(wrong: bool = False, **options: Any) -> ComparisonReport:
    model = MLP((5, 7, 3), activation="relu", seed=3, dtype=torch.float64)
    if wrong:
        model.layers[1].weight.register_hook(lambda g: 2 * g)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 5)), rng.integers(0, 3, 8)
    return compare(model, x, y, loss="cross_entropy", **options)


@pytest.mark.parametrize("tier", ["certified", "all"])
def test_in_a_console_a_report_shows_itself_as_its_text(tier: str) -> None:
    found = report(tier=tier)
    assert repr(found) == str(found)
    assert repr(found).splitlines()[0] == found.summary()


def test_the_verdict_stands_first_then_the_guilty_stages_then_the_tables() -> None:
    found = report(wrong=True, tier="certified")
    found = replace(found, twin=found)
    text = str(found)
    first, second, *rest = text.splitlines()
    assert first == found.summary()
    assert first.startswith("wrong: ")
    assert second.startswith("dW2, layers.1.weight: autograd's dW2[")
    head = next(i for i, line in enumerate(rest) if line.startswith("gradient "))
    assert "dyadic twin, dW2, layers.1.weight: autograd's dW2[" in "\n".join(rest[:head])


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("tier", ["certified", "all"])
def test_in_a_notebook_it_is_the_verdict_the_sentence_and_every_row(tier: str, wrong: bool) -> None:
    found = report(wrong, tier=tier)
    page = found._repr_html_()
    read = Reader(page)
    assert "".join(read.texts).startswith(found.summary())
    assert found.summary().startswith(f"{'wrong' if wrong else 'certified'}: ")
    for row in (*found.parameters.values(), *found.stages.values()):
        cells = [cell for cell in row.cells() if cell]  # the loss stands at no index
        assert any(read.texts[i : i + len(cells)] == cells for i in range(len(read.texts))), row.name
    assert read.tags.count("table") == (4 if tier == "all" else 2)
    assert ("<details open>" in page) == wrong
    assert ("proven to be" in page) == wrong
    assert "<script" not in page


def test_a_malicious_name_is_shown_and_not_run() -> None:
    found = report()
    row = next(iter(found.parameters.values()))
    evil = replace(found, parameters={EVIL: replace(row, name=EVIL, verdict="wrong", note=EVIL)})
    read = Reader(evil._repr_html_())
    assert EVIL in read.texts
    assert not {"script", "img"} & set(read.tags)


def test_a_name_with_the_consoles_markup_is_shown_as_it_is() -> None:
    found = report()
    row = next(iter(found.parameters.values()))
    name = "a[/bold][red]b"
    assert name in str(replace(found, parameters={name: replace(row, name=name)}))


def test_a_unit_at_a_kink_is_named_in_both() -> None:
    found = report()
    row = next(iter(found.parameters.values()))
    at_kink = replace(row, verdict="undecided", units=(("z1", (2, 3)),))
    found = replace(found, parameters={row.name: at_kink})
    for shown in (str(found), found._repr_html_()):
        assert f"{row.name}: undecided at z1[2, 3]" in shown
