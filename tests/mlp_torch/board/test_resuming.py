"""One run, one folder, one event file: whatever is cut and goes on, nothing stands there twice."""

import json
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

from mlp_torch import events
from mlp_torch import runs as run_folders
from mlp_torch.__main__ import main
from mlp_torch.board.board import Board
from mlp_torch.events import PLUGINS
from mlp_torch.training import checkpoint
from tests.mlp_torch.board.reading import hparams, steps, values
from tests.mlp_torch.running import metrics, train
from tests.signals import answered

FLAGS = "--data moons --hidden 5 --epochs 6 --engine manual --schedule constant --log full"

CUTS = [
    ("epoch", 4),
    *(pytest.param(*cut, marks=pytest.mark.long) for cut in (("begin", 1), ("epoch", 1), ("end", 1))),
]


class Cut(BaseException):
    """As good as kill -9: nothing is written any more."""


def cut_at(monkeypatch, method: str, call: int) -> None:
    """The run is cut after that call of a method of the board, what it wrote left half known."""
    monkeypatch.setattr(checkpoint, "SHARE", 0)
    whole, done = getattr(Board, method), []

    def cutting(self, *given):
        whole(self, *given)
        done.append(given)
        if len(done) == call:
            raise Cut

    monkeypatch.setattr(Board, method, cutting)


def nothing_twice(run) -> None:
    for tag, points in steps(run).items():
        assert points == sorted(set(points)), tag


@pytest.mark.parametrize(("method", "call"), CUTS)
def test_a_run_that_was_cut_and_goes_on_shows_what_the_whole_one_shows(method, call, runs, monkeypatch):
    assert train(runs, FLAGS, "whole") == 0
    with monkeypatch.context() as patch:
        cut_at(patch, method, call)
        with pytest.raises(Cut):
            train(runs, FLAGS, "cut")
    assert main(["train", "--resume", str(runs / "cut")]) == 0
    nothing_twice(runs / "cut")
    assert steps(runs / "cut") == steps(runs / "whole")
    assert hparams(runs / "cut")["end"].status == 1
    ours, theirs = (values(runs / run) for run in ("cut", "whole"))
    for tag in (t for t in theirs if t.partition("/")[0] in ("weights", "gradients", "update_ratio", "loss")):
        for (_, a), (_, b) in zip(ours[tag], theirs[tag], strict=True):
            assert (a.simple_value, a.histo) == (b.simple_value, b.histo)


def test_more_epochs_put_another_end_in_the_place_of_the_first(runs):
    assert train(runs, FLAGS) == 0
    assert main(["train", "--resume", str(runs / "run"), "--epochs", "9"]) == 0
    nothing_twice(runs / "run")
    found = steps(runs / "run")
    assert found["loss/train"] == [row["epoch"] for row in metrics(runs / "run")] == list(range(1, 10))
    assert len(found["kept_weights/confusion_matrix"]) == len(found["test/loss"]) == 1
    assert hparams(runs / "run")["end"].status == 1


def test_an_embedding_of_weights_that_are_no_longer_kept_is_cut_away_too(runs):
    assert train(runs, FLAGS) == 0
    assert list((runs / "run" / PLUGINS).rglob("tensors.tsv"))
    assert main(["train", "--resume", str(runs / "run"), "--epochs", "9", "--log", "minimal"]) == 0
    assert not (runs / "run" / PLUGINS).exists()


def test_the_check_sees_an_end_that_is_left_in_the_file(runs, monkeypatch):
    assert train(runs, FLAGS) == 0
    monkeypatch.setattr("mlp_torch.events.os.truncate", lambda path, size: None)
    assert main(["train", "--resume", str(runs / "run"), "--epochs", "9"]) == 0
    with pytest.raises((AssertionError, ValueError)):
        hparams(runs / "run")


def test_another_level_may_be_asked_for_where_a_run_goes_on(runs, monkeypatch):
    with monkeypatch.context() as patch:
        cut_at(patch, "epoch", 2)
        with pytest.raises(Cut):
            train(runs, FLAGS.replace("full", "minimal"))
    assert main(["train", "--resume", str(runs / "run"), "--log", "full"]) == 0
    assert steps(runs / "run")["weights/layers.0.weight"] == [2, 3, 4, 5, 6]


@pytest.mark.long
def test_a_run_that_is_interrupted_has_no_end_of_its_own_until_it_goes_on(runs, monkeypatch):
    with monkeypatch.context() as patch:
        whole = Board.epoch

        def interrupted(self, moment):
            whole(self, moment)
            if moment.epoch == 3:
                raise KeyboardInterrupt

        patch.setattr(Board, "epoch", interrupted)
        assert train(runs, FLAGS) == 130
    assert hparams(runs / "run")["end"].status == 2
    assert "test/loss" not in steps(runs / "run")
    assert main(["train", "--resume", str(runs / "run")]) == 0
    nothing_twice(runs / "run")
    assert hparams(runs / "run")["end"].status == 1


