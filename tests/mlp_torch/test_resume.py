"""A run that was cut goes on by `--resume` to the same bits; what cannot go on is refused by name."""

import json
import os
import re
import shutil

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mlp_torch.__main__ import main
from mlp_torch.lock import Lock
from mlp_torch.training import checkpoint
from tests.mlp_torch.running import metrics, train, weights

FLAGS = "--data moons --hidden 7 5 --dropout 0.2 --batch-size 150 --epochs 6"
# One row an engine and what must be carried over a cut: moments, masks, running statistics, counters.
RUNS = {
    "compiled, adam": f"{FLAGS} --engine compiled --early-stopping 3",
    "compiled, momentum": f"{FLAGS} --engine compiled --optimizer sgd --momentum 0.9 --dtype float64",
    "compiled, checkpoints within epochs": f"{FLAGS} --engine compiled --batch-size 43 --checkpoint-every 3",
    "manual, rmsprop, batch_norm": f"{FLAGS} --engine manual --optimizer rmsprop --momentum 0.5 "
    "--normalization batch_norm --keep last",
    "manual, lion": f"{FLAGS} --engine manual --optimizer lion --weight-decay 0.1",
    "manual, accumulation": f"{FLAGS} --engine manual --accumulate 3 --batch-size 43 --checkpoint-every 2",
    "torch, adagrad, layer_norm": f"{FLAGS} --engine torch --optimizer adagrad --normalization layer_norm",
    "torch, nesterov, bf16": f"{FLAGS} --engine torch --optimizer sgd --momentum 0.8 --nesterov "
    "--fp32-precision bf16",
    "torch, accumulation": f"{FLAGS} --engine torch --accumulate 2 --batch-size 43 --checkpoint-every 3",
    "autograd, adamw, batch_norm": f"{FLAGS} --engine autograd --optimizer adamw --normalization batch_norm",
    "autograd, accumulation": f"{FLAGS} --engine autograd --accumulate 2 --batch-size 43 "
    "--checkpoint-every 2",
    "both, watched": f"{FLAGS} --engine both --verify-every 3 --checkpoint-every 4 --batch-size 43",
}


class Cut(BaseException):
    """As good as kill -9: nothing is written any more."""


def cut_after(monkeypatch, writes: int) -> None:
    """Every checkpoint is written, and after so many the run is cut."""
    monkeypatch.setattr(checkpoint, "SHARE", 0)
    write, done = checkpoint.write, []

    def writing(folder, one):
        if len(done) == writes:
            raise Cut
        write(folder, one)
        done.append(one)

    monkeypatch.setattr(checkpoint, "write", writing)


def cut(runs, flags: str, monkeypatch, writes: int = 3, name: str = "cut") -> None:
    with monkeypatch.context() as patch:
        cut_after(patch, writes)
        with pytest.raises(Cut):
            train(runs, flags, name)


def resume(run, *flags: str) -> int:
    return main(["train", "--resume", str(run), *flags])


def same(cut, whole) -> None:
    """The weights bit for bit, and the curves."""
    ours, theirs = weights(cut), weights(whole)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], value) for name, value in theirs.items())
    rows = [[{**row, "seconds": 0} for row in metrics(run)] for run in (cut, whole)]
    assert rows[0] == rows[1]


QUICK = (
    "compiled, adam",
    "manual, accumulation",
    "torch, nesterov, bf16",
    "autograd, adamw, batch_norm",
    "both, watched",
)


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(n, marks=pytest.mark.long) for n in RUNS if n not in QUICK)]
)
def test_a_cut_run_ends_in_the_bits_of_the_run_that_was_not(name, runs, monkeypatch):
    assert train(runs, RUNS[name], "whole") == 0
    cut(runs, RUNS[name], monkeypatch)
    within = checkpoint.last(runs / "cut").numbers["position"]["batches"]
    assert bool(within) == ("--checkpoint-every" in RUNS[name])
    assert resume(runs / "cut") == 0
    same(runs / "cut", runs / "whole")


