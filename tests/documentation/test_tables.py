"""The tables of flags and engines are the code's own; those of faults, data, slides are tested elsewhere."""

from dataclasses import fields
from typing import get_type_hints

import pytest

import manual
from mlp_torch.__main__ import COMMANDS
from mlp_torch.config import ENGINES, Train
from mlp_torch.data.config import DataFlags
from mlp_torch.flags import flag_name
from tests.documentation.pages import ROOT, codes, rows, words_of

FLAGS = "| flag | values (default first) | meaning |"
DATA_FLAGS = "| flag | meaning |"
COMMAND = "| command | what it does |"
ENGINE = "| `--engine` | the step | where it is strong |"


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def table_of_training():
    return rows(text("mlp_torch/training/README.md"), FLAGS)


def names(kind):
    return {flag_name(field.name) for field in fields(kind)}


def choices(flag):
    """What the help offers in braces; None where it offers nothing."""
    hint = get_type_hints(Train, include_extras=True)[flag.removeprefix("--").replace("-", "_")]
    said = next((m.metavar for m in getattr(hint, "__metadata__", ()) if getattr(m, "metavar", None)), "")
    return said[1:-1].split(",") if said.startswith("{") and said.endswith("}") else None


def said_of(default):
    """A default as a page writes it; "" where it is none or off, which a page says in words."""
    if default is None or default is False:
        return ""
    if isinstance(default, tuple):
        return " ".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


DEFAULTS = {flag_name(field.name): said_of(field.default) for field in fields(Train)}


def wrong_values(table):
    """Rows whose values are not the code's: the default first, and of a choice every one."""
    found = []
    for flags, values, *_ in table:
        named, shown = words_of([flags]), codes(values)
        compared = len(named) if len(named) == len(shown) else min(1, len(shown))
        for flag, first in zip(named[:compared], shown[:compared], strict=True):
            if DEFAULTS[flag] and first != DEFAULTS[flag]:
                found.append(f"{flag}: {first} is shown, the default is {DEFAULTS[flag]}")
        known = choices(named[0]) if len(named) == 1 and DEFAULTS[named[0]] else None
        if known and "…" not in values and set(known) != set(shown):
            found.append(f"{named[0]}: {shown} are shown, {known} there are")
    return found


def test_every_flag_of_training_is_in_one_of_the_two_tables_and_no_other():
    shown = words_of(row[0] for row in table_of_training())
    of_data = words_of(row[0] for row in rows(text("mlp_torch/data/README.md"), DATA_FLAGS))
    assert set(shown) - names(Train) == set(), "mlp_torch/training/README.md names flags that are not there"
    assert set(of_data) - names(DataFlags) == set(), "mlp_torch/data/README.md names flags that are not there"
    assert names(Train) - set(shown) - set(of_data) == set(), "flags that neither table names"
    assert len(shown) == len(set(shown))


def test_the_table_of_flags_shows_the_defaults_and_the_choices_of_the_code():
    assert wrong_values(table_of_training()) == []


def test_every_engine_has_its_row_and_no_other():
    shown = [codes(row[0])[0] for row in rows(text("mlp_torch/README.md"), ENGINE)]
    assert sorted(shown) == sorted(ENGINES)


def rooms(package):
    """The files and folders of a package, as its page names them."""
    inside = [path for path in (ROOT / package).iterdir() if not path.name.startswith("__")]
    folders = {f"{path.name}/" for path in inside if (path / "__init__.py").exists()}
    return folders | {path.name for path in inside if path.suffix == ".py"}


@pytest.mark.parametrize(
    ("package", "headers"),
    [
        ("manual", ("| chapter | what it holds |", "| shelf | what it holds |")),
        ("mlp_torch", ("| room | what it holds |",)),
    ],
)
def test_every_room_of_a_package_is_in_its_map(package, headers):
    page = text(f"{package}/README.md")
    named = {code for header in headers for row in rows(page, header) for code in codes(row[0])}
    assert rooms(package) - named == set(), f"{package}/README.md: its map lacks a room"
    assert {name for name in named if not (ROOT / package / name).exists()} == set()


def test_the_chapters_of_manual_are_in_the_order_of_reading():
    table = rows(text("manual/README.md"), "| chapter | what it holds |")
    chapters = [codes(row[0])[0].removesuffix(".py") for row in table]
    assert f"\n    {', '.join(chapters)}\n" in str(manual.__doc__)


def test_every_command_has_its_place_in_the_table_and_no_other():
    shown = [code for row in rows(text("mlp_torch/README.md"), COMMAND) for code in codes(row[0])]
    assert sorted(shown) == sorted(f"mlp {name}" for name in COMMANDS)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("| `--seed` | `1` | … |", "--seed: 1 is shown, the default is 0"),
        ("| `--lr` `--schedule` | `0.003` `step` | … |", "--schedule: step is shown, the default is cosine"),
        ("| `--dtype` | `float32` | … |", "--dtype: ['float32'] are shown"),
        ("| `--log` | `standard` `minimal` `all` | … |", "--log: "),
    ],
)
def test_a_wrong_value_in_the_table_of_flags_is_seen(row, said):
    table = rows(f"{FLAGS}\n|---|---|---|\n{row}\n\nafter", FLAGS)
    assert any(found.startswith(said) for found in wrong_values(table))


def test_a_table_that_is_not_there_is_said():
    with pytest.raises(LookupError, match="no table begins with"):
        rows("# a\n", ENGINE)
