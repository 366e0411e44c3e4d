"""`mlp sweep`: bad specs end before anything runs; trials are runs; a study outlives its processes."""

import contextlib
import importlib.util
import io
import json
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib

import optuna
import pytest
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata, plugin_data_pb2

from mlp_torch.__main__ import main, parse
from mlp_torch.config import Train
from mlp_torch.processes import owner
from mlp_torch.sweep import study as studies
from mlp_torch.sweep.command import command
from mlp_torch.sweep.space import read, with_values
from mlp_torch.training.loop import Kept
from tests.mlp_torch.running import config, metrics, train, weights

FIXED = "--data xor --epochs 3 --hidden 4"


def sweep(runs, flags, study="s"):
    """The exit code of `mlp sweep` with these flags."""
    return main(["sweep", *flags.split(), "--runs-dir", str(runs), "--study", study])


def trials(runs, name="s", storage=None):
    """The study's trials, read anew."""
    found = studies.storage(storage, runs / name)
    return optuna.load_study(study_name=name, storage=found).get_trials()


BAD = [
    ("--sweep lrr=1:2", "--sweep lrr=1:2: unknown flag 'lrr': did you mean 'lr'?"),
    ("", "--sweep: names nothing to search; write it as --sweep lr="),
    ("--sweep lr", "--sweep lr: no values; write it as"),
    ("--sweep lr=", "--sweep lr=: no values"),
    ("--sweep lr=2:1", "--sweep lr=2:1: the range is empty"),
    ("--sweep lr=1:1", "--sweep lr=1:1: the range is empty"),
    ("--sweep lr=0:1:log", "--sweep lr=0:1:log: a log range begins above 0"),
    ("--sweep lr=nan:1", "--sweep lr=nan:1: the range is empty"),
    ("--sweep lr=a:b", "the ends of a range are numbers, as in lr=1:10"),
    ("--sweep lr=1:2:lgo", "unknown 'lgo'; a range is low:high, with :log or :int"),
    ("--sweep batch_size=1.5:4", "the ends of a range of whole numbers are whole"),
    ("--sweep batch-size=8,x", "'x' is no value of batch_size (int)"),
    ("--sweep nesterov=yes", "'yes' is no value of nesterov (bool)"),
    ("--sweep hidden=8:64", "hidden is no number; list its values, as in hidden=64,128x64"),
    ("--sweep activation=relu:tanh", "activation is no number"),
    ("--sweep lr=0.1,0.1", "0.1 stands twice"),
    ("--sweep lr=0.1 lr=0.2", "lr stands twice"),
    ("--sweep data=moons", "data is not searched, but fixed"),
    ("--sweep hidden=8,0", "hidden=0 cannot be: --hidden 0: every layer needs at least 1 neuron"),
    ("--sweep activation=relu,tahn", "did you mean 'tanh'?"),
    ("--sweep dropout=0:1", "dropout=1 cannot be: --dropout 1.0"),
    ("--sweep lr=0:1", "lr=0 cannot be: --lr 0.0: must be"),
    (
        "--sweep optimizer=sgd,adam momentum=0.5,0.9",
        "momentum=0.5 cannot be: --momentum: adam takes",
    ),
    ("--sweep batch_size=2,3 --normalization batch_norm", "batch_size=3 cannot be: --batch-size 3: of 4"),
    ("--sweep loss=mse,cross_entropyy --metric accuracy", "did you mean 'cross_entropy'?"),
    ("--sweep loss=mse,l1", "--metric loss: different losses do not compare; use --metric accuracy"),
    ("--sweep lr=1:2 --sampler grid", "--sampler grid: lr is a range; list its values"),
    ("--sweep lr=1:2 --sampler tpee", "did you mean 'tpe'?"),
    ("--sweep lr=1:2 --pruner medan", "did you mean 'median'?"),
    ("--sweep lr=1:2 --trials 0", "--trials 0: must be at least 1"),
    ("--sweep lr=1:2 --timeout -1", "--timeout -1.0: is a number of seconds above 0"),
    ("--sweep lr=1:2 --name a", "--name: the trials' folders are named by number"),
    ("--sweep lr=1:2 --momentum 0.9", "--momentum: adam takes none"),
    ("--sweep lr=1:2 --storage nonsense://x", "--storage nonsense://x: the study cannot be opened"),
]


