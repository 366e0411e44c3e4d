"""Claims about the benchmark's figures: how they are made of the rounds, and what is not passed over."""

from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from bench_training import arguments
from hypothesis import given
from hypothesis import strategies as st
from race.candidates import CANDIDATES
from race.files import dump, load
from race.files import replace as replace_file
from race.picture import draw
from race.problems import PROBLEMS, images, read, write
from race.rounds import Measured, Run, contenders
from race.scores import fastest, floor, learned_less, ratio
from race.table import report, seconds

SECONDS = st.lists(st.floats(1e-4, 1e3), min_size=1, max_size=9)


def measured(*times: float, losses: tuple[float, ...] = (), first_round: int = 1) -> Measured:
    """Rounds of these seconds, with a loss of 0.1 where none is given."""
    found = [Run(t, 2 * t, 100.0 + i, losses[i] if losses else 0.1, 0.9, 7) for i, t in enumerate(times)]
    return Measured(1.5, found[0], dict(enumerate(found, start=first_round)))


def a_race() -> dict[str, Measured]:
    """Three rounds of a floor, an engine, JAX and two trainers; the second round was slow for all."""
    return {
        "floor-numpy": measured(0.01, 0.04, 0.01),
        "engine-manual": measured(0.02, 0.08, 0.02),
        "jax-scan": measured(0.03, 0.12, 0.03),
        "sklearn": measured(0.14, 0.56, 0.14),
        "torch-usual": measured(1.0, 4.0, 1.0),
    }


def line(text: str, start: str) -> str:
    return next(one for one in text.splitlines() if one.startswith(start))


@given(SECONDS, SECONDS)
def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds_that_both_ran(
    a: list[float], b: list[float]
) -> None:
    expected = median(x / y for x, y in zip(a, b, strict=False))
    assert ratio(measured(*a), measured(*b)) == expected


def test_a_round_that_is_slow_for_both_does_not_move_their_ratio() -> None:
    assert ratio(measured(1, 50, 1.1), measured(2, 100, 2.2)) == 0.5


def test_a_round_that_only_one_ran_is_in_no_ratio() -> None:
    assert ratio(measured(1, 1, 9, 9, 9), measured(2, 2)) == 0.5
    assert ratio(measured(3, 3, first_round=2), measured(9, 1, 1)) == 3


@given(st.floats(1.06, 50), st.integers(1, 7))
def test_a_candidate_that_learned_less_is_flagged_and_wins_nothing(factor: float, n: int) -> None:
    results = {name: measured(*[0.5] * n) for name in ("torch-usual", "torch-eager", "engine-manual")}
    results["engine-compiled"] = measured(*[0.1] * n, losses=(0.1 * factor,) * n)
    assert list(learned_less(results)) == ["engine-compiled"]
    assert fastest(results, lambda row: row.kind == "ours") == "engine-manual"
    cell = line("\n".join(seconds({"A": results})), "| **mlp-torch, compiled**")
    assert f"learns less: {factor:.2f} × the others' loss" in cell


@given(st.floats(0.2, 1.04))
def test_a_loss_as_low_as_the_others_is_not_flagged(factor: float) -> None:
    results = {name: measured(1.0, 1.0) for name in ("torch-usual", "torch-eager", "engine-manual")}
    results["engine-compiled"] = measured(0.1, 0.1, losses=(0.1 * factor,) * 2)
    assert learned_less(results) == {}


def test_a_loss_that_is_no_number_is_flagged() -> None:
    results = {name: measured(1.0) for name in ("torch-usual", "torch-eager", "engine-manual")}
    results["engine-compiled"] = measured(0.1, losses=(float("nan"),))
    assert list(learned_less(results)) == ["engine-compiled"]


def test_who_draws_its_own_shuffles_may_end_where_another_seed_would() -> None:
    results = {name: measured(1.0) for name in ("torch-usual", "torch-eager", "engine-manual")}
    results["sklearn"] = measured(1.0, losses=(0.12,))
    assert learned_less(results) == {}
    results["sklearn"] = measured(1.0, losses=(0.13,))
    assert list(learned_less(results)) == ["sklearn"]


def test_the_floor_is_the_fastest_way_to_the_products() -> None:
    results = a_race() | {"floor-numba": measured(0.005, 0.02, 0.005)}
    assert floor(results) == "floor-numba"
    text = "\n".join(seconds({"A": results}))
    assert "0.00500 (np.dot, compiled)" in line(text, "| floor")
    assert "0.0200 (4.00×)" in line(text, "| **mlp-torch, manual**")


def test_the_ratios_are_against_jax_and_the_fastest_other_trainer() -> None:
    text = report({"A": a_race()}, "today")
    assert line(text, "| as JAX's scan") == "| as JAX's scan | 1.50× |"
    assert "7.00× (scikit-learn MLPClassifier)" in line(text, "| as the fastest other trainer")
    assert line(text, "| its multiple of the floor") == "| its multiple of the floor | 2.00 |"


def test_an_engine_that_needs_an_extra_is_left_out_of_the_row_without_extras() -> None:
    results = a_race() | {"engine-compiled": measured(0.01, 0.04, 0.01)}
    text = report({"A": results}, "today")
    assert "14.0×" in line(text, "| as the fastest other trainer")
    assert "7.00×" in line(text, "| without extras")


