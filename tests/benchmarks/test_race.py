"""Claims about the race itself, with real processes: same paths, planted faults, workers that die."""

import importlib
from dataclasses import replace
from pathlib import Path

import pytest
from race.candidates import CANDIDATES, Candidate
from race.problems import PROBLEMS, Spec, read, write
from race.rounds import SETTLED, Run, Worker, race
from race.scores import learned_less

SMALL = replace(PROBLEMS["C"], rows=100, epochs=6)


def quiet(text: str) -> None:
    """Say nothing."""


def test_an_engine_and_the_usual_loop_walk_the_same_path() -> None:
    found = race(SMALL, ["engine-manual", "torch-usual"], 2, quiet)
    ours, usual = ([m.rounds[r] for r in (1, 2)] for m in found.values())
    assert [run.loss for run in ours] == pytest.approx([run.loss for run in usual], rel=1e-4)
    assert ours[0].loss != ours[1].loss, "each round has a seed of its own"
    assert ours[0].digest == usual[0].digest
    assert 0 < ours[0].peak < usual[0].peak
    assert learned_less(found) == {}


@pytest.mark.long
def test_whoever_takes_our_weights_and_order_walks_the_same_path_in_every_run() -> None:
    names = [n for n, c in CANDIDATES.items() if c.kind in ("scan", "trainer") and not c.own]
    found = race(SMALL, ["engine-manual", *names], 2, quiet)
    ours = found["engine-manual"]
    there = {name: m for name, m in found.items() if not CANDIDATES[name].missing}
    assert {name: m.missing for name, m in there.items() if m.missing} == {}
    for name, m in there.items():
        losses = [m.rounds[r].loss for r in (1, 2)]
        assert losses == pytest.approx([ours.rounds[r].loss for r in (1, 2)], rel=1e-3), name


def test_a_candidate_that_trains_too_little_is_flagged_in_a_real_race(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("one", "other", "lazy"):
        monkeypatch.setitem(CANDIDATES, name, replace(CANDIDATES["engine-manual"], label=name))
    start = Worker.__init__

    def init(worker: Worker, row: Candidate, spec: Spec, folder: Path, target: float | None = None) -> None:
        start(worker, row, replace(spec, epochs=1) if row.label == "lazy" else spec, folder, target)

    monkeypatch.setattr(Worker, "__init__", init)
    found = race(SMALL, ["one", "other", "lazy"], 1, quiet)
    assert list(learned_less(found)) == ["lazy"]


def test_lbfgs_stops_at_the_others_loss_and_says_after_how_many_passes() -> None:
    found = race(SMALL, ["sklearn-lbfgs", "engine-manual"], 1, quiet)
    ours, lbfgs = found["engine-manual"].first, found["sklearn-lbfgs"].first
    assert ours is not None
    assert lbfgs is not None
    assert 0.5 * ours.loss < lbfgs.loss <= ours.loss * (1 + 1e-5)
    assert lbfgs.passes > 1


def test_lbfgs_with_nobodys_loss_to_reach_makes_as_many_passes_as_the_epochs(tmp_path: Path) -> None:
    from race.trainers.sklearn_lbfgs import Lbfgs

    write(SMALL, tmp_path)
    trainer = Lbfgs(read("C", SMALL.epochs, tmp_path))
    trainer.prepare(0)
    trainer.train()
    assert SMALL.epochs <= trainer.passes <= 2 * SMALL.epochs
    assert [w.shape for w, _ in trainer.weights()] == [(16, 2), (16, 16), (1, 16)]


def test_a_worker_that_cannot_start_is_missing_with_its_last_words_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(CANDIDATES, "engine-manual", replace(CANDIDATES["engine-manual"], name="nobody"))
    found = race(SMALL, ["engine-manual", "floor-numpy"], 1, quiet)
    assert found["engine-manual"].missing == "KeyError: 'nobody'"
    assert found["floor-numpy"].rounds


def test_a_worker_that_is_killed_is_missing_with_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Worker.run

    def killed(worker: Worker, seed: int) -> Run:
        if seed == 1:
            worker.process.kill()
            worker.process.wait()
        return run(worker, seed)

    monkeypatch.setattr(Worker, "run", killed)
    found = race(SMALL, ["floor-numpy"], 2, quiet)
    assert found["floor-numpy"].missing == "ended with status -9"


def test_other_data_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Worker.run
    seen: list[str] = []

    def other(worker: Worker, seed: int) -> Run:
        seen.append("")
        return replace(run(worker, seed), digest=len(seen))

    monkeypatch.setattr(Worker, "run", other)
    with pytest.raises(RuntimeError, match="different data"):
        race(SMALL, ["floor-numpy", "engine-manual"], 1, quiet)


def test_who_decides_no_ratio_stops_after_the_first_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("race.rounds.contenders", lambda measured: {"engine-manual"})
    found = race(SMALL, ["engine-manual", "floor-numpy"], SETTLED + 2, quiet)
    assert [len(m.rounds) for m in found.values()] == [SETTLED + 2, SETTLED]


def test_rounds_run_forwards_and_backwards_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Worker.run
    seen: list[str] = []

    def noted(worker: Worker, seed: int) -> Run:
        seen.append(f"{seed} {worker.row.name}")
        return run(worker, seed)

    monkeypatch.setattr(Worker, "run", noted)
    race(SMALL, ["engine-manual", "floor-numpy"], 2, quiet)
    first = ["0 engine-manual", "0 floor-numpy"]
    assert seen == [*first, "1 engine-manual", "1 floor-numpy", "2 floor-numpy", "2 engine-manual"]


@pytest.mark.parametrize("name", ["estimator", "sklearn"])
def test_the_estimators_that_are_raced_are_where_their_rows_say(name: str) -> None:
    (module,) = CANDIDATES[name].arguments
    assert importlib.import_module(module).MLPClassifier