@pytest.mark.parametrize("every", [1, 2, 5])
def test_so_does_one_whose_inputs_lie_on_disk(every, runs, tmp_path, monkeypatch):
    table = tmp_path / "t.csv"
    rows = [f"{i % 7},{i % 5},{'yes' if i % 3 else 'no'}" for i in range(500)]
    table.write_text("\n".join(["a,b,y", *rows]) + "\n")
    monkeypatch.setattr("mlp_torch.data.loading.IN_MEMORY", 0)
    monkeypatch.setattr("mlp_torch.data.on_disk.PIECE", 90 * 2 * 4)
    flags = f"--data {table} --epochs 3 --batch-size 20 --dropout 0.1 --hidden 5 --checkpoint-every {every}"
    assert train(runs, flags, "whole") == 0
    cut(runs, flags, monkeypatch, writes=11)
    assert resume(runs / "cut") == 0
    same(runs / "cut", runs / "whole")


def test_the_check_sees_a_moment_that_is_not_carried_over(runs, monkeypatch):
    assert train(runs, RUNS["compiled, adam"], "whole") == 0
    cut(runs, RUNS["compiled, adam"], monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr("manual.training.engine.NumPyEngine.take_moments", lambda self, moments: None)
        assert resume(runs / "cut") == 0
    with pytest.raises(AssertionError):
        same(runs / "cut", runs / "whole")


def test_no_curve_holds_an_epoch_twice(runs, monkeypatch):
    cut(runs, RUNS["both, watched"], monkeypatch)
    assert resume(runs / "cut") == 0
    events = EventAccumulator(str(runs / "cut"))
    events.Reload()
    for tag in events.Tags()["scalars"]:
        steps = [event.step for event in events.Scalars(tag)]
        assert steps == sorted(set(steps))
    assert [e.step for e in events.Scalars("loss/train")] == list(range(1, 7))


def test_a_run_cut_before_its_first_checkpoint_starts_again_from_its_configuration(runs, monkeypatch):
    assert train(runs, FLAGS, "whole") == 0
    cut(runs, FLAGS, monkeypatch, writes=0)
    assert not (runs / "cut" / checkpoint.FILE).exists()
    assert resume(runs / "cut") == 0
    same(runs / "cut", runs / "whole")


def test_a_finished_run_says_so_and_more_epochs_go_on_to_the_bits_of_a_run_of_so_many(runs, capsys):
    flags = FLAGS + " --schedule constant"
    assert train(runs, flags, "run") == 0
    before = {path.name: path.read_bytes() for path in (runs / "run").iterdir()}
    capsys.readouterr()
    assert resume(runs / "run") == 0
    assert "has finished, 6 epochs" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in (runs / "run").iterdir()} == before
    assert train(runs, f"{flags} --epochs 9", "whole") == 0
    assert resume(runs / "run", "--epochs", "9") == 0
    same(runs / "run", runs / "whole")


def test_flags_of_its_own_are_kept_and_others_are_refused(runs, monkeypatch, capsys):
    cut(runs, FLAGS, monkeypatch)
    assert resume(runs / "cut", "--lr", "0.5") == 2
    assert "--lr: a run goes on by its own flags (0.003)" in capsys.readouterr().err
    assert resume(runs / "cut", "--epochs", "2") == 2
    assert "begun with 6" in capsys.readouterr().err
    assert resume(runs / "cut", "--dropout", "0.2") == 0


