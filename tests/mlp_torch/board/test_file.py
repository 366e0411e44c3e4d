"""What stands in a run's event file: each part once a moment, at its level, said in words, and right."""

from collections import Counter

import numpy as np
import pytest
from tensorboard.plugins.custom_scalar import layout_pb2, metadata

from mlp_torch.autograd import AutogradEngine
from mlp_torch.board.board import Board
from mlp_torch.board.parts import PARTS, SCHEDULES
from mlp_torch.board.scalars import FAMILIES
from mlp_torch.board.texts import table
from mlp_torch.buffered.engine import TorchEngine
from mlp_torch.training.loop import Training
from tests.mlp_torch.board.reading import descriptions, hparams, markdown, steps, values
from tests.mlp_torch.running import config, epoch_of, metrics, train, weights

MOONS = [f"layers.{i}.{kind}" for i in range(3) for kind in ("weight", "bias")]


def test_every_family_of_curves_is_there_at_every_epoch_and_says_what_it_is(shown):
    found, said = steps(shown / "moons"), descriptions(shown / "moons")
    every = ["loss/train", "loss/validation", "accuracy/train", "accuracy/validation", "learning_rate"]
    every += ["throughput/samples_per_second"]
    every += [f"{family}/{name}" for family in ("gradient_norm", "update_ratio") for name in MOONS]
    for tag in every:
        assert found[tag] == [1, 2, 3, 4], tag
    for tag in [f"error_over_bound/{name}" for name in MOONS] + ["certificate/median"]:
        assert found[tag] == [0, 1, 2, 3, 4], tag  # 0 is the check before training
    assert found["dead_units/layers.0"] == found["dead_units/layers.1"] == [1, 2, 3, 4]
    assert found["test/loss"] == found["test/accuracy"] == [epoch_of(shown / "moons")]
    for tag in (t for t in found if t.partition("/")[0] in FAMILIES):
        assert "Step: the epoch" in said[tag], tag
    assert said["weights/layers.0.weight"]
    assert said["kept_weights/confusion_matrix"]


def test_update_ratios_are_of_the_weights_of_two_epochs(runs):
    flags = "--data moons --hidden 5 --engine manual --schedule constant --keep last"
    for epochs in (2, 3):
        assert train(runs, f"{flags} --epochs {epochs}", str(epochs)) == 0
    before, now = weights(runs / "2"), weights(runs / "3")
    found = values(runs / "3")
    for name in now:
        expected = np.linalg.norm(now[name] - before[name]) / np.linalg.norm(before[name])
        assert found[f"update_ratio/{name}"][-1][1].simple_value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "leaky_relu"])
def test_dead_units_are_those_through_which_nothing_passes_back(activation, runs, monkeypatch):
    from mlp_torch.board import scalars
    from mlp_torch.board.moment import Moment

    given = []
    monkeypatch.setattr(Board, "epoch", lambda self, moment: given.append(moment))
    assert train(runs, f"--data moons --hidden 8 --epochs 1 --activation {activation}") == 0
    (moment,) = given
    bias = moment.parameters["layers.0.bias"]
    bias[:3] = -1e4
    changed = Moment(**{f: getattr(moment, f) for f in moment.__dataclass_fields__})
    dead = scalars.dead_units(changed)["dead_units/layers.0"]
    assert dead == (0 if activation == "leaky_relu" else 3 / 8)


def test_histograms_count_every_entry_of_weights_gradients_and_activations(shown):
    found, kept = values(shown / "moons"), weights(shown / "moons")
    for name in MOONS:
        for family in ("weights", "gradients"):
            assert [step for step, _ in found[f"{family}/{name}"]] == [1, 2, 3, 4]
            for _, value in found[f"{family}/{name}"]:
                assert sum(value.histo.bucket) == value.histo.num == kept[name].size
    at = epoch_of(shown / "moons")
    histo = next(v.histo for step, v in found["weights/layers.0.weight"] if step == at)
    assert (histo.min, histo.max) == (kept["layers.0.weight"].min(), kept["layers.0.weight"].max())
    samples = found["activations/layers.2"][0][1].histo.num
    assert [found[f"activations/layers.{i}"][0][1].histo.num / samples for i in range(3)] == [6, 5, 1]


def test_the_layout_lays_train_over_validation_and_shows_the_margin_as_a_band(shown):
    for run, titles in {"moons": ["loss", "accuracy"], "diabetes": ["loss"]}.items():
        ((_, value),) = values(shown / run)[metadata.CONFIG_SUMMARY_TAG]
        layout = layout_pb2.Layout.FromString(value.tensor.string_val[0])
        first, *_, last = layout.category
        assert [chart.title.partition(":")[0] for chart in first.chart] == titles
        assert first.chart[0].multiline.tag == ["^loss/(train|validation)$"]
        (series,) = last.chart[0].margin.series
        there = steps(shown / run)
        assert {series.value, series.lower, series.upper} <= there.keys()


def test_texts_hold_the_flags_the_data_and_the_check(shown):
    run = shown / "moons"
    assert "| hidden | 6 5 |" in markdown(run, "configuration")
    assert "1,000" not in markdown(run, "data")
    assert "points: 700 to train, 100 to validate, 200 to test; 2 inputs" in markdown(run, "data")
    check = markdown(run, "gradient_check")
    assert check.startswith("**certified**")
    assert all(f"| {name} |" in check for name in MOONS)
    assert "epoch" in markdown(run, "about")


