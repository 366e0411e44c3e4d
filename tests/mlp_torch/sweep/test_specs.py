"""A bad spec of `mlp sweep` ends before anything runs; a good one is read as the flags' types."""

import importlib.util
import re
import shlex
import subprocess
import sys

import pytest

from mlp_torch.__main__ import main, parse
from mlp_torch.config import Train
from mlp_torch.sweep.command import command
from mlp_torch.sweep.space import read, with_values
from tests.mlp_torch.running import train
from tests.mlp_torch.sweep.sweeping import FIXED, sweep

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


def test_a_sweep_ends_in_a_list_of_flags_that_train_takes(runs, capsys):
    assert train(runs, "--data xor --epochs 1", "x") == 0
    capsys.readouterr()
    assert sweep(runs, f"{FIXED} --sweep weight_decay=none,0.01 nesterov=false --sampler grid") == 0
    said = capsys.readouterr().out
    line = re.search(r"^best: mlp (.*)$", said, re.M)[1]
    assert isinstance(parse(shlex.split(line)), Train)
    assert f"mlp board {runs / 's'}" in said


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