def test_an_explanation_is_in_its_run_s_entry_and_stays_where_the_run_goes_on(runs):
    """It has a file of its own, which no checkpoint knows: a run at work is not written into by two."""
    assert train(runs, FLAGS.replace("full", "minimal")) == 0
    (own,) = (runs / "run").glob("events.out.tfevents.*")
    before = own.read_bytes()
    assert main(["explain", "--run", str(runs / "run"), "--tensorboard"]) == 0
    assert own.read_bytes() == before
    assert main(["train", "--resume", str(runs / "run"), "--epochs", "9"]) == 0
    entries = EventMultiplexer().AddRunsFromDirectory(str(runs)).Reload()
    tags = entries.Runs()
    assert list(tags) == ["run"]
    assert [p.step for p in entries.Tensors("run", "loss/train")] == list(range(1, 10))
    assert any(tag.startswith("explain/layers.0.weight[") for tag in tags["run"]["tensors"])


@contextmanager
def opened_board(runs):
    """`mlp board`, which looks for new epochs every second; gives the steps of `loss/train` of a run."""
    program = "import sys, mlp_torch.board.command as c; c.RELOAD = 1; from mlp_torch.__main__ import main; "
    command = [sys.executable, "-c", program + "main(sys.argv[1:])", "board", str(runs)]
    with answered():
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = re.search(r"http://[\d.:]+/", process.stdout.readline())[0]
        asked = urlencode({"tag": "loss/train", "run": "run"})
        yield lambda: [
            step
            for _, step, _ in json.load(urlopen(f"{address}data/plugin/scalars/scalars?{asked}", timeout=9))
        ]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def test_a_board_that_a_test_opens_ends_by_ctrl_c_also_where_the_tests_ignore_it(runs):
    (runs / "run").mkdir(parents=True)
    (runs / "run" / f"{events.STEM}0").touch()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with opened_board(runs):
            pass
    finally:
        signal.signal(signal.SIGINT, before)


def follows(runs, seconds: float) -> bool:
    """Whether a board that has read six epochs shows those of a run that went on, each of them once."""
    assert train(runs, FLAGS.replace("full", "minimal")) == 0
    with opened_board(runs) as shown:
        assert shown() == list(range(1, 7))
        assert main(["train", "--resume", str(runs / "run"), "--epochs", "9"]) == 0
        end = time.monotonic() + seconds
        while time.monotonic() < end and shown() != list(range(1, 10)):
            time.sleep(0.1)
        return shown() == list(range(1, 10))


def test_a_board_that_is_open_follows_a_run_that_goes_on(runs):
    assert follows(runs, 20)


@pytest.mark.long
def test_the_check_sees_a_board_that_stands_still(runs, monkeypatch):
    def in_place(folder, sizes):
        for path in events.files(folder):
            with path.open("r+b") as file:
                file.truncate(sizes.get(path.name, 0))

    monkeypatch.setattr(run_folders, "cut", in_place)
    assert not follows(runs, 4)


def test_curves_under_a_later_name_are_those_that_a_checkpoint_knew_by_the_earlier_one(tmp_path):
    """So it is where a process ends before the checkpoint that would have the later name."""
    first = tmp_path / f"{events.STEM}7.host.1"
    first.write_bytes(b"0123456789")
    sizes = {first.name: 4, "metrics.jsonl": 2}
    for more in (b"abc", b"de", b""):
        events.cut(tmp_path, sizes)
        (file,) = tmp_path.iterdir()
        assert file.read_bytes() == b"0123"
        file.write_bytes(b"0123" + more)
    assert file.name != first.name


def test_where_a_process_ends_between_two_names_the_file_that_is_known_stays(tmp_path):
    for stamp in (7, 8):
        (tmp_path / f"{events.STEM}{stamp}.host.1").write_bytes(b"0123" + b"x" * stamp)
    events.cut(tmp_path, {f"{events.STEM}7.host.1": 4})
    (file,) = tmp_path.iterdir()
    assert file.read_bytes() == b"0123"


def test_curves_that_no_checkpoint_knows_are_taken_away(tmp_path):
    (tmp_path / f"{events.STEM}7.host.1").write_bytes(b"0123")
    events.cut(tmp_path, {"metrics.jsonl": 0})
    assert list(tmp_path.iterdir()) == []
