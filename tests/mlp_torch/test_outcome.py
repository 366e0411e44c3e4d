"""What `mlp train` minimizes, keeps and says: class weights, smoothing, --keep, runs that did not learn."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.utils.class_weight import compute_sample_weight

from manual.training.engine import ManualEngine
from mlp_torch.config import ENGINES, Compare, Train
from mlp_torch.data.loading import load
from mlp_torch.data.splits import Split
from mlp_torch.errors import UserError
from mlp_torch.objective import prepared
from mlp_torch.training.outcome import Kept, Scores, doubts, regression
from tests.mlp_torch.running import config, epoch_of, metrics, train

ALL = "--label-smoothing 0.1 --l1 1e-4 --l2 1e-3 --clip-norm 0.5 --class-weight balanced"


@pytest.fixture
def table(tmp_path):
    """A table of two unequal classes, with a column of weights; some are 0."""
    rng = np.random.default_rng(0)
    lines = ["a,b,w,kind"]
    for i in range(240):
        label = i % 6 == 0
        a, b = rng.normal(0, 1, 2) + 1.5 * label
        lines.append(f"{a:.4f},{b:.4f},{(i % 5) / 2},{'rare' if label else 'common'}")
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("engine", [e for e in ENGINES if e != "both"])
def test_every_engine_trains_by_the_whole_recipe_and_its_gradients_are_checked(runs, engine, table, capsys):
    accumulate = "" if engine == "compiled" else "--accumulate 3"
    flags = f"--data {table} --sample-weight w {ALL} {accumulate} --hidden 8 --epochs 6 --verify-every 4"
    assert train(runs, f"{flags} --engine {engine}") == 0
    said = capsys.readouterr().out
    assert "gradient check passed" in said
    rows = metrics(runs / "run")
    assert rows[-1]["loss/train"] < rows[0]["loss/train"]
    assert max(row["error_over_bound"] or 0 for row in rows) <= 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_why_the_check_is_in_float64_is_said_once_where_training_is_not(runs, dtype, capsys):
    assert train(runs, f"--data xor --hidden 3 --epochs 1 --dtype {dtype}") == 0
    said = capsys.readouterr().out
    line = said.partition("gradient check passed")[2].splitlines()[1]
    assert line.endswith("what these words mean: mlp explain certified")
    assert said.count("checked in float64") == line.count("checked in float64") == (dtype == "float32")
    assert said.count("before training in float32") == (dtype == "float32")


def test_a_run_that_learns_nothing_says_how_to_see_what_becomes_of_its_gradient(runs, capsys):
    for lr, learns in (("1", False), ("0.01", True)):  # at 1 every sigmoid is saturated
        flags = f"--data moons --hidden 8 8 8 --activation sigmoid --epochs 10 --lr {lr}"
        assert train(runs, flags, f"run-{lr}") == 0
        said = capsys.readouterr().out
        assert ("nothing was learnt" in said) != learns
        assert (f"mlp explain --run {runs / f'run-{lr}'}" in said) != learns


def test_both_engines_stay_together_by_the_whole_recipe(runs, table):
    flags = f"--data {table} --sample-weight w {ALL} --accumulate 2 --hidden 8 --epochs 5"
    assert train(runs, f"{flags} --engine both --dtype float64") == 0
    assert all(row["parameter_gap"] <= 1e-9 for row in metrics(runs / "run"))


def test_a_step_that_forgets_the_weights_is_not_trained_with(runs, table, monkeypatch, capsys):
    from manual.losses import Loss

    gradient = Loss.gradient
    monkeypatch.setattr(Loss, "gradient", lambda s, o, y, r="mean", w=None: gradient(s, o, y, r))
    assert train(runs, f"--data {table} --sample-weight w --engine autograd --hidden 4") == 1
    said = capsys.readouterr()
    assert "the gradients are wrong" in said.err
    verdict, guilty, *rest = said.out.splitlines()
    assert verdict.startswith("wrong: ")
    assert "proven to be" in guilty
    assert any(line.startswith("gradient ") for line in rest)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ("--clip-norm 0", "--clip-norm 0.0: must be a finite number above 0"),
        ("--clip-value nan", "--clip-value nan: must be a finite number above 0"),
        ("--clip-norm 1 --clip-value 1", "choose one of them"),
        ("--label-smoothing 1", "--label-smoothing 1.0: must be at least 0 and below 1"),
        ("--l2 -1", "--l2 -1.0: must be a finite number, at least 0"),
        ("--accumulate 0", "--accumulate 0: is a number of batches, at least 1"),
        ("--class-weight balance", "did you mean 'balanced'"),
        ("--keep worst", "choose from best, last"),
        ("--loss hinge --label-smoothing 0.1", "hinge takes no probabilities; use --loss cross_entropy"),
        ("--data diabetes --class-weight balanced", "the target is real and has no classes; leave it out"),
        ("--engine compiled --accumulate 2", "it updates after every batch, and --accumulate is for others"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_before_anything_starts(runs, flags, text, capsys):
    data = "" if "--data" in flags else "--data moons "
    assert train(runs, f"{data}--hidden 4 {flags}") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert text in error
    assert not (runs / "run").exists()


def test_balanced_weights_are_scikit_learns(table):
    plain = load(Train(data=str(table)))
    ready = prepared(Train(data=str(table), class_weight="balanced"), plain)
    labels = ready.train.labels
    np.testing.assert_allclose(ready.train.weights, compute_sample_weight("balanced", labels), rtol=1e-6)
    share = ready.train.weights[labels == 1].sum() / ready.train.weights.sum()
    assert share == pytest.approx(0.5, rel=1e-6)
    assert ready.test.weights is None
    both = prepared(
        Train(data=str(table), class_weight="balanced", sample_weight="w"),
        load(Train(data=str(table), sample_weight="w")),
    )
    given = load(Train(data=str(table), sample_weight="w")).train.weights
    np.testing.assert_allclose(both.train.weights, given * ready.train.weights, rtol=1e-6)


def test_balanced_validation_takes_no_constant_answer_for_the_best(table):
    ready = prepared(Train(data=str(table), class_weight="balanced"), load(Train(data=str(table))))
    split = ready.validation
    constant = np.full((len(split), 1), -9.0 if (split.labels == 0).mean() > 0.5 else 9.0, np.float32)
    plain = load(Train(data=str(table)))
    assert plain.score(constant, plain.validation)[1] > 0.7
    assert ready.score(constant, split)[1] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("data", "loss"), [("iris", "cross_entropy"), ("moons", "bce_with_logits")])
def test_smoothed_targets_are_probabilities_that_share_epsilon(data, loss):
    ready = prepared(Train(data=data, label_smoothing=0.3), load(Train(data=data), dtype=np.float64))
    assert ready.loss == loss
    rows, labels = ready.train.y, ready.train.labels
    classes = 3 if loss == "cross_entropy" else 2
    right = (
        rows[np.arange(len(rows)), labels] if classes == 3 else np.where(labels, rows[:, 0], 1 - rows[:, 0])
    )
    np.testing.assert_allclose(right, 0.7 + 0.3 / classes)
    assert ready.validation.y.shape == load(Train(data=data)).validation.y.shape


def test_weights_that_are_all_0_are_refused(table):
    table.write_text(table.read_text().replace(",0.5,", ",0,").replace(",1.0,", ",0,"))
    table.write_text(
        table.read_text().replace(",1.5,", ",0,").replace(",2.0,", ",0,").replace(",0.0,", ",0,")
    )
    flags = Train(data=str(table), sample_weight="w")
    with pytest.raises(UserError, match="no training sample weighs more than 0"):
        prepared(flags, load(flags))


@pytest.mark.parametrize("engine", ["manual", "buffered", "compiled", "torch"])
def test_compare_judges_what_trains(engine, table, capsys):
    from mlp_torch.__main__ import main

    flags = f"compare --data {table} --sample-weight w --hidden 5 --engine {engine} --l2 0.01"
    assert main([*flags.split(), "--label-smoothing", "0.1", "--class-weight", "balanced"]) == 0
    said = capsys.readouterr().out
    assert "objective" in said
    assert "gW1" in said
    assert Compare().l2 == 0


# ---- which weights are kept -------------------------------------------------------------------------


def best_of(rows):
    return min(rows, key=lambda row: (-(row["accuracy/validation"] or 0), row["loss/validation"]))["epoch"]


@pytest.mark.parametrize("data", ["moons", "diabetes"])
def test_the_best_weights_are_kept_unless_the_last_are_asked_for(runs, data, capsys):
    flags = f"--data {data} --hidden 32 --lr 0.05 --schedule constant --epochs 12"
    assert train(runs, flags) == train(runs, f"{flags} --keep last", "last") == 0
    said = capsys.readouterr().out
    best = best_of(metrics(runs / "run"))
    assert epoch_of(runs / "run") == config(runs / "run")["result"]["epoch"] == best < 12
    assert epoch_of(runs / "last") == 12
    assert f"the weights of epoch {best} are kept, the best in validation of 12 in" in said
    assert "the weights of epoch 12 are kept, the last of 12 in" in said


def test_where_nothing_is_held_back_the_last_weights_are_kept(runs):
    assert train(runs, "--data xor --epochs 5 --hidden 4") == 0
    assert config(runs / "run")["keep"] == "last"
    assert epoch_of(runs / "run") == 5


@pytest.mark.parametrize("keep", ["best", "last"])
def test_an_interrupted_run_keeps_by_the_same_rule(runs, keep, monkeypatch):
    step, seen = ManualEngine.step, []

    def interrupted(self, *arguments, **options):
        seen.append(1)
        if len(seen) == 22 * 8 + 3:
            raise KeyboardInterrupt
        return step(self, *arguments, **options)

    monkeypatch.setattr(ManualEngine, "step", interrupted)
    flags = "--data moons --hidden 16 --lr 0.1 --schedule constant --engine both"
    assert train(runs, f"{flags} --keep {keep}") == 130
    rows = metrics(runs / "run")
    assert len(rows) == 8
    assert epoch_of(runs / "run") == (best_of(rows) if keep == "best" else 8)


def test_better_is_more_accurate_then_of_a_lower_loss():
    def kept(loss, accuracy):
        return Kept(1, loss, {}, accuracy)

    assert kept(0.5, 0.9).better(kept(0.1, 0.8))
    assert not kept(0.1, 0.8).better(kept(0.5, 0.9))
    assert kept(0.1, 0.8).better(kept(0.5, 0.8))
    assert not kept(0.5, 0.8).better(kept(0.5, 0.8))
    assert kept(0.1, None).better(kept(0.5, None))


# ---- what is said -----------------------------------------------------------------------------------


def test_a_run_at_chance_is_not_praised(runs, tmp_path, capsys):
    rng = np.random.default_rng(1)
    rows = [f"{rng.normal():.3f},{rng.normal():.3f},{'ab'[i % 3 == 0]}" for i in range(300)]
    (tmp_path / "noise.csv").write_text("x,y,kind\n" + "\n".join(rows) + "\n")
    assert train(runs, f"--data {tmp_path / 'noise.csv'} --epochs 1 --lr 1e-6 --hidden 4") == 0
    said = capsys.readouterr().out
    assert "nothing was learnt: always the largest class does: 0.6" in said
    assert "--lr (now 1e-06)" in said


def test_a_regression_that_is_no_better_than_the_mean_is_not_praised(runs, capsys):
    assert train(runs, "--data diabetes --epochs 1 --lr 1e-7") == 0
    assert "nothing was learnt: always the mean does: R² 0" in capsys.readouterr().out


def test_a_run_that_learnt_gets_no_doubt(runs, capsys):
    assert train(runs, "--data moons") == train(runs, "--data xor --hidden 8 --lr 0.05", "xor") == 0
    said = capsys.readouterr().out
    assert "nothing was learnt" not in said
    assert "overfitted" not in said


def situation(best, best_loss, last, last_loss, held_out=True):
    return SimpleNamespace(
        config=Train(),
        data=SimpleNamespace(held_out=held_out),
        best=Kept(best, best_loss, {}, 0.9),
        last=Kept(last, last_loss, {}, 0.9),
    )


@pytest.mark.parametrize(
    ("run", "overfitted"),
    [
        (situation(5, 0.2, 30, 0.31), True),
        (situation(5, 0.2, 30, 0.29), False),
        (situation(20, 0.2, 30, 0.31), False),
        (situation(5, 0.2, 30, 0.31, held_out=False), False),
        (situation(0, float("inf"), 0, float("inf")), False),
    ],
)
def test_a_best_epoch_long_past_is_called_overfitting(run, overfitted):
    said = doubts(run, Scores(0.1, 0.9, chance=0.5))
    assert bool(said) == overfitted
    if said:
        assert "overfitted: the best epoch was 5 of 30" in said[0]
        assert "--early-stopping" in said[0]


def test_r2_and_mae_are_scikit_learns_in_the_targets_units():
    rng = np.random.default_rng(0)
    y, output, w = rng.normal(size=(20, 1)), rng.normal(size=(20, 1)), rng.uniform(size=20)
    for weights in (None, w):
        r2, mae = regression(output, Split(y, y, None, weights), 7.0)
        assert r2 == pytest.approx(r2_score(y, output, sample_weight=weights))
        assert mae == pytest.approx(mean_absolute_error(7 * y, 7 * output, sample_weight=weights))
    assert regression(output[:1], Split(y[:1], y[:1], None), 1.0)[0] is None


def test_a_regression_says_its_r2_and_error_in_the_targets_units(runs, capsys):
    assert train(runs, "--data diabetes") == 0
    result = config(runs / "run")["result"]
    said = capsys.readouterr().out
    assert f"R² {result['test_r2']:.3f}, mean absolute error {result['test_mae']:.4g} in the target's" in said
    assert 20 < result["test_mae"] < 80
    assert 0.2 < result["test_r2"] < 0.7
