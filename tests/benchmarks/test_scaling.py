"""Claims about how growth is measured and shown: turns, what is left out, multiples of the floor."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from race.curves import curves
from race.files_beyond import Whole
from race.growth import MOST_ROWS, QUANTITIES, Point, quick
from race.scaling import ENGINES, LONGEST, Asked, Growth, measured, problem_of, tables
from race.trainers.floor import AnyDepth

POINTS = tuple(Point(10**k, (4, 3, 2), 10, 10**k) for k in (1, 2, 3))


class Told:
    """A process that takes so many seconds a sample, and notes that it was asked."""

    def __init__(self, name: str, sample: float, log: list[str]) -> None:
        self.name, self.sample, self.log = name, sample, log

    def run(self, point: Point) -> list[float] | None:
        self.log.append(f"{self.name} {point.value}")
        return [self.sample * point.rows] * point.epochs if self.sample else None


def asked(log: list[str], **samples: float) -> dict[tuple[str, int], Any]:
    return {(name, 1): Told(name, samples.get(name, 1e-6), log) for name in ENGINES}


def test_the_engines_take_turns_forwards_and_backwards() -> None:
    log: list[str] = []
    found, _ = measured(POINTS[:1], asked(log))
    order = [f"{name} 10" for name in ENGINES]
    assert log == [*order, *order[::-1], *order]
    assert found["compiled"] == {10: pytest.approx([1.0] * 3)}


def test_what_would_take_too_long_is_left_out_and_what_took_long_runs_once() -> None:
    log: list[str] = []
    found, _ = measured(POINTS, asked(log, autograd=0.05, torch=1.1 * LONGEST / 1000))
    assert list(found["autograd"]) == [10, 100], "1,000 samples would take 50 s"
    assert len(found["autograd"][100]) == 1, "5 s are long"
    assert list(found["torch"]) == [10, 100]
    assert list(found["compiled"]) == [10, 100, 1000]


def test_an_engine_that_dies_is_missing_and_the_others_go_on() -> None:
    found, _ = measured(POINTS, asked([], manual=0.0))
    assert found["manual"] == {}
    assert list(found["torch"]) == [10, 100, 1000]


def grown() -> Growth:
    floor, ours = {10: [1.0, 4.0, 1.0], 20: [2.0, 2.0]}, {10: [2.0, 8.0, 2.0], 20: [3.0, 3.0]}
    by_engine = {"floor": floor, "compiled": ours, "manual": ours, "torch": {10: [9.0]}, "autograd": {}}
    files = [
        Whole(1000, 0.1, "in memory", 2.0, 3.0, 300.0),
        Whole(10**7, 1200.0, "on disk", 40.0, 1.0, 900.0),
    ]
    return Growth(dict.fromkeys(QUANTITIES, by_engine), {"compiled": 1.01}, files)


def test_a_cell_is_a_median_with_the_median_of_the_multiples_of_the_floor() -> None:
    text = tables(grown())
    assert "| 10 | 1.00 | 2.00 (2.00×) | 2.00 (2.00×) | 9.00 (9.00×) | – |" in text
    assert "| last tenth of the longest run / first | – | 1.01 | – | – | – |" in text
    assert "| 10,000,000 | 1200.0 | on disk | 40.0 | 1.00 | 900 |" in text
    assert text.count("µs a sample (× floor)") == len(QUANTITIES)


def test_the_figure_has_a_panel_a_quantity_and_is_written_whole(tmp_path: Path) -> None:
    curves(grown(), tmp_path / "scaling.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["scaling.svg"]
    text = (tmp_path / "scaling.svg").read_text()
    for quantity in QUANTITIES.values():
        assert f": {quantity.title} -->" in text


def test_the_quantities_span_what_they_promise() -> None:
    spans = {name: (q.points[0].value, q.points[-1].value) for name, q in QUANTITIES.items()}
    assert spans["rows"] == (10**3, 10**7)
    assert spans["width"] == (2, 8192)
    assert spans["depth"] == (1, 64)
    assert spans["batch"] == (1, MOST_ROWS)
    assert QUANTITIES["batch"].points[-1].rows == MOST_ROWS, "the full batch"
    assert all(q.points[0].threads == 1 for q in QUANTITIES.values())
    assert len(quick(QUANTITIES["rows"]).points) == 2


def test_the_floor_of_any_depth_makes_the_products_of_forward_and_backward(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    point = Point(2, (3, 5, 4, 2), 8, 20)
    problem = problem_of(point)
    floor = AnyDepth(problem)
    list(floor.epochs())
    _, w, dw, z, dz, _ = floor.arguments
    last = problem.x[16:]
    w1, w2, w3 = w[:15].reshape(3, 5), w[15:35].reshape(5, 4), w[35:43].reshape(4, 2)
    z1 = last @ w1
    assert z[:20].reshape(4, 5) == pytest.approx(z1, rel=1e-5)
    assert z[8 * 9 : 8 * 9 + 8].reshape(4, 2) == pytest.approx(z1 @ w2 @ w3, rel=1e-4)
    top = dz[8 * 9 : 8 * 9 + 8].reshape(4, 2)
    down = top @ w3.T @ w2.T
    assert dz[:20].reshape(4, 5) == pytest.approx(down, rel=1e-4)
    assert dw[:15].reshape(3, 5) == pytest.approx(last.T @ down, rel=1e-4)


def test_a_real_process_answers_with_the_seconds_of_its_epochs() -> None:
    one = Asked("manual", 1)
    try:
        for point in (replace(POINTS[0], epochs=3), POINTS[1]):
            seconds = one.run(point)
            assert seconds is not None
            assert len(seconds) == point.epochs
            assert all(s > 0 for s in seconds)
        one.process.kill()
        one.process.wait()
        assert one.run(POINTS[0]) is None, "a dead process has no answer"
    finally:
        one.close()
