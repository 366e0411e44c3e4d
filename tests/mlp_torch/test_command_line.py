"""The command line: it starts at once, and answers every mistake in one line that says what to do."""

import dataclasses
import re
import subprocess
import sys

import pytest

import mlp_torch
from mlp_torch.__main__ import COMMANDS, main, one_line

BAD = [
    # what was typed, what the one line must say
    ("train --data digts", "--data: unknown data set 'digts': did you mean 'digits'?"),
    ("train --activation rleu", "--activation: unknown activation 'rleu': did you mean 'relu'?"),
    ("train --output-activation sofmax", "--output-activation: .*did you mean 'softmax'?"),
    ("train --loss crossentropy", "--loss: unknown loss 'crossentropy': did you mean 'cross_entropy'?"),
    ("train --engine nanual", "--engine: unknown engine 'nanual': did you mean 'manual'?"),
    ("train --optimizer adm", "--optimizer: unknown optimizer 'adm': did you mean 'adam'?"),
    ("train --schedule cosin", "--schedule: .*did you mean 'cosine'?"),
    ("train --normalization batchnorm", "--normalization: .*did you mean 'batch_norm'?"),
    ("train --initialization hee", "--initialization: .*did you mean 'he'?"),
    ("train --dtype float16", "--dtype: unknown dtype 'float16'.*choose from float32, float64"),
    ("train --device gpu", "--device: unknown device 'gpu'.*choose from auto, cpu, cuda, mps"),
    ("train --device mps --dtype float64", "--device mps: has no float64; use --dtype float32"),
    (
        "train --engine manual --device cuda",
        "--device cuda: .*use --device cpu, or --engine torch or autograd",
    ),
    ("train --compile", "--compile with --engine auto: .*use --engine autograd"),
    ("train --fp32-precision tf-32", "--fp32-precision: .*did you mean 'tf32'?"),
    ("train --fp32-precision bf16 --dtype float64", "--fp32-precision bf16: .*use --dtype float32"),
    ("train --fp32-precision bf16 --engine manual", "--fp32-precision bf16: .*use --engine torch"),
    ("train --engine compiled --normalization layer_norm", "--engine compiled: .*no layer_norm"),
    ("compare --engine numba", "--engine: unknown step 'numba'"),
    ("train --epochs -1", "--epochs -1: must be at least 1"),
    ("train --epochs 0", "--epochs 0: must be at least 1"),
    ("train --epochs 1.5", "parsing --epochs"),
    ("train --lr nan", "--lr nan: must be a finite number above 0"),
    ("train --lr inf", "--lr inf: must be"),
    ("train --lr 0", "--lr 0.0: must be"),
    ("train --lr -0.1", "--lr -0.1: must be"),
    ("train --lr fast", "parsing --lr: could not convert string to float: 'fast'"),
    ("train --lr", "--lr"),
    ("train --hidden 128 0", "--hidden 128 0: every layer needs at least 1 neuron"),
    ("train --hidden -3", "--hidden -3: every layer"),
    ("train --hidden 900000000", "--hidden: 67,.* parameters need about .* GiB .*use smaller layers"),
    ("compare --hidden 900000000", "--hidden: 67,.* parameters need about .* GiB .*use smaller layers"),
    ("train --hidden 12 x", "parsing --hidden"),
    ("train --dropout 1", "--dropout 1.0: .*at least 0 and below 1"),
    ("train --dropout nan", "--dropout nan"),
    ("train --batch-size 0", "--batch-size 0: must be at least 1"),
    ("train --seed -1", "--seed -1: must lie in"),
    ("train --momentum -0.5 --optimizer sgd", "--momentum -0.5: must be at least 0 and below 1"),
    ("train --momentum 1 --optimizer sgd", "--momentum 1.0"),
    ("train --momentum 0.9", "--momentum: adam takes none; choose --optimizer sgd or rmsprop"),
    ("train --nesterov --optimizer sgd", "--nesterov: needs a momentum above 0"),
    ("train --nesterov", "--nesterov: adam takes none; choose --optimizer sgd"),
    ("train --weight-decay -1", "--weight-decay -1.0: must be a finite number, at least 0"),
    ("train --weight-decay nan", "--weight-decay nan"),
    ("train --l1 inf", "--l1 inf"),
    ("train --warmup 5 --epochs 5", "--warmup 5: .*below the 5 epochs"),
    ("train --warmup -1", "--warmup -1"),
    ("train --early-stopping 0", "--early-stopping 0: .*at least 1"),
    ("train --name a/b", "--name 'a/b': must be the plain name of one folder"),
    ("train --name ..", "--name '..'"),
    ("train --name NUL", "--name 'NUL': is no folder's name that is safe on every system"),
    ("train --name com1.x", "--name 'com1.x': is no folder's name"),
    ("train --name x.", "--name 'x.': is no folder's name"),
    ("train --name .x", "--name '.x': is no folder's name"),
    ("train --name=-rf", "--name '-rf': is no folder's name"),
    ("train --name " + "x" * 300, "is too long; take at most 200 bytes"),
    ("train --resume no/where", "--resume no/where: holds no config.toml"),
    ("train --checkpoint-every 0", "--checkpoint-every 0: is a number of steps, at least 1"),
    ("train --name C:\\x", "--name"),
    ("train --runs-dir pyproject.toml", "--runs-dir pyproject.toml: no run can be kept"),
    ("train --data line --loss cross_entropy", "--loss cross_entropy: it needs classes"),
    ("train --data xor --batch-size 3 --normalization batch_norm", "--batch-size 3: .*use --batch-size 4"),
    ("train --batch-size 1 --normalization batch_norm", "--batch-size 1: .*use --batch-size 3 or"),
    ("train --lrr 3", "unrecognized options: --lrr .did you mean --lr?"),
    ("train --hiden 4", "did you mean --hidden"),
    ("train data", "too many words, nothing takes data"),
    ("train rows.csv", "too many words, nothing takes rows.csv .a table is given as --data rows.csv"),
    ("lecture chain xor", "too many words, nothing takes xor"),
    ("trian", "unknown command 'trian': did you mean 'train'?"),
    ("", "expected one of {train, compare"),
    ("compare --tier exakt", "--tier: unknown tier 'exakt': did you mean 'exact'?"),
    ("compare --epochs 3", "unrecognized options: --epochs"),
    ("compare --dropout 2", "--dropout 2.0"),
]