@pytest.mark.parametrize(("flags", "says"), BAD, ids=[flags or "nothing" for flags, _ in BAD])
def test_a_bad_spec_is_answered_in_one_line_before_anything_runs(flags, says, runs, capfd, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert main(["sweep", "--data", "xor", "--runs-dir", str(runs), *flags.split()]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err
    assert not list(runs.rglob("*.toml"))


def test_without_optuna_one_line_says_how_to_install_it(monkeypatch, capfd, runs):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert sweep(runs, "--sweep lr=0.1,0.2") == 2
    assert "python -m pip install -e '.[sweep]'" in capfd.readouterr().err
    assert not runs.exists()


def test_each_dimension_reads_its_values_as_the_flags_type():
    dimensions = read(["hidden=64,128x64,none", "early-stopping=none,5", "lr=1e-4:1:log", "batch_size=8:16"])
    values = [[d.value(c) for c in d.corners()] for d in dimensions]
    assert values == [[(64,), (128, 64), ()], [None, 5], [1e-4, 1.0], [8, 16]]
    assert [type(v) for v in values[3]] == [int, int]
    drawn = {"hidden": "none", "early_stopping": "5", "lr": 0.5, "batch_size": 9}
    assert with_values(Train(), dimensions, drawn) == Train(hidden=(), early_stopping=5, lr=0.5, batch_size=9)


@pytest.mark.parametrize(
    "given",
    [
        Train(),
        Train(hidden=(), lr=1e-7, nesterov=True, optimizer="sgd", momentum=0.3),
        Train(hidden=(3, 2), early_stopping=4, weight_decay=0.1, loss="mse", name="a b"),
    ],
)
def test_the_printed_command_is_read_back_as_the_same_flags(given):
    assert parse(shlex.split(command(given))[1:]) == given


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


def pretended(given, around):
    """A training of one epoch, whose validation loss is its learning rate."""
    watch = around.__self__
    watch.trial.set_user_attr("epoch", 1)
    watch.after_epoch(Kept(1, given.lr, {}), None)
    return 0


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_same_seed_proposes_the_same_trials_also_after_an_interruption(
    sampler, runs, capsys, monkeypatch
):
    monkeypatch.setattr("mlp_torch.sweep.command.train", pretended)
    flags = f"{FIXED} --sampler {sampler} --sweep lr=1e-4:1:log hidden=2,3x2 batch_size=1:4"
    for name, parts in {"once": [16], "parts": [3, 13, 16]}.items():
        for number in parts:
            assert sweep(runs, f"{flags} --trials {number}", name) == 0
    once, parts = ([t.params for t in trials(runs, name)] for name in ("once", "parts"))
    assert once == parts
    assert len({json.dumps(p) for p in once}) == 16
    assert sweep(runs, f"{flags} --trials 2 --seed 1", "other") == 0
    assert trials(runs, "other")[0].params != once[0]


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


def test_a_study_begun_with_other_flags_is_not_mixed(runs, capfd):
    assert sweep(runs, f"{FIXED} --sweep lr=0.1,0.2 --trials 1") == 0
    capfd.readouterr()
    assert sweep(runs, f"{FIXED} --sweep lr=0.1,0.2 --activation tanh --trials 2") == 2
    assert "--study s: was begun with --activation relu; take another name" in capfd.readouterr().err
    assert sweep(runs, f"{FIXED} --sweep lr=0.1,0.3 --trials 2") == 2
    assert len(trials(runs)) == 1


def test_an_interrupted_trial_is_tried_again_by_the_next_process(runs, capsys, monkeypatch):
    calls = iter([KeyboardInterrupt])

    def interrupted(*_):
        for error in calls:
            raise error

    monkeypatch.setattr("mlp_torch.training.loop.Display.show", interrupted)
    assert sweep(runs, f"{FIXED} --sweep lr=0.1,0.2 --sampler grid") == 130
    assert sweep(runs, f"{FIXED} --sweep lr=0.1,0.2 --sampler grid") == 0
    states = [t.state for t in trials(runs)]
    assert states.count(TrialState.COMPLETE) == 2
    assert states.count(TrialState.FAIL) == 1


def until(condition, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.05)


@pytest.mark.parametrize("kind", ["journal", pytest.param("sqlite", marks=pytest.mark.long)])
def test_of_two_processes_in_one_study_one_is_killed_and_the_other_goes_on(kind, runs, tmp_path, ctrl_c):
    storage = f"sqlite:///{tmp_path}/s.db" if kind == "sqlite" else str(tmp_path / "s.log")
    line = [sys.executable, "-m", "mlp_torch", "sweep", "--data", "xor", "--epochs", "60", "--hidden", "4"]
    line += ["--sweep", "lr=1e-3:1e-1:log", "--trials", "1000", "--pruner", "none", "--sampler", "random"]
    line += ["--study", "s", "--storage", storage, "--runs-dir", str(runs)]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    first, second = (subprocess.Popen(line, **quiet) for _ in range(2))
    try:
        until(lambda: len(list(runs.glob("s/trial-*/metrics.jsonl"))) >= 2)

        def at_work(pid):
            now = [t for t in trials(runs, storage=storage) if t.state == TrialState.RUNNING]
            return [t.number for t in now if t.user_attrs.get("owner", {}).get("pid") == pid]

        def in_the_middle():
            """Both are at work, and the first has half of a trial before it."""
            mine = at_work(first.pid) if at_work(second.pid) else []
            lines = [runs / "s" / f"trial-{number:04d}" / "metrics.jsonl" for number in mine]
            return [p for p in lines if p.exists() and len(p.read_text().splitlines()) < 30]

        until(in_the_middle)
        first.send_signal(signal.SIGKILL)
        assert first.wait(10) == -signal.SIGKILL

        def retried():
            again = [t for t in trials(runs, storage=storage) if "retry_of" in t.user_attrs]
            return [t for t in again if t.state == TrialState.COMPLETE]

        until(retried)
        second.send_signal(signal.SIGINT)
        out, _ = second.communicate(timeout=60)
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()
    assert second.returncode == 130
    [again] = retried()
    found = trials(runs, storage=storage)
    cut_off = found[again.user_attrs["retry_of"]]
    assert f"trial {cut_off.number} was cut off with its process; its values are tried again" in out
    assert (cut_off.state, cut_off.user_attrs["owner"]["pid"]) == (TrialState.FAIL, first.pid)
    assert (again.params, again.user_attrs["owner"]["pid"]) == (cut_off.params, second.pid)
    done = [t.params["lr"] for t in found if t.state == TrialState.COMPLETE]
    assert len(set(done)) == len(done)
    studies.free_stale(optuna.load_study(study_name="s", storage=studies.storage(storage, runs)))
    assert not at_work(first.pid) + at_work(second.pid)


def frozen(**attributes):
    trial = optuna.trial.create_trial(state=TrialState.RUNNING)
    for name, value in attributes.items():
        trial.set_user_attr(name, value)
    return trial


def test_a_process_is_known_to_live_by_its_id_and_birth_and_far_ones_by_their_last_epoch():
    mine = owner()
    assert studies.alive(frozen(owner=mine))
    assert not studies.alive(frozen(owner=mine | {"born": "another process with this id"}))
    assert not studies.alive(frozen(owner=mine | {"pid": 2**22 + 1}))
    far = mine | {"host": "elsewhere"}
    assert studies.alive(frozen(owner=far, beat=time.time() - 60))
    assert not studies.alive(frozen(owner=far, beat=time.time() - studies.SILENT_SECONDS - 60))
    assert studies.alive(frozen())


def test_a_sweep_ends_in_a_list_of_flags_that_train_takes(runs, capsys):
    assert train(runs, "--data xor --epochs 1", "x") == 0
    capsys.readouterr()
    assert sweep(runs, f"{FIXED} --sweep weight_decay=none,0.01 nesterov=false --sampler grid") == 0
    said = capsys.readouterr().out
    line = re.search(r"^best: mlp (.*)$", said, re.M)[1]
    assert isinstance(parse(shlex.split(line)), Train)
    assert f"mlp board {runs / 's'}" in said


def test_a_folder_with_trials_of_another_study_is_refused(runs, capfd):
    assert sweep(runs, f"{FIXED} --sweep lr=0.1 --sampler grid") == 0
    (runs / "s" / "study.journal").unlink()
    capfd.readouterr()
    assert sweep(runs, f"{FIXED} --sweep lr=0.1 --sampler grid") == 2
    assert "holds the trials of another study; take another --study name" in capfd.readouterr().err


@pytest.mark.parametrize("pruner", ["hyperband", "median"])
def test_no_trial_begins_after_the_timeout_and_none_completed_is_said(pruner, runs, capsys, monkeypatch):
    assert sweep(runs, f"{FIXED} --pruner {pruner} --sweep lr=0.1,0.2 --timeout 1e-9", "late") == 1
    said = capsys.readouterr().out
    assert "1e-09 s are over" in said
    assert "no trial was completed" in said
    assert sweep(runs, f"{FIXED} --pruner {pruner} --sweep lr=1e-9,0.1 --trials 3", "all") == 0
    assert len(trials(runs, "all")) == 3


def test_help_imports_neither_torch_nor_optuna():
    code = (
        "import sys\n"
        "from mlp_torch.__main__ import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'optuna', 'matplotlib', 'sklearn'} & set(sys.modules)\n"
    )
    for name in ("explain", "sweep"):
        done = subprocess.run([sys.executable, "-c", code, name, "--help"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert f"usage: mlp {name}" in done.stdout
