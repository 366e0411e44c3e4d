"""Claims about the pages that hold the tables: a block a maker of processors, and the others' stay."""

import platform
import re
from pathlib import Path

import pytest
from bench_training import PAGE, arguments, picture, raced
from hypothesis import given
from hypothesis import strategies as st
from race.files import dump, place
from race.machine import kind
from race.problems import PROBLEMS
from race.rounds import Measured, Run

BEGIN, END = "<!-- benchmark:training AMD -->", "<!-- /benchmark:training AMD -->"
INTEL = BEGIN.replace("AMD", "Intel"), END.replace("AMD", "Intel")


def a_race() -> dict[str, Measured]:
    """One round of an engine and JAX."""
    runs = {"engine-manual": Run(0.2, 0.2, 100.0, 0.1, 0.9, 7), "jax-scan": Run(0.3, 0.3, 100.0, 0.1, 0.9, 7)}
    return {name: Measured(1.5, run, {1: run}) for name, run in runs.items()}


@given(st.text("ab|<!->\n€"), st.text("ab|<!->\n€"), st.text("xyz|\n"), st.text("xyz|\n"))
def test_the_table_lands_between_the_markers_and_nothing_else_changes(
    before: str, after: str, old: str, new: str
) -> None:
    placed = place(f"{before}{BEGIN}{old}{END}{after}", new, "training AMD")
    assert placed == f"{before}{BEGIN}\n\n{new.strip()}\n\n{END}{after}"
    assert place(placed, new, "training AMD") == placed


def test_the_block_of_another_processor_stays_and_a_new_one_comes_after_it() -> None:
    text = f"before{BEGIN}old{END}after"
    placed = place(text, "new", "training Intel")
    assert placed == f"before{BEGIN}old{END}\n\n{INTEL[0]}\n\nnew\n\n{INTEL[1]}after"
    third = place(placed, "third", "training aarch64")
    assert third.index("old") < third.index("new") < third.index("third") < third.index("after")
    assert place(third, "newer", "training Intel") == third.replace("new", "newer")


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_a_page_without_its_markers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the page needs"):
        place(text, "table", "training AMD")


def test_the_page_has_the_markers() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in ("training AMD", "training Intel"):
        assert "a table" in place(text, "a table", name)


def test_the_pictures_that_the_page_shows_lie_beside_it() -> None:
    shown = re.findall(r"!\[[^]]*\]\(([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert picture("training", "AMD").name in shown
    assert all(PAGE.with_name(name).exists() for name in shown)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ("vendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC", "AMD"),
        ("vendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R)", "Intel"),
        ("Apple M3", "Apple"),
        ("CPU implementer\t: 0x41", platform.machine()),
    ],
)
def test_a_processor_is_filed_under_its_maker(info: str, expected: str) -> None:
    assert kind(info) == expected


def test_a_race_goes_into_the_page_under_its_own_processor_and_the_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"{BEGIN}of another{END}")
    monkeypatch.setattr("bench_training.PAGE", path)
    raw = tmp_path / "race.json"
    raw.write_text(dump({p: a_race() for p in PROBLEMS}, "today, a processor.", "Intel"))
    raced(arguments(["--load", str(raw), "--readme"]))
    page = path.read_text()
    assert f"{BEGIN}of another{END}" in page
    assert "today, a processor." in page
    ours = page.partition(INTEL[0])[2].partition(INTEL[1])[0]
    assert (
        ours.index("| as JAX's scan |") < ours.index("training-intel.png") < ours.index("| what a run costs")
    )
    assert (tmp_path / "training-intel.png").exists()
