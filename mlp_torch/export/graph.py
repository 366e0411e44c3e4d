"""The whole of a run as one torch module: raw numbers in, decisions and probabilities out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from manual.catalogue import LOSSES
from manual.numbers import Array
from mlp_torch.artifact import Artifact
from mlp_torch.inference.loaded import has_probabilities
from mlp_torch.model import to_torch
from mlp_torch.tables.preprocessing import Feature, Preprocessor


class Inputs(nn.Module):
    """(N, columns) of raw numbers → (N, in) as the network takes them, in float64 as in training.

    Every input is (x − mean) / scale of one column, 1 where it is missing, or 1 where it is one level.
    """

    at: Tensor
    fill: Tensor
    mean: Tensor
    scale: Tensor
    code: Tensor
    is_number: Tensor
    is_missing: Tensor

    def __init__(self, preprocessing: Preprocessor, dtype: torch.dtype) -> None:
        super().__init__()
        rows = [row for at, f in enumerate(preprocessing.features) for row in _rows(at, f)]
        self.dtype = dtype
        self.register_buffer("at", torch.tensor([r["at"] for r in rows]))
        for name in ("fill", "mean", "scale", "code"):
            values = [r.get(name, 0.0) for r in rows]
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64))
        kinds = [r["kind"] for r in rows]
        self.register_buffer("is_number", torch.tensor([k == "number" for k in kinds]))
        self.register_buffer("is_missing", torch.tensor([k == "missing" for k in kinds]))

    def forward(self, x: Tensor) -> Tensor:
        raw = x.double()[:, self.at]
        absent = torch.isnan(raw)
        number = (torch.where(absent, self.fill, raw) - self.mean) / self.scale
        level = (raw == self.code).double()
        other = torch.where(self.is_missing, absent.double(), level)
        return torch.where(self.is_number, number, other).to(self.dtype)


def _rows(at: int, feature: Feature) -> list[dict[str, Any]]:
    """One row an input that the feature becomes."""
    o = feature.options
    if feature.kind != "category":
        number = {"kind": "number", "at": at, "fill": o["fill"], "mean": o["mean"], "scale": o["scale"]}
        return [number, *([{"kind": "missing", "at": at}] if o["indicator"] else [])]
    levels = len(o["levels"]) + o["other"]  # the rare ones have the number after the last level
    found: list[dict[str, Any]] = [{"kind": "level", "at": at, "code": float(i)} for i in range(levels)]
    return [*found, *([{"kind": "missing", "at": at}] if o["indicator"] else [])]


class Graph(nn.Module):
    """x (N, columns) → (prediction (N,), probabilities (N, classes) or the output (N, 1))."""

    def __init__(self, loaded: Artifact, arrays: Mapping[str, Array]) -> None:
        super().__init__()
        self.network = to_torch(loaded.network(arrays)).eval()
        self.inputs = Inputs(loaded.preprocessing, next(self.network.parameters()).dtype)
        self.loss, self.classes = loaded.loss, len(loaded.target.classes)
        self.probable = has_probabilities(loaded)
        self.threshold = 0.5 if LOSSES[loaded.loss].target == "real" else 0.0
        self.mean, self.scale = loaded.target.mean, loaded.target.scale

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        output = self.network(self.inputs(x))
        if not self.classes:
            return output[:, 0].double() * self.scale + self.mean, output
        single = output.shape[1] == 1
        decision = (output[:, 0] > self.threshold).long() if single else output.argmax(dim=1)
        if not self.probable:
            return decision, output
        if self.loss == "cross_entropy":
            return decision, torch.softmax(output, dim=1)
        p = torch.sigmoid(output)
        return decision, torch.cat([1 - p, p], dim=1) if single else p / p.sum(dim=1, keepdim=True)


def columns(preprocessing: Preprocessor) -> list[dict[str, Any]]:
    """What each column of the graph's input means, as plain JSON."""
    return [
        {"name": f.name, "kind": f.kind}
        | ({"levels": f.options["levels"], "other": f.options["other"]} if f.kind == "category" else {})
        for f in preprocessing.features
    ]


def examples(preprocessing: Preprocessor, n: int = 64) -> Array:
    """Raw rows (n, columns) float64 about where the training rows lay, some of them missing, all levels."""
    generator = np.random.default_rng(0)
    x = np.empty((n, len(preprocessing.features)))
    for i, f in enumerate(preprocessing.features):
        if f.kind == "category":
            x[:, i] = generator.integers(0, len(f.options["levels"]) + 1, n)
        else:
            x[:, i] = f.options["mean"] + f.options["scale"] * generator.normal(size=n)
    x[generator.random(x.shape) < 0.1] = np.nan
    return x
