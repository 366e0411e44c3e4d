"""`mlp_torch.train(...)`: `mlp train` from Python, its flags as keywords, and a result that shows itself.

The flags are the fields of `mlp_torch.config.Train`, the run is that of `training.command.trained`: equal
flags give equal bits, whoever asks.
"""

import inspect
import json
import signal
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import numpy as np

from mlp_torch import html
from mlp_torch.artifact import CONFIG
from mlp_torch.config import Train
from mlp_torch.data import frames
from mlp_torch.errors import UserError
from mlp_torch.flags import flag_name, from_table
from mlp_torch.inference.loaded import LoadedRun, load_run
from mlp_torch.notebook import cells, curves
from mlp_torch.runs import METRICS
from mlp_torch.training.command import trained
from mlp_torch.training.outcome import Outcome

TABLES = ("data", "validation", "test")  # flags that take rows too
HINTS = get_type_hints(Train)


class TrainedRun:
    """A run that has been trained: what the command says of it, and its numbers.

    `path` is its folder; `report` the gradient check's, None where the run had finished before; `test` the
    kept weights' scores on the test samples (`loss`, and `accuracy` or `r2` and `mae`); `metrics` one dict
    an epoch; `fingerprint` that of the kept weights, of epoch `epoch`.
    """

    def __init__(self, outcome: Outcome, cell: int | None = None) -> None:
        self.path, self.report, self.lines, self._cell = outcome.folder, outcome.report, outcome.lines, cell
        self.config = tomllib.loads((self.path / CONFIG).read_text(encoding="utf-8"))
        result = self.config["result"]
        scores = {n.removeprefix("test_"): v for n, v in result.items() if n.startswith("test_")}
        self.test: dict[str, float] = scores
        self.fingerprint, self.epoch = str(result["fingerprint"]), int(result["epoch"])

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """One dict an epoch, named as in `metrics.jsonl`: `polars.DataFrame(run.metrics)` is a table."""
        lines = (self.path / METRICS).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def load(self) -> LoadedRun:
        """The trained network with its preprocessing: `predict` takes raw rows."""
        return load_run(self.path)

    def __repr__(self) -> str:
        return "\n".join(self.lines)

    def _repr_html_(self) -> str:
        """The same lines, the curves unless they stand above in this cell, and the gradient check, folded."""
        verdict, _, sentence = self.lines[0].partition(": ")
        parts = [html.paragraph(line) for line in self.lines[1:]]
        if self._cell is None or self._cell != cells.running():
            parts.append(curves.image(self.metrics, self.metrics[-1]["epoch"], self.epoch))
        if self.report is not None:
            parts.append(html.fold("the gradient check", self.report._repr_html_()))
        return html.page(verdict, sentence, parts)


def train(**flags: Any) -> TrainedRun:
    """Train as `mlp train` does: a keyword is one of its flags, `batch_size=32` for `--batch-size 32`.

    `data` (and `validation`, `test`) also takes rows: a polars or pandas frame, a dict of columns, or
    arrays (X, y); they are kept as a Parquet file in the folder `tables` of `runs_dir`. `mlp train --help`
    says what each flag means. The epochs are shown as they end, in a notebook with their curves.

    Raises UserError, a ValueError of one line, for what you can put right; WrongGradientError where a
    gradient is wrong or could not be judged. KeyboardInterrupt says where the weights are kept and how the
    run goes on.
    """
    config = read(flags)
    config.check()
    outcome = trained(config)
    if outcome.interrupted:
        how = f"it goes on by mlp_torch.train(resume={str(outcome.folder)!r})"
        name = signal.Signals(outcome.interrupted).name
        asked = "" if outcome.interrupted == signal.SIGINT else f" by {name}"
        raise KeyboardInterrupt(f"{outcome.lines[0].replace('interrupted', f'interrupted{asked}', 1)}; {how}")
    return TrainedRun(outcome, cells.running())


def read(flags: Mapping[str, Any]) -> Train:
    """Keywords → the command's flags. Raises UserError for a name or a type that is none of them."""
    for name in flags:
        if name not in HINTS:
            near = get_close_matches(name, HINTS, n=1)
            hint = f"perhaps you meant {near[0]!r}; " if near else ""
            raise UserError(f"train() takes no {name!r}: {hint}`mlp train --help` lists the flags")
    runs_dir = Path(flags.get("runs_dir") or Train.runs_dir)
    table = {name: _value(name, value, runs_dir) for name, value in flags.items()}
    try:
        return from_table(Train, table)
    except TypeError as error:
        raise UserError(str(error)) from None


def _value(name: str, value: Any, runs_dir: Path) -> Any:
    """What a configuration file would hold for it: arrays as lists, NumPy's numbers as Python's."""
    if name in TABLES and not isinstance(value, str | Path | None):
        return str(frames.kept(flag_name(name), value, runs_dir))
    if isinstance(value, Path):
        return str(value)
    if get_origin(HINTS[name]) is tuple:  # one value alone stands for a list of one, as on the command line
        many = isinstance(value, list | tuple | range | np.ndarray)
        return [_number(v) for v in (value if many else [value])]
    return _number(value)


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """With every flag and its default, for help() and for what completes names."""
    kind = inspect.Parameter.KEYWORD_ONLY
    flags = [
        inspect.Parameter(f.name, kind, default=f.default, annotation=HINTS[f.name]) for f in fields(Train)
    ]
    return inspect.signature(function).replace(parameters=flags)


train.__signature__ = _signature(train)  # type: ignore[attr-defined]  # inspect reads it, typing knows none