@pytest.mark.parametrize(("typed", "says"), BAD, ids=[typed or "nothing" for typed, _ in BAD])
def test_a_mistake_is_answered_in_one_line_with_exit_code_2(typed, says, capfd):
    assert main(typed.split()) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.endswith("\n")
    speaker = " ".join(["mlp", *(word for word in typed.split()[:1] if word in COMMANDS)])
    assert err.startswith(f"{speaker}: ")
    assert re.search(says.replace("?", r"\?"), err), err


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from mlp_torch.__main__ import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'sklearn', 'matplotlib', 'flint', 'tensorboard', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    for flags in (["--help"], ["train", "--help"], ["compare", "--help"]):
        done = subprocess.run([sys.executable, "-c", code, *flags], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "usage: mlp" in done.stdout


def test_version_names_the_versions_at_once(capfd):
    import numpy
    import torch

    assert main(["--version"]) == 0
    said = capfd.readouterr().out
    python = ".".join(map(str, sys.version_info[:3]))
    others = f"(torch {torch.__version__}, numpy {numpy.__version__}, Python {python})"
    assert said == f"mlp-torch {mlp_torch.__version__} {others}\n"
    assert re.fullmatch(r"\d+\.\d+\.\d+", mlp_torch.__version__)


def test_version_and_the_lectures_list_import_nothing_heavy():
    code = (
        "import sys\n"
        "from mlp_torch.__main__ import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "heavy = {'torch', 'sklearn', 'matplotlib', 'flint', 'tensorboard', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    for flags in (["--version"], ["lecture", "--list"]):
        done = subprocess.run([sys.executable, "-c", code, *flags], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_every_flag_has_a_line_of_help(capsys):
    for command, (config, _) in COMMANDS.items():
        with pytest.raises(SystemExit):
            main([command, "--help"])
        shown = capsys.readouterr().out
        for field in dataclasses.fields(config):
            positional = field.name.upper() in shown.partition("options")[0]
            assert f"--{field.name.replace('_', '-')}" in shown or positional


def test_the_module_answers_as_the_command_does():
    done = subprocess.run(
        [sys.executable, "-m", "mlp_torch", "train", "--epochs", "-1"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("mlp train: --epochs -1: must be at least 1")


def test_a_box_becomes_one_line_however_it_is_wrapped():
    box = (
        "╭─ Unrecognized options ──╮\n"
        "│ Unrecognized options: │\n"
        "│ --learning            │\n"
        "│ ───────────────────── │\n"
        "│ Perhaps you meant:    │\n"
        "│     --lr FLOAT        │\n"
        "│         the rate      │\n"
        "│         in mlp --help │\n"
        "╰───────────────────────╯\n"
    )
    assert one_line(box) == ("unrecognized options: --learning (did you mean --lr?); --help lists the flags")
