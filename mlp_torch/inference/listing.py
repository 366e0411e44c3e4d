"""`mlp runs`: what is under runs/, the best first."""

import json
import os
import tomllib
from pathlib import Path
from typing import Any

from mlp_torch.artifact import CONFIG
from mlp_torch.errors import UserError
from mlp_torch.inference.config import Runs
from mlp_torch.terminal import Terminal

LOWER = ("loss", "mae", "rmse", "seconds", "gap", "error")  # words of metrics of which less is better


def run(config: Runs) -> int:
    """List as the flags say; 0. Raises UserError where no run has the metric that is asked for."""
    runs = [read(folder) for folder in folders(config.runs_dir)]
    found = [r for r in runs if r is not None]
    if not found:
        raise UserError(f"--runs-dir {config.runs_dir}: holds no runs yet; `mlp train` makes one")
    known = sorted({n for r in found for n, v in r["metrics"].items() if isinstance(v, int | float)})
    if config.sort not in known:
        raise UserError(f"--sort {config.sort}: no run has it; choose from {', '.join(known)}")
    sign = 1 if any(word in config.sort for word in LOWER) else -1
    worst = float("inf")
    found.sort(key=lambda r: sign * v if (v := r["metrics"].get(config.sort)) is not None else worst)
    if config.json:
        for r in found:
            print(json.dumps(r))
        return 0
    Terminal().print(table(found, config))
    return 0


def folders(runs_dir: Path) -> list[Path]:
    """Those with a configuration, at any depth; hidden ones are not runs yet."""
    found = []
    for folder, within, files in os.walk(runs_dir):  # which minds no folder that goes meanwhile
        within[:] = sorted(name for name in within if not name.startswith("."))
        if CONFIG in files:
            found.append(Path(folder))
    return found


def read(folder: Path) -> dict[str, Any] | None:
    """One run: its flags, the metrics of its last epoch and its result; None for a folder that is no run."""
    try:
        flags = tomllib.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    lines = folder / "metrics.jsonl"
    metrics: dict[str, Any] = {}
    if lines.is_file():
        for line in reversed(lines.read_text(encoding="utf-8", errors="replace").splitlines()):
            try:
                metrics = dict(json.loads(line))
                break
            except (ValueError, TypeError):
                continue  # the last line, of a run that is being written or was cut
    result = dict(flags.pop("result", {}))
    state = "interrupted" if result.pop("interrupted", False) else "finished" if result else "not finished"
    flags.pop("versions", None)
    return {"run": str(folder), "state": state, "metrics": metrics | result, "flags": flags}


def table(runs: list[dict[str, Any]], config: Runs) -> Any:
    """For a terminal."""
    from rich.table import Table
    from rich.text import Text  # names are shown as they stand, [brackets] too

    made = Table(box=None, pad_edge=False, header_style="bold")
    made.add_column("run", no_wrap=True)  # a name that can be copied
    for heading in ("data", "hidden", "epoch"):
        made.add_column(heading, overflow="fold")
    shown = list(dict.fromkeys([config.sort, "test_accuracy", "test_loss"]))
    for name in shown:
        made.add_column(name.replace("_", " ").replace("/", " "), justify="right")  # so that it can break
    made.add_column("state")
    for r in runs:
        flags, metrics = r["flags"], r["metrics"]
        values = [metrics.get(name) for name in shown]
        made.add_row(
            Text(str(Path(r["run"]).relative_to(config.runs_dir))), Text(str(flags.get("data", ""))),
            "-".join(map(str, flags.get("hidden", []))) or "none",
            str(metrics.get("epoch", 0)), *("–" if v is None else f"{v:.4g}" for v in values), r["state"],
        )  # fmt: skip
    return made
