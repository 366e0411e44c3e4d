"""The rules that hold the house up: `manual` knows nothing of torch, and both sides have every row."""

import ast
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import manual
from mlp_torch import model, rows
from mlp_torch.errors import UserError

ROOMS = sorted(Path(manual.__file__).parent.glob("**/*.py"))


def imports(path: Path) -> set[str]:
    """The top-level packages that a file imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            found.add(str(node.module).partition(".")[0])
    return found


def test_importing_manual_never_imports_torch_nor_numba() -> None:
    root = Path(manual.__file__).parent.parent
    paths = [room.relative_to(root).with_suffix("").parts for room in ROOMS if room.stem != "__init__"]
    rooms = ", ".join(".".join(parts) for parts in paths if "compiled" not in parts)
    code = (
        f"import sys, {rooms}; sys.exit(any(m.partition('.')[0] in ('torch', 'numba') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_manual_imports_numpy_and_the_standard_library_only(room: Path) -> None:
    allowed = set(sys.stdlib_module_names) | {"numpy", "manual"}
    if room.parent.name == "compiled":
        allowed |= {"numba", "llvmlite"}  # the compiler, and what it is built on
    assert imports(room) <= allowed


def test_an_import_of_torch_in_a_function_would_be_found(tmp_path: Path) -> None:
    room = tmp_path / "room.py"
    room.write_text("def f():\n    from torch.nn import functional\n")
    assert imports(room) == {"torch"}


# ---- the lecture's shelf ---------------------------------------------------------------------------

CHAPTERS = re.search(r"\n {4}(classic, .*)\n", str(manual.__doc__))
ORDER = CHAPTERS[1].split(", ") if CHAPTERS else []
SHELF = Path(manual.__file__).parent


def chapters_read_by(path: Path) -> set[str]:
    """What a file imports of `manual`: its chapters and its shelves, by name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {module.split(".")[1] for module in modules if module.startswith("manual.")}


def test_the_order_of_reading_names_every_chapter() -> None:
    assert sorted(ORDER) == sorted(path.stem for path in SHELF.glob("*.py") if path.stem != "__init__")


def test_the_lecture_has_at_most_a_thousand_lines() -> None:
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in SHELF.glob("*.py")) <= 1000


@pytest.mark.parametrize("chapter", ORDER)
def test_a_chapter_is_made_of_those_before_it(chapter: str) -> None:
    read = chapters_read_by(SHELF / f"{chapter}.py")
    before = ORDER[: ORDER.index(chapter)] if chapter != "classic" else ["numbers"]
    assert read & set(ORDER) <= set(before)


@pytest.mark.parametrize("chapter", ORDER[: ORDER.index("losses")])
def test_the_first_chapters_need_no_other_shelf(chapter: str) -> None:
    assert chapters_read_by(SHELF / f"{chapter}.py") <= set(ORDER)


# ---- the rows --------------------------------------------------------------------------------------

SIDES = ("ours", "theirs")
LACKS = {"ours": "mlp_torch/model.py", "theirs": "manual/catalogue/"}


def test_both_sides_have_the_same_rows() -> None:
    assert [str(line) for line in rows.missing_required()] == []


@pytest.mark.parametrize("kind", rows.KINDS)
@pytest.mark.parametrize("side", SIDES)
def test_a_row_on_one_side_only_is_named_with_the_place_that_lacks_it(
    kind: str, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table: dict[str, Any] = getattr(rows.KINDS[kind], side)
    monkeypatch.setitem(table, "invented", next(iter(table.values())))
    (line,) = rows.missing_required()
    assert (line.kind, line.name, line.required) == (kind, "invented", True)
    assert LACKS[side] in line.where
    assert "(required: " in str(line)


@pytest.mark.parametrize("kind", rows.KINDS)
def test_a_row_with_its_two_rows_alone_lacks_only_what_is_optional(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours: dict[str, Any] = {  # such as no kernel can be written for, from its formula
        "activation": replace(manual.ACTIVATIONS["softmax"], name="invented"),
        "loss": replace(manual.LOSSES["multi_margin"], name="invented"),
        "optimizer": type("Invented", (manual.SGD,), {}),
    }
    monkeypatch.setitem(rows.KINDS[kind].ours, "invented", ours[kind])
    monkeypatch.setitem(rows.KINDS[kind].theirs, "invented", None)
    found = [line for line in rows.missing() if line.name == "invented"]
    assert found
    assert not any(line.required for line in found)
    assert all(line.kind == kind and "(optional: " in str(line) for line in found)


@pytest.mark.parametrize("kind", rows.KINDS)
def test_a_row_that_torchs_side_lacks_is_one_line_for_who_uses_it(kind: str) -> None:
    with pytest.raises(UserError, match=rf"{kind} invented: .* mlp_torch/model\.py; .*CONTRIBUTING"):
        model.row_of(kind, rows.KINDS[kind].theirs, "invented")
