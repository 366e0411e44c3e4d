"""Each trial of `mlp sweep` is a run: its parameters, its pruning, its command."""

import contextlib
import io
import re
import shlex
import tomllib

import pytest
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata, plugin_data_pb2

from mlp_torch.__main__ import main
from tests.mlp_torch.running import config, metrics, weights
from tests.mlp_torch.sweep.sweeping import sweep, trials


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A grid of four trials, two of which cannot succeed: their learning rate explodes. And what it said."""
    runs = tmp_path_factory.mktemp("sweep")
    flags = "--data line --hidden --optimizer sgd --epochs 6 --sampler grid --pruner none"
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert sweep(runs, f"{flags} --sweep lr=0.01,1e20 batch_size=1,4") == 0
    return runs, said.getvalue()


def test_a_grid_visits_every_combination_once_and_a_nan_does_not_end_it(finished):
    runs, said = finished
    found = trials(runs)
    points = {(t.params["lr"], t.params["batch_size"]) for t in found}
    assert len(found) == len(points) == 4
    failed = [t for t in found if t.state == TrialState.FAIL]
    assert {t.params["lr"] for t in failed} == {"1e20"}
    assert all("try a smaller --lr" in t.user_attrs["failed"] for t in failed)
    assert said.count("  failed: ") == len(failed) == 2


def test_the_best_command_trains_the_best_trial_again_bit_for_bit(finished, capsys):
    runs, said = finished
    best = min((t for t in trials(runs) if t.value is not None), key=lambda t: t.value)
    line = shlex.split(re.search(r"^best: mlp (train .*)$", said, re.M)[1])
    assert main([*line, "--name", "again"]) == 0
    run = runs / "s" / f"trial-{best.number:04d}"
    again, first = weights(runs / "again"), weights(run)
    assert all(again[name].tobytes() == value.tobytes() for name, value in first.items())
    assert metrics(run)[-1]["loss/validation"] == best.value
    assert re.search(rf"^ +{best.number} +{best.value:.4g} ", said, re.M)


def hparams(run):
    """The three summaries of a run's event file, and the tags of its curves."""
    events = EventAccumulator(str(run)).Reload()
    found = {}
    for tag, content in events.PluginTagToContent(metadata.PLUGIN_NAME).items():
        found[tag] = plugin_data_pb2.HParamsPluginData.FromString(content)
    return found, set(events.Tags()["scalars"])


def test_each_trial_is_one_run_with_its_hparams_in_its_own_event_file(finished):
    runs, _ = finished
    folders = sorted(p for p in (runs / "s").iterdir() if p.is_dir())
    assert [p.name for p in folders] == [f"trial-{i:04d}" for i in range(4)]
    assert not [p for folder in folders for p in folder.iterdir() if p.is_dir()]
    for trial, folder in zip(trials(runs), folders, strict=True):
        assert len(list(folder.glob("events.out.tfevents.*"))) == 1
        found, curves = hparams(folder)
        experiment = found[metadata.EXPERIMENT_TAG].experiment
        assert [info.name for info in experiment.hparam_infos] == ["lr", "batch_size"]
        start = found[metadata.SESSION_START_INFO_TAG].session_start_info.hparams
        assert {k: v.number_value for k, v in start.items()} == {k: float(v) for k, v in trial.params.items()}
        end = found[metadata.SESSION_END_INFO_TAG].session_end_info
        assert end.status == (2 if trial.state == TrialState.FAIL else 1)
        if trial.state == TrialState.COMPLETE:
            assert {m.name.tag for m in experiment.metric_infos} <= curves
            assert trial.intermediate_values == {m["epoch"]: m["loss/validation"] for m in metrics(folder)}


def test_a_hopeless_trial_is_pruned_after_an_epoch_and_its_run_says_so(runs, capsys):
    flags = "--data line --hidden --optimizer sgd --epochs 9 --sampler grid"
    assert sweep(runs, f"{flags} --sweep lr=0.01,0.011,0.012,0.013,1e-9") == 0
    last = trials(runs)[-1]
    assert last.state == TrialState.PRUNED
    run = runs / "s" / "trial-0004"
    epochs = len(metrics(run))
    assert epochs < 9
    assert config(run)["result"] == {"epoch": epochs, "pruned": True}
    assert f"pruned after epoch {epochs}" in capsys.readouterr().out


def test_a_metric_of_accuracy_is_maximised_on_the_kept_weights(runs, tmp_path, capsys):
    storage = f"sqlite:///{tmp_path}/s.db"
    flags = f"--storage {storage} --data xor --epochs 40 --sampler grid --early-stopping 5 --pruner none"
    assert sweep(runs, f"{flags} --metric accuracy --sweep hidden=none,16 lr=0.05") == 0
    first, second = trials(runs, storage=storage)
    assert second.value > first.value
    for trial in (first, second):
        run = runs / "s" / f"trial-{trial.number:04d}"
        kept = tomllib.loads((run / "config.toml").read_text())["result"]["epoch"]
        assert trial.value == metrics(run)[kept - 1]["accuracy/validation"]
    assert "--hidden 16" in capsys.readouterr().out
