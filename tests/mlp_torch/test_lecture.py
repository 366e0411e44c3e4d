"""The runnable lecture: every step's numbers against closed forms, every slip proved, every page printed."""

import math
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from manual import MLP, Architecture
from mlp_torch.__main__ import main
from mlp_torch.errors import UserError
from mlp_torch.lecture import (
    chain,
    command,
    depth,
    descent,
    experiments,
    hyperparameters,
    losses,
    perceptrons,
    sampling,
    smallest,
    xor,
)
from mlp_torch.lecture.config import Lecture
from mlp_torch.lecture.figures import save
from mlp_torch.lecture.page import Page, Slip, Table
from mlp_torch.lecture.slides import SLIDES, line, table, write_into
from mlp_torch.lecture.steps import STEPS
from mlp_torch.lecture.walk import Walk

QUICK = Walk(seed=0, data="moons", seeds=2, effort=0.05)
ROOT = Path(__file__).parents[2]


@cache
def page(name: str) -> Page:
    """A step's page, with little effort."""
    return command.open_page(next(s for s in STEPS if s.name == name), QUICK)


def tables(name: str) -> list[Table]:
    return [block for block in page(name).blocks if isinstance(block, Table)]


def slips(name: str) -> list[Slip]:
    return [block for block in page(name).blocks if isinstance(block, Slip)]


# ---- the walk ----------------------------------------------------------------------------------------


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


def test_the_readmes_table_is_the_one_that_is_made_here():
    # python -m mlp_torch.lecture.slides writes it anew
    assert table() in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("title", "step", "places"), SLIDES, ids=[s[0] for s in SLIDES])
def test_every_slide_has_a_step_and_lines_that_define_what_they_name(title, step, places):
    assert step in [s.name for s in STEPS]
    for file, name in places:
        text = (ROOT / file).read_text(encoding="utf-8").splitlines()[line(file, name) - 1]
        assert re.match(rf"\s*(def |class )?{name.split('.')[-1]}\b", text), f"{title}: {file}, {text!r}"


def test_a_name_that_a_file_does_not_define_is_found_out():
    with pytest.raises(LookupError, match=r"manual/losses\.py defines no l3"):
        line("manual/losses.py", "l3")