def test_a_missing_peer_is_named_with_the_problems_and_the_reason() -> None:
    results = {p: a_race() | {"skorch": Measured(missing="skorch is not installed")} for p in "AC"}
    text = report(results, "today")
    assert line(text, "| skorch") == "| skorch | missing | missing |"
    assert (
        line(text.partition("| what a run costs")[2], "| skorch")
        == "| skorch | missing | missing | missing |"
    )
    assert "- Missing: skorch: skorch is not installed (A, C)." in text


def test_a_package_that_is_not_there_is_found_missing_before_anything_is_started() -> None:
    row = replace(CANDIDATES["skorch"], packages=("numpy", "surely_not_there.part"))
    assert row.missing == "surely_not_there is not installed"


def test_who_needs_a_compiler_is_missing_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(CANDIDATES["torch-compile"], packages=("numpy",))
    monkeypatch.setenv("PATH", "")
    assert row.missing == "no C++ compiler is installed (g++, clang++)"


def test_first_run_cpu_memory_and_start_up_are_told_apart_from_the_warm_seconds() -> None:
    assert line(report({"A": a_race()}, "today").partition("| what a run costs")[2], "| scikit").endswith(
        "| 1.50 | 0.140 · 0.280 · 100 |"
    )


def test_what_was_learned_stands_in_the_report() -> None:
    learned = report({"A": a_race()}, "today").partition("| loss at the end")[2]
    assert line(learned, "| scikit") == "| scikit-learn MLPClassifier | 0.100 (90.0%) |"


def test_after_the_first_rounds_the_two_fastest_of_each_kind_go_on() -> None:
    results = a_race() | {name: measured(5, 5, 5) for name in ("floor-numba", "floor-onednn", "skorch")}
    results |= {name: measured(0.01, 0.01, 0.01) for name in ("engine-auto", "engine-compiled")}
    results["engine-torch"], results["engine-autograd"] = measured(0.1, 0.1, 0.1), measured(9, 9, 9)
    gone = {"floor-onednn", "skorch", "engine-autograd"}
    assert contenders(results) == set(results) - gone
    results["keras-jax"] = Measured(missing="keras is not installed")
    assert contenders(results) == set(results) - gone - {"keras-jax"}


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("old")
    replace_file(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_json_keeps_makes_the_same_report() -> None:
    results = {"A": a_race() | {"skorch": Measured(missing="skorch is not installed")}}
    again, caption, processor = load(dump(results, "today", "Intel"))
    assert again == results
    assert processor == "Intel"
    assert report(again, caption) == report(results, "today")


def test_scaling_takes_no_flag_of_the_race(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(["--scaling", "--only", "A"])
    assert "--scaling measures every quantity" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags", [["--quick"], ["--only", "A"], ["--rounds", "3"], ["--candidates", "skorch"]]
)
def test_only_a_whole_run_goes_into_the_readme(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    arguments(flags)
    with pytest.raises(SystemExit):
        arguments([*flags, "--readme"])
    assert "--readme takes the whole run" in capsys.readouterr().err


def test_passes_and_a_row_of_their_own_for_a_method_of_the_full_batch() -> None:
    full = replace(measured(0.1, 0.4, 0.1).rounds[1], passes=55)
    results = {"A": a_race() | {"sklearn-lbfgs": Measured(1.0, full, {1: full, 2: full})}}
    text = report(results, "today")
    assert "7.00× (scikit-learn MLPClassifier)" in line(text, "| as the fastest other trainer")
    assert line(text, "| as lbfgs to the same loss").startswith("| as lbfgs to the same loss | 3.12")
    assert "(A: 55 passes)" in line(text, "- lbfgs is a method of the full batch")


def test_who_is_left_out_of_a_problem_is_named_with_the_reason() -> None:
    results = {"A": a_race() | {"mlx": measured(1.0)}, "B": a_race(), "D": a_race()}
    assert "is left out of B and D: its wheel" in line(report(results, "today"), "- MLX")
    assert "left out" not in report({"A": results["A"]}, "today")
    assert all(row.why or row.kind == "floor" for row in CANDIDATES.values() if row.only != "ABCD")


def test_the_picture_has_a_panel_a_problem_and_is_written_whole(tmp_path: Path) -> None:
    draw({p: a_race() for p in "ABC"}, tmp_path / "training.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["training.svg"]
    text = (tmp_path / "training.svg").read_text()
    assert all(f"<!-- {p}: {PROBLEMS[p].title} -->" in text for p in "ABC")


def test_the_images_are_the_same_each_time_and_a_fifth_to_a_third_ink() -> None:
    x, labels = images(300)
    again, _ = images(300)
    assert np.array_equal(x, again)
    assert set(labels) == set(range(10))
    assert 0.2 < (x > 0).mean() < 0.35


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_evaluation_is_the_projects_own(name: str, tmp_path: Path) -> None:
    from manual import MLP
    from manual.training.engine import evaluate

    write(replace(PROBLEMS[name], rows=500), tmp_path)
    problem = read(name, 1, tmp_path)
    model = MLP(problem.spec.sizes, seed=5, dtype=np.float32)
    loss, accuracy = evaluate(model.predict(problem.x).astype(np.float64), problem.y, problem.spec.loss)
    assert problem.evaluate(problem.initial(5)) == pytest.approx((loss, accuracy), rel=1e-6)