def test_the_columns_of_a_table_are_shown_whatever_they_are_called(tmp_path, runs):
    file = tmp_path / "t.csv"
    rows = [f"{i % 7},{'ab'[i % 2]},{i % 3 > 0}" for i in range(60)]
    file.write_text("\n".join(["a|*b*,<c>,y", *rows]))
    assert train(runs, f"--data {file} --epochs 1") == 0
    said = markdown(runs / "run", "data")
    assert r"| a\|\*b\* | number |" in said
    assert r"| \<c\> | " in said


def test_a_cell_never_ends_a_row():
    assert table(("a",), [["x | y\nz"]]).splitlines()[-1] == r"| x \| y z |"


def test_every_run_has_its_hparams_and_ends_well_with_its_metrics(shown):
    for run, metric in {"moons": "test/accuracy", "diabetes": "test/r2"}.items():
        found, there = hparams(shown / run), steps(shown / run)
        start = found["start"].hparams
        assert found["start"].group_name == run
        assert start["lr"].number_value == config(shown / run)["lr"]
        assert start["engine"].string_value == "manual"
        named = [m.name.tag for m in found["experiment"].metric_infos]
        assert metric in named
        assert set(named) <= there.keys()
        assert found["end"].status == 1


def test_a_run_that_fails_says_so(runs, capsys):
    assert train(runs, "--data moons --lr 1e30 --epochs 3") == 2
    assert "try a smaller --lr" in capsys.readouterr().err
    assert hparams(runs / "run")["end"].status == 2


@pytest.mark.parametrize("level", ["minimal", "standard", "full"])
def test_a_level_shows_its_parts_and_no_more(level, runs):
    assert train(runs, f"--data moons --epochs 40 --hidden 3 --log {level}") == 0
    found = steps(runs / "run")
    histograms = {"minimal": None, "standard": [15, 30, 40], "full": [*range(1, 41)]}[level]
    assert found.get("weights/layers.0.weight") == histograms
    assert ("configuration/text_summary" in found) == (level != "minimal")
    assert ("kept_weights/confusion_matrix" in found) == (level == "full")
    assert found["loss/validation"] == metrics_steps(runs / "run")


def metrics_steps(run):
    return [row["epoch"] for row in metrics(run)]


@pytest.mark.parametrize(("level", "seconds"), [("standard", 35.0), ("standard", 40.0), ("minimal", 40.0)])
def test_pictures_of_the_end_are_drawn_where_they_take_less_than_a_twentieth(
    level, seconds, runs, monkeypatch, capsys
):
    monkeypatch.setattr(Training, "seconds", seconds)
    assert train(runs, f"--data moons --epochs 1 --hidden 3 --log {level}") == 0
    found = steps(runs / "run").keys() & {"kept_weights/confusion_matrix", "kept_weights/roc_curves", "pr/1"}
    drawn = (level, seconds) == ("standard", 40.0)
    assert len(found) == (3 if drawn else 0)
    assert ("come with --log full" in capsys.readouterr().out) != drawn


def test_histograms_are_some_twenty_however_long_the_run_is():
    for epochs in (1, 14, 15, 300, 301, 5000):
        often = [e for e in range(1, epochs + 1) if SCHEDULES["now and then"](e, epochs)]
        assert len(often) <= 21
        assert often[-1] == epochs


def test_a_level_beyond_those_there_are_is_refused_by_name(runs, capsys):
    assert train(runs, "--log ful") == 2
    assert "--log: unknown level 'ful'" in capsys.readouterr().err


def test_the_check_sees_a_part_that_is_left_out(runs, monkeypatch):
    kept = tuple(part for part in PARTS if part.name != "update ratios")
    monkeypatch.setattr("mlp_torch.board.board.PARTS", kept)
    assert train(runs, "--data moons --epochs 1") == 0
    assert not [tag for tag in steps(runs / "run") if tag.startswith("update_ratio")]


@pytest.mark.parametrize("engine", ["torch", "autograd"])
def test_weights_and_gradients_are_read_at_the_end_of_an_epoch_and_never_in_a_step(engine, runs, monkeypatch):
    """What is read of a GPU makes it wait: as often for 700 steps an epoch as for 7."""
    kind = {"torch": TorchEngine, "autograd": AutogradEngine}[engine]
    read: list[str] = []

    def counted(name, method):
        def call(self, *given):
            read.append(name)
            return method(self, *given)

        return call

    for name in ("parameters", "predict", "state"):
        monkeypatch.setattr(kind, name, counted(name, getattr(kind, name)))
    monkeypatch.setattr(kind, "gradients", property(counted("gradients", kind.gradients.fget)))
    found = {}
    for size in (1, 100):
        flags = f"--data moons --hidden 3 --epochs 2 --engine {engine} --batch-size {size}"
        assert train(runs, flags, f"of-{size}") == 0
        found[size] = Counter(read)
        read.clear()
    assert found[1] == found[100]
    assert found[1]["gradients"] == 2