def test_the_table_is_written_into_the_readme_in_place_of_the_old_one(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# a\n\n| slide | step | where |\n|---|---|---|\n| old | 1 | x |\n\nafter\n")
    write_into(readme)
    assert readme.read_text() == f"# a\n\n{table()}\n\nafter\n"


# ---- the slips ---------------------------------------------------------------------------------------


def test_all_eight_slips_are_stated_where_they_belong():
    found = {s.name: [slip.says for slip in slips(s.name)] for s in STEPS}
    assert {name: len(says) for name, says in found.items() if says} == {
        "forward": 1, "smallest": 3, "second": 1, "chain": 1, "descent": 2,
    }  # fmt: skip
    assert "exp(-a)" in found["forward"][0]
    assert found["smallest"][0] == "for n = 1 … N: w = w + (yₙ − ŷ) xₙ;"
    assert found["second"] == ["Lᵢ = ½ (yᵢ − ŷ)"]
    assert "−η (y − ŷ)" in found["chain"][0]
    assert found["descent"] == ["Same convergence guarantees and complexity!", "θ ← θ + η ∂L/∂θ"]


# ---- 1 to 6 ------------------------------------------------------------------------------------------


def test_the_sigmoids_table_shows_the_overflow_and_the_lost_derivative():
    rows = {r["a"]: r for r in perceptrons.sigmoid_table()}
    assert [rows[a]["warns"] for a in (-1000, -30, 40)] == ["overflow", "no", "no"]
    assert rows[-1000]["slide"] == rows[-1000]["f"] == 0
    assert rows[40]["product"] == 0 < rows[40]["derivative"]
    assert perceptrons.first_flat(np.float32) == 17  # 2^−24 > e^−17
    assert perceptrons.first_flat(np.float64) == 37  # 2^−53 > e^−37


def test_the_lectures_network_counts_6_20_26():
    cells = {row[0]: row[-1] for row in tables("counting")[0].rows}
    assert list(cells.values()) == ["6", "20", "26"]
    assert sum(int(row[-1]) for row in tables("counting")[1].rows) == 26


def test_the_smallest_step_shows_the_exact_iterates():
    m = smallest.measure_smallest()
    assert [float(w) for w in m.two_passes[1:5]] == [101, -299.2, 3377.9, 1.1]
    assert [row[-1] for row in tables("smallest")[0].rows][:3] == ["101", "-299.2", "3377.9"]
    assert m.factors == [-99, -3, -11.25, 0]
    assert abs(m.descent[-1] - 117.8 / 117.25) < 1e-9
    assert all(b == 1 - x * x / 100 for x, b in zip((10, 2), (0, 0.96), strict=True))
    distances = [abs(w - m.best) for w in smallest.in_tens()]
    assert max(distances[4:]) < 0.1


def test_l2_finds_the_mean_l1_the_median_and_the_hinge_loss_decides_right():
    m = losses.measure_losses()
    assert m.constants["mse"] == pytest.approx(22, abs=1e-6)
    assert m.constants["l1"] == pytest.approx(3, abs=1e-3)
    assert m.wrong["hinge"] == 0 < m.wrong["mse"]


def test_the_linear_fit_by_l2_is_the_closed_form_and_by_l1_no_worse_than_any_line_through_two_samples():
    x, y = losses.SIDES, np.where(losses.SIDES > 0, 1.0, -1.0)
    design = np.hstack([x, np.ones_like(x)])
    best = np.linalg.lstsq(design, y, rcond=None)[0][:, 0]
    model = losses.fitted(x, y, "mse", 2e-3, 4000)
    ours = [model.parameters[f"layers.0.{kind}"].item() for kind in ("weight", "bias")]
    np.testing.assert_allclose(ours, best, atol=1e-3)
    lines = [np.linalg.solve(design[[i, j]], y[[i, j]]) for i in range(6) for j in range(i)]
    least = min(float(np.abs(design @ line - y).mean()) for line in lines)
    l1 = losses.fitted(x, y, "l1", 2e-2, 4000).predict(x)
    assert float(np.abs(l1 - y).mean()) <= least + 1e-2


def test_two_weights_have_two_derivatives_and_find_the_line():
    m = smallest.measure_second()
    assert m.by_hand == m.by_difference == (-1.0, 0.5)
    np.testing.assert_allclose(m.path[-1], smallest.TRUE, atol=0.02)
    assert all(b < a for a, b in pairwise(m.losses))
    assert m.slide_loss == [0.25, -0.375, -1.0, -1.625]  # each step takes η |½x|² = 0.625


def test_every_factor_by_hand_is_autograds_number():
    m = chain.measure_chain()
    assert (m.reused, m.total) == (12, 22)
    for name, rows in m.rows.items():
        for row in rows:
            assert row.factor.value == pytest.approx(row.autograd, rel=1e-14)
        assert chain.gradient([r.factor for r in rows]) == pytest.approx(m.autograd[name], rel=1e-14)
    shown = tables("chain")[1].rows
    assert [row[-1] for row in shown] == ["new", "new", "new", ""]
    assert shown[-1][2] == shown[-1][3] == "-0.021926502"


# ---- 7 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2, 3, 6])
def test_the_mean_over_all_batches_is_exactly_the_gradient_of_the_sum_over_n(batch):
    exact = sampling.measure_unbiased(seed=1, batch=batch)
    assert (exact.batches, exact.entries, exact.mismatches) == (math.comb(6, batch), 32, 0)
    assert exact.nonzero > 20  # zeros would prove nothing


def test_a_batch_of_its_own_is_not_the_whole_gradient():
    """The check can fail: two of the six samples in place of all."""
    model = MLP((3, 5, 2), seed=3)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    whole = model.loss_and_gradients(x, y, "mse")[1]["layers.0.weight"]
    assert not np.allclose(model.loss_and_gradients(x[:2], y[:2], "mse")[1]["layers.0.weight"], whole)


def test_the_measured_noise_is_the_predicted_one_and_0_for_all_samples():
    measured, predicted = sampling.measure_noise(QUICK, batch=16, draws=400)
    assert measured == pytest.approx(predicted, rel=0.1)
    assert sampling.measure_noise(QUICK, batch=10**6, draws=2)[1] == 0
    assert sampling.measure_noise(QUICK, batch=10**6, draws=2)[0] < 1e-6


def test_all_samples_reach_the_best_weight_and_one_at_a_time_with_a_constant_rate_does_not():
    full, constant, decayed = descent.measure_convergence(QUICK, (10, 100, 400)).values()
    assert full[1] < 1e-14
    assert min(constant) > 1e-4
    assert decayed[2] < decayed[1] < decayed[0] < 1e-1
    assert decayed[2] > 1e-8


def test_a_plus_in_the_update_climbs():
    setting = replace(
        experiments.BASE, data="moons", optimizer="sgd", schedule="constant", batch_size=10**6, epochs=5
    )
    down = experiments.train(replace(setting, lr=0.5), until=-1.0).curve
    up = experiments.train(replace(setting, lr=-0.5), until=-1.0).curve
    assert all(b < a for a, b in pairwise(down))
    assert all(b > a for a, b in pairwise(up))


def test_a_run_stops_at_the_training_loss_that_it_was_given():
    setting = replace(experiments.BASE, data="moons", epochs=50)
    outcome = experiments.train(setting, until=0.3)
    assert outcome.epochs == len(outcome.curve) < 50
    assert outcome.curve[-1] <= 0.3 < outcome.curve[-2]


# ---- 8 to 10 -----------------------------------------------------------------------------------------


def test_larger_weights_saturate_more_sigmoid_and_tanh_units():
    rows = {(n, s): share for n, s, share, _ in hyperparameters.measure_saturation(QUICK, (1, 64))}
    for name in ("sigmoid", "tanh"):
        assert rows[name, 1] == 0
        assert rows[name, 64] > 0.3


def test_a_unit_is_dead_exactly_if_no_sample_reaches_it():
    model = MLP((2, 8, 1), dtype=np.float32)
    model.parameters["layers.0.bias"][:] = 0  # a line through the middle of the data: half the samples
    assert hyperparameters.dead_units(model, QUICK, seed=0) == 0
    model.parameters["layers.0.bias"][:3] = -1e6
    assert hyperparameters.dead_units(model, QUICK, seed=0) == 3
    model.parameters["layers.0.bias"][:] = -1e6
    assert hyperparameters.dead_units(model, QUICK, seed=0) == 8
    leaky = MLP((2, 8, 1), dtype=np.float32, activation="leaky_relu")
    leaky.parameters["layers.0.bias"][:] = -1e6
    assert hyperparameters.dead_units(leaky, QUICK, seed=0) == 0


def test_every_comparison_differs_from_its_neighbours_and_passes_the_trainers_checks():
    for data in ("digits", "moons"):
        for settings, _ in hyperparameters.comparisons(Walk(data=data)).values():
            assert len(settings) >= 2
            assert len({repr(s) for s in settings.values()}) == len(settings)
            for setting in settings.values():
                replace(setting, data=data).check()


def test_early_stopping_keeps_the_weights_of_the_lowest_validation_loss():
    setting = replace(experiments.BASE, data="moons", lr=0.1, schedule="constant", epochs=30)
    outcome = experiments.train(replace(setting, early_stopping=3), samples=60)
    assert outcome.epochs < 30
    data = experiments.read("moons", None, 0)
    kept, _ = data.score(outcome.model.predict(data.validation.x), data.validation)
    assert kept == pytest.approx(min(outcome.curve), rel=1e-5)


def test_one_perceptron_never_gets_all_of_xor_right_and_two_layers_by_hand_do():
    tried = xor.measure_xor(Walk(seeds=3))
    assert max(tried[()].right) <= 3
    assert tried[()].loss == pytest.approx(math.log(2), abs=1e-3)
    assert tried[(8,)].solved == 3
    assert np.array_equal(xor.by_hand().predict(xor.X), xor.Y)


@pytest.mark.parametrize("layers", depth.DEPTHS)
@pytest.mark.parametrize(("budget", "ends"), [(5000, (64, 10)), (300, (1, 1))])
def test_no_other_width_is_nearer_to_the_budget(layers, budget, ends):
    width = depth.width_for(budget, layers, *ends)

    def off(w: int) -> int:
        return abs(Architecture((ends[0], *(w,) * layers, ends[1])).counts().parameters - budget)

    assert off(width) <= min(off(width - 1), off(width + 1))
    assert off(width) < 0.1 * budget


def test_three_relu_layers_of_two_units_are_exactly_the_sawtooth():
    x = np.arange(0, 1025)[:, None] / 1024  # dyadic: no operation rounds
    assert np.array_equal(depth.by_hand().predict(x), depth.sawtooth(x))
    peaks = np.flatnonzero(depth.sawtooth(x)[:, 0] == 1)
    assert len(peaks) == 2 ** (depth.FOLDS - 1)


def test_the_interval_of_a_gain_is_students():
    from scipy import stats

    rng = np.random.default_rng(0)
    better, plain = rng.normal(0.9, 0.02, 5), rng.normal(0.88, 0.02, 5)
    low, high = stats.ttest_rel(better, plain).confidence_interval()
    mean, half = experiments.gain(list(better), list(plain))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert experiments.gain([1.0], [0.5]) == (0.5, math.inf)


def test_the_verdict_follows_the_numbers_whichever_way_they_come_out():
    flat = depth.ShapeResult((9,), 300, [0.9, 0.8, 0.85])
    steep = depth.ShapeResult((5, 5), 300, [0.99, 0.9, 0.94])
    noisy = depth.ShapeResult((5, 5), 300, [0.7, 0.99, 0.95])  # a higher mean, by chance
    assert "depth pays" in depth.verdict("x", [flat, steep])
    assert "+0.093 ± 0.014, better in 3 of 3 seeds" in depth.verdict("x", [flat, steep])
    assert "does not pay" in depth.verdict("x", [flat, noisy])
    assert "does not pay" in depth.verdict("x", [steep, flat])
