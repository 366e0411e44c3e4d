"""How the tests run `mlp train` and read what a run left."""

import json
import tomllib
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.numpy import load_file

from mlp_torch.__main__ import main


def train(runs: Path, flags: str, name: str = "run") -> int:
    """The exit code of `mlp train` with these flags."""
    return main(["train", *flags.split(), "--runs-dir", str(runs), "--name", name])


def weights(run: Path) -> dict[str, Any]:
    """The arrays that a run kept."""
    return load_file(run / "model.safetensors")


def epoch_of(run: Path) -> int:
    """The epoch of which they are."""
    with safe_open(run / "model.safetensors", "numpy") as file:
        return int(file.metadata()["epoch"])


def metrics(run: Path) -> list[dict[str, Any]]:
    """One dict an epoch."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def config(run: Path) -> dict[str, Any]:
    """The run's configuration, with the result at the end."""
    return tomllib.loads((run / "config.toml").read_text())
