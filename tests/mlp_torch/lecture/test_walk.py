"""The runnable lecture: the walk through its steps, every page printed, every mistake answered."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlp_torch.__main__ import main
from mlp_torch.errors import UserError
from mlp_torch.lecture import perceptrons
from mlp_torch.lecture.config import Lecture
from mlp_torch.lecture.drawing import save
from mlp_torch.lecture.page import Table
from mlp_torch.lecture.slides import PAGE, SLIDES, line, table, write_into
from mlp_torch.lecture.steps import STEPS
from mlp_torch.lecture.walk import Walk
from tests.mlp_torch.lecture.opened import page

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("step", STEPS, ids=lambda s: s.name)
def test_every_step_says_something_and_draws_a_figure_of_800_pixels(step, tmp_path):
    opened = page(step.name)
    assert any(isinstance(block, Table) for block in opened.blocks)
    assert opened.draw is not None
    save(opened.draw, tmp_path / "figure.png")
    header = (tmp_path / "figure.png").read_bytes()[16:24]
    assert int.from_bytes(header[:4]) == 800


def test_the_steps_are_the_lectures_ten_in_order():
    names = " ".join(s.name for s in STEPS)
    assert names == "forward counting smallest losses second chain descent hyperparameters xor depth"


def test_the_walk_goes_through_all_steps_or_the_one_that_is_asked_for():
    assert Lecture().steps() == STEPS
    for i, step in enumerate(STEPS, start=1):
        assert Lecture(step=str(i)).steps() == Lecture(step=step.name).steps() == (step,)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("lossess", "unknown step 'lossess': did you mean 'losses'?"),
        ("chian", "unknown step 'chian': did you mean 'chain'?"),
        ("11", "there is no step 11; they count from 1 to 10"),
        ("0", "there is no step 0; they count from 1 to 10"),
        ("xor --data line", "--data: unknown data set 'line'"),
        ("xor --seed -1", "--seed -1: must lie in 0"),
        ("xor --plot a.gif", "--plot a.gif: ends in none of .png, .svg, .pdf"),
        ("--plot a.png", "--plot a.png: is one file, and this is the walk through all steps"),
        ("xor --plott a.png", "unrecognized options: --plott (did you mean --plot?)"),
    ],
)
def test_a_mistake_is_answered_in_one_line_with_exit_code_2(typed, says, capfd):
    assert main(["lecture", *typed.split()]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"mlp lecture: {says}")


def test_list_shows_every_step_with_number_name_title_and_slides_and_measures_nothing(capsys, monkeypatch):
    monkeypatch.setattr("mlp_torch.lecture.command.open_page", None)
    assert main(["lecture", "--list"]) == 0
    said = capsys.readouterr().out
    for number, step in enumerate(STEPS, start=1):
        part = said.partition(f"{number:2}  {step.name} ")[2].partition(f"\n{number + 1:2}  ")[0]
        assert step.title in part.splitlines()[0]
        assert [slide for slide in step.slides if f"slide “{slide}”" not in part] == []
    assert main(["lecture", "3", "--list"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(" 3  smallest ")
    assert "forward" not in said


def test_a_figure_that_cannot_be_written_is_one_line(tmp_path, capfd):
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    for path in ("file", "file/a.png", "file/folder"):
        assert main(["lecture", "counting", "--plot", str(tmp_path / path)]) == 2
        out, err = capfd.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert "no folder can be made there" in err
    with pytest.raises(UserError, match="the figure cannot be written"):
        save(perceptrons.draw_counting, tmp_path / "folder.png")


def test_the_line_under_a_figure_makes_the_same_figure_again(tmp_path, capsys):
    path = tmp_path / "chain.svg"
    assert main(["lecture", "chain", "--plot", str(path)]) == 0
    first = path.read_bytes()
    (line,) = re.findall(r"made by: mlp (.*)", capsys.readouterr().out)
    path.unlink()
    assert main(line.split()) == 0
    assert path.read_bytes() == first


def test_down_a_pipe_there_are_no_colours_no_frames_and_no_trailing_spaces():
    done = subprocess.run(
        [sys.executable, "-m", "mlp_torch", "lecture", "smallest"], capture_output=True, text=True, check=True
    )
    assert "\x1b" not in done.stdout
    assert not set("─│╭╰") & set(done.stdout)
    lines = done.stdout.splitlines()
    assert all(line == line.rstrip() and len(line) <= 100 for line in lines)
    assert lines[1] == "== 3 The world's smallest perceptron (smallest)"
    assert sum(line.startswith("SLIP: ") for line in lines) == 3


def test_an_output_that_knows_no_greek_shows_question_marks():
    done = subprocess.run(
        [sys.executable, "-m", "mlp_torch", "lecture", "counting"],
        capture_output=True,
        env={"PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"},
        check=True,
    )
    assert b"26" in done.stdout


def test_full_is_twenty_seeds_and_twice_the_epochs():
    assert Lecture().walk() == Walk(seeds=5, effort=1)
    assert Lecture(full=True, seed=3).walk() == Walk(seed=3, seeds=20, effort=2)


def test_the_pages_table_of_slides_is_the_one_that_is_made_here():
    # python -m mlp_torch.lecture.slides writes it anew
    assert table() in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(("title", "step", "places"), SLIDES, ids=[s[0] for s in SLIDES])
def test_every_slide_has_a_step_and_lines_that_define_what_they_name(title, step, places):
    assert step in [s.name for s in STEPS]
    for file, name in places:
        text = (ROOT / file).read_text(encoding="utf-8").splitlines()[line(file, name) - 1]
        assert re.match(rf"\s*(def |class )?{name.split('.')[-1]}\b", text), f"{title}: {file}, {text!r}"


def test_a_name_that_a_file_does_not_define_is_found_out():
    with pytest.raises(LookupError, match=r"manual/losses\.py defines no l3"):
        line("manual/losses.py", "l3")


def test_the_table_is_written_into_the_page_in_place_of_the_old_one(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# a\n\n| slide | step | where |\n|---|---|---|\n| old | 1 | x |\n\nafter\n")
    write_into(readme)
    assert readme.read_text() == f"# a\n\n{table()}\n\nafter\n"
