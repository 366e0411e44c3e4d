"""Numbers at their limits: no false alarm, no miss, no NaN that is praised, and no traceback.

The quick suite takes some dozen networks of the second drawer (`networks.py`); the marker `long` a tenth
of MLP_COMPARISONS, 10,000 unless that environment variable says less.
"""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from manual import MLP
from mlp_torch.__main__ import main
from mlp_torch.errors import UserError
from mlp_torch.model import to_torch
from mlp_torch.steps import STEPS
from mlp_torch.verify.comparison import compare
from mlp_torch.verify.report import ComparisonReport
from mlp_torch.verify.rounding import Rounding
from mlp_torch.verify.verdicts import compare_traces
from tests.faults.networks import case, planted

QUICK = 48
LONG = int(os.environ.get("MLP_COMPARISONS", "100000")) // 10
PARTS = max(1, LONG // 1000)  # of five hundred networks: how many of them can be judged is not left to chance
KINDS = pytest.mark.parametrize("ordinary", [True, False], ids=["ordinary", "extreme"])


def verdict(number: int, ordinary: bool) -> str:
    """Of that network, which is finite; never "wrong", and "undecided" where a value is no number."""
    report = case(number, ordinary).compared()
    assert report.verdict != "wrong", f"{number}, {ordinary}: {report.summary()}"
    assert_nothing_praised(report, f"{number}, {ordinary}")
    return report.verdict


def assert_nothing_praised(report: ComparisonReport, what: str = "") -> None:
    for row in (*report.parameters.values(), *report.stages.values()):
        if not np.isfinite([row.manual, row.autograd]).all():
            assert row.verdict == "undecided", f"{what}: {row.name} is {row.manual}, {row.autograd}"
            assert not report.passed


def missed(numbers: range, ordinary: bool) -> tuple[int, list[str]]:
    """How many faults were planted, one a network, and which of them are not called wrong at their stage."""
    count, unseen = 0, []
    for number in numbers:
        rng = np.random.default_rng([number, 1])
        ours, theirs = case(number, ordinary).traces()
        before = compare_traces(ours, theirs)
        known = [row.name for row in before.stages.values() if row.verdict in ("certified", "exact")]
        if not known:
            continue
        name = str(rng.choice(known))
        off = planted(ours, name, rng, ordinary)
        if off is None:
            continue
        count += 1
        found = compare_traces(off, theirs).stages[name]
        if found.verdict != "wrong":
            unseen.append(f"{number}, {ordinary}: {name} is {found.verdict}, {found.note}")
    return count, unseen


@KINDS
def test_no_network_at_an_edge_is_called_wrong(ordinary: bool) -> None:
    verdicts = Counter(verdict(number, ordinary) for number in range(QUICK))
    known = verdicts["exact"] + verdicts["certified"]
    assert known > (0.9 if ordinary else 0.4) * QUICK, verdicts


@KINDS
def test_a_fault_in_one_entry_is_wrong_at_its_stage(ordinary: bool) -> None:
    count, unseen = missed(range(QUICK), ordinary)
    assert count > QUICK / 2
    assert unseen == []


@pytest.mark.long
@KINDS
@pytest.mark.parametrize("part", range(PARTS))
def test_no_network_of_thousands_is_called_wrong(part: int, ordinary: bool) -> None:
    verdicts = Counter(verdict(number, ordinary) for number in range(part, LONG // 2, PARTS))
    known = verdicts["exact"] + verdicts["certified"]
    assert known > (0.9 if ordinary else 0.4) * verdicts.total(), verdicts


@pytest.mark.long
@KINDS
@pytest.mark.parametrize("part", range(PARTS))
def test_no_fault_of_thousands_is_missed(part: int, ordinary: bool) -> None:
    count, unseen = missed(range(part, LONG // 2, PARTS), ordinary)
    assert count > LONG / PARTS / 4
    assert unseen == []


def test_an_alarm_a_miss_and_praise_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    report = case(0, True).compared()
    name, row = next(iter(report.stages.items()))
    praised = replace(report, stages={**report.stages, name: replace(row, manual=np.nan)})
    with pytest.raises(AssertionError):
        assert_nothing_praised(praised)
    monkeypatch.setattr(Rounding, "gamma", lambda self, n: 0.0)
    with pytest.raises(AssertionError):
        test_no_network_at_an_edge_is_called_wrong(ordinary=True)
    monkeypatch.setattr(Rounding, "gamma", lambda self, n: 0.5)
    assert missed(range(QUICK), True)[1]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ten_thousand_classes_and_sixty_four_layers_are_right(dtype: Any, step: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 1)).astype(dtype)
    many = to_torch(MLP((1, 1, 10_000), dtype=dtype))
    assert compare(many, x, np.array([0, 9999]), loss="cross_entropy", engine=step).passed
    deep = to_torch(MLP((1,) * 65, activation="tanh", initialization="xavier", dtype=dtype))
    assert compare(deep, x, x, loss="mse", engine=step).passed
    assert compare(deep, x[:1], x[:1], loss="mse", engine=step).passed


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e39])
def test_what_the_dtype_has_no_number_for_is_refused(value: float, step: str) -> None:
    model = to_torch(MLP((1, 1), dtype=np.float32))
    with pytest.raises(UserError, match=r"x\[0, 0\] is"):
        compare(model, np.array([[value]]), np.array([[1.0]]), loss="mse", engine=step)
    with torch.no_grad():
        model.layers[0].weight.copy_(torch.tensor([[value]]).float())
    with pytest.raises(UserError, match="finite"):
        compare(model, np.ones((1, 1)), np.ones((1, 1)), loss="mse", engine=step)


ROWS = 24
WAVE = [f"{np.sin(i):.4f}" for i in range(ROWS)]
CLASSES = ["ab"[i % 2] for i in range(ROWS)]
# Columns, the target last.
TABLES: dict[str, list[list[str]]] = {
    "1e300": [[f"{(-1) ** i}e300" for i in range(ROWS)], WAVE, CLASSES],
    "1e38": [[f"{i - 9}e37" for i in range(ROWS)], WAVE],
    "1e-300": [[f"{i}e-300" for i in range(ROWS)], WAVE, CLASSES],
    "subnormal": [[f"{i}e-322" for i in range(ROWS)], CLASSES],
    "all decades": [[f"{(-1) ** i}e{25 * (i - 12)}" for i in range(ROWS)], CLASSES],
    "constant": [["3"] * ROWS, WAVE, CLASSES],
    "nothing but constants": [["3"] * ROWS, ["1e300"] * ROWS, CLASSES],
    "one row": [["1"], ["2.5"]],
    "two rows": [["1", "2"], ["a", "b"]],
    "a constant target": [WAVE, ["2.5"] * ROWS],
    "a target of 1e300": [WAVE, [f"{i - 9}.5e299" for i in range(ROWS)]],
    "a target below 1e-300": [WAVE, [f"{i}.5e-310" for i in range(ROWS)]],
}
ENGINES = {"train": ("manual", "torch", "autograd", "both", "compiled"), "compare": (*STEPS,)}
LINES = [
    pytest.param(
        command,
        table,
        engine,
        marks=() if i % 2 == 0 and i % len(ENGINES[command]) == j else (pytest.mark.long,),
    )
    for command in ENGINES
    for i, table in enumerate(TABLES)
    for j, engine in enumerate(ENGINES[command])
]


@pytest.mark.parametrize(("command", "table", "engine"), LINES)
def test_a_table_at_the_limits_is_learned_or_refused_in_one_line(
    command: str, table: str, engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, columns = tmp_path / "table.csv", TABLES[table]
    rows = [[*(f"c{i}" for i in range(len(columns) - 1)), "target"], *zip(*columns, strict=True)]
    path.write_text("".join(",".join(row) + "\n" for row in rows))
    for dtype in ("float32", "float64"):
        flags = f"--data {path} --hidden 1 2 --engine {engine} --dtype {dtype}"
        if command == "train":
            flags += f" --epochs 2 --runs-dir {tmp_path / 'runs'} --name {dtype}"
        code = main([command, *flags.split()])
        out, err = capsys.readouterr()
        assert code in (0, 2)
        assert err.count("\n") == (code == 2)
        assert "nan" not in out.lower()