def damaged(file, how: str) -> None:
    content = bytearray(file.read_bytes())
    if how == "torn":
        content = content[: len(content) // 2]
    elif how == "a bit flipped":
        content[-9] ^= 4
    elif how == "edited":
        content = bytearray(content.replace(b'\\"seconds\\":0', b'\\"seconds\\":1'))
    else:
        content = bytearray(b"something else")
    assert bytes(content) != file.read_bytes()
    file.write_bytes(content)


@pytest.mark.parametrize("how", ["torn", "a bit flipped", "edited", "foreign"])
def test_a_damaged_checkpoint_is_refused_by_name_with_the_last_good_one(how, runs, monkeypatch, capsys):
    assert train(runs, FLAGS, "whole") == 0
    cut(runs, FLAGS, monkeypatch)
    file = runs / "cut" / checkpoint.FILE
    damaged(file, how)
    capsys.readouterr()
    assert resume(runs / "cut") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert str(file) in said
    assert f"remove it to go on from {runs / 'cut' / checkpoint.PREVIOUS}, of epoch 2" in said
    file.unlink()
    assert resume(runs / "cut") == 0
    same(runs / "cut", runs / "whole")


def test_a_checkpoint_of_another_run_is_refused_with_the_flag_that_differs(runs, monkeypatch, capsys):
    cut(runs, FLAGS, monkeypatch)
    cut(runs, f"{FLAGS} --lr 0.01", monkeypatch, name="other")
    shutil.copy(runs / "other" / checkpoint.FILE, runs / "cut" / checkpoint.FILE)
    capsys.readouterr()
    assert resume(runs / "cut") == 2
    assert "is of another run: --lr is 0.01 there and 0.003 in config.toml" in capsys.readouterr().err


def test_other_data_under_the_same_name_is_refused(runs, tmp_path, monkeypatch, capsys):
    table = tmp_path / "t.csv"
    rows = [f"{i % 7},{i % 5},{'yes' if i % 3 else 'no'}" for i in range(200)]
    table.write_text("\n".join(["a,b,y", *rows]) + "\n")
    cut(runs, f"--data {table} --epochs 5", monkeypatch)
    table.write_text("\n".join(["a,b,y", *reversed(rows)]) + "\n")
    capsys.readouterr()
    assert resume(runs / "cut") == 2
    assert "has changed since the run was begun" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["nothing", "a folder without a configuration", "a file"])
def test_what_is_no_run_is_refused(what, runs, capsys):
    path = runs / "x"
    runs.mkdir(exist_ok=True)
    if what == "a file":
        path.write_text("x")
    elif what != "nothing":
        path.mkdir()
    assert resume(path) == 2
    assert capsys.readouterr().err.startswith(f"mlp train: --resume {path}: holds no config.toml")


def test_a_second_process_in_the_same_folder_is_refused_with_the_firsts_pid(runs, monkeypatch, capsys):
    cut(runs, FLAGS, monkeypatch)
    capsys.readouterr()
    lock = Lock(runs / "cut")
    try:
        assert resume(runs / "cut") == 2
        said = capsys.readouterr().err
        assert re.search(rf"process {os.getpid()} on \S+ is at work on this run", said)
    finally:
        lock.release()
    assert resume(runs / "cut") == 0


def test_the_lock_of_a_process_that_is_dead_holds_nobody_up(runs, monkeypatch):
    cut(runs, FLAGS, monkeypatch)
    (runs / "cut" / "lock").write_text(json.dumps({"host": "here", "pid": 2**22 + 1, "born": "1"}))
    assert resume(runs / "cut") == 0
    assert not (runs / "cut" / "lock").exists()


@pytest.mark.parametrize("host", ["this one", "another"])
def test_where_files_cannot_be_locked_the_named_process_decides(host, runs, monkeypatch, capsys):
    from mlp_torch.processes import owner

    monkeypatch.setattr("mlp_torch.lock._taken", lambda file: None)
    cut(runs, FLAGS, monkeypatch)
    lock = runs / "cut" / "lock"
    mine = owner()
    if host == "another":
        mine["host"] = "far away"
    lock.write_text(json.dumps(mine))
    capsys.readouterr()
    assert resume(runs / "cut") == 2
    said = capsys.readouterr().err
    assert "is at work on this run" in said
    assert (f"remove {lock}" in said) == (host == "another")
    lock.write_text(json.dumps({**owner(), "born": "an earlier process with this id"}))
    assert resume(runs / "cut") == 0


def test_nothing_of_a_run_is_left_open_or_locked_when_it_is_over(runs):
    assert train(runs, FLAGS, "run") == 0
    assert not (runs / "run" / "lock").exists()
    assert not [path for path in runs.rglob("*") if path.name.startswith(".")]
