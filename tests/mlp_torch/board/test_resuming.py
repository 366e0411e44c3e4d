"""One run, one folder, one event file: whatever is cut and goes on, nothing stands there twice."""

import pytest

from mlp_torch.__main__ import main
from mlp_torch.board.board import Board
from mlp_torch.training import checkpoint
from tests.mlp_torch.board.reading import hparams, steps, values
from tests.mlp_torch.running import metrics, train

FLAGS = "--data moons --hidden 5 --epochs 6 --engine manual --schedule constant --log full"


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


@pytest.mark.parametrize(("method", "call"), [("begin", 1), ("epoch", 1), ("epoch", 4), ("end", 1)])
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
