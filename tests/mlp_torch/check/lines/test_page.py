"""The page of guilty lines is what `mlp check` prints today."""

import pytest

from mlp_torch.__main__ import main
from tests.mlp_torch.check.lines.page import (
    BEGIN,
    END,
    FUNCTION,
    PROGRAMS,
    README,
    SLIPS,
    placed,
    shown,
)

NAMES = [slip.file for slip in SLIPS]


def said_of(slip, text):
    """From the guilty line's place on: its mark, its words, its proof, what mends it, and others."""
    return text[text.index(f"{slip.file}:{slip.source()[1]} in ") :]


@pytest.mark.parametrize("slip", SLIPS, ids=NAMES)
def test_the_page_is_current(slip):
    page = README.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    part = page.partition(f"$ mlp check {slip.file}:{FUNCTION}\n")[2].partition("\n```")[0]
    text = shown(slip)
    assert said_of(slip, part) == said_of(slip, text)
    assert part.split(". (")[0] == text.split(". (")[0]
    assert "mends it:" in part


@pytest.mark.parametrize("name", NAMES)
def test_the_programs_of_the_page_are_right_without_their_slip(name, capsys):
    assert main(["check", f"{PROGRAMS / name}:{FUNCTION}"]) == 0
    assert "mends it" not in capsys.readouterr().out


def test_the_page_lands_between_its_markers_and_nothing_else_changes():
    text = f"before\n{BEGIN}\nold\n{END}\nafter"
    assert placed(text, "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter"
    assert placed(placed(text, "new"), "new") == placed(text, "new")
    with pytest.raises(ValueError, match="needs"):
        placed(f"{END}{BEGIN}", "new")
