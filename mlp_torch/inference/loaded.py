"""A run as a torch module that takes raw rows: `mlp_torch.load_run(path)`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from manual.activations import sigmoid
from manual.catalogue import LOSSES
from manual.catalogue.activations import softmax
from manual.numbers import Array
from mlp_torch import artifact, html
from mlp_torch.data.splits import decide
from mlp_torch.errors import UserError
from mlp_torch.model import to_torch
from mlp_torch.tables.delimited import place
from mlp_torch.tables.targets import Target

MOST_SHOWN = 12  # classes and columns in a notebook
ROWS = 8192  # that go through the network at once


class LoadedRun(nn.Module):
    """A trained network with its preprocessing: `predict` takes raw rows, `forward` the network's inputs.

    `classes` (none for regression), `feature_names`, `target_name` and `epoch` say what it was trained on.
    """

    def __init__(self, loaded: artifact.Artifact, arrays: Mapping[str, Array]) -> None:
        super().__init__()
        self.artifact = loaded
        self.network = to_torch(loaded.network(arrays)).eval()
        self.preprocessing, self.target, self.loss = loaded.preprocessing, loaded.target, loaded.loss
        self.classes, self.epoch = loaded.target.classes, loaded.epoch
        self.feature_names, self.target_name = loaded.preprocessing.feature_names, loaded.target.name

    def forward(self, x: Tensor) -> Tensor:
        """The network's output (N, out) for its inputs (N, in)."""
        found: Tensor = self.network(x)
        return found

    def transform(self, rows: Any) -> Array:
        """Raw rows → the network's inputs (N, in). Raises UserError for what was not there in training."""
        dtype = np.dtype(self.artifact.dtype)
        return self.preprocessing.transform(self.preprocessing.frame(rows), dtype=dtype)

    def output(self, rows: Any) -> Array:
        """The network's output (N, out) for raw rows: a frame, columns by name, a matrix (N, features)."""
        x, where = torch.from_numpy(self.transform(rows)), next(self.parameters()).device
        with torch.no_grad():
            parts = [self.network(x[i : i + ROWS].to(where)).cpu() for i in range(0, len(x), ROWS)]
        none = np.empty((0, self.artifact.sizes[-1]))
        return finite(np.concatenate([p.numpy() for p in parts])) if parts else none

    def predict(self, rows: Any) -> Array:
        """The class (N,) of every row, as it stood in the table, or the number in the target's own units."""
        return decided(self.output(rows), self.artifact)

    def _repr_html_(self) -> str:
        """For a notebook: what it predicts from which columns, and what it was trained on."""
        known, a = self.artifact.config, self.network.architecture
        classes = ", ".join(map(str, self.classes[:MOST_SHOWN])) + (
            " …" if len(self.classes) > MOST_SHOWN else ""
        )
        what = f"one of {len(self.classes)} classes, {classes}" if self.classes else "a number"
        features = self.preprocessing.features
        rows = [(f.name, f.kind) for f in features[:MOST_SHOWN]]
        columns = html.table(("column", "kind"), rows)
        more = f", the first {MOST_SHOWN} of them" if len(features) > MOST_SHOWN else ""
        sizes = "-".join(map(str, a.sizes))
        parts = [
            html.paragraph(f"network {sizes}, {a.activation}; loss {self.loss}, {self.artifact.dtype}"),
            html.paragraph(f"the weights of epoch {self.epoch}, trained on {known.get('data')}"),
            html.fold(f"it takes {len(features)} columns{more}", columns),
        ]
        return html.page("trained network", f"predicts {self.target_name}, {what}", parts)

    def predict_proba(self, rows: Any) -> Array:
        """The probability of every class (N, classes), in the order of `classes`."""
        return probabilities(self.output(rows), self.artifact)


def load_run(path: str | Path) -> LoadedRun:
    """The network of a run's folder or of its model.safetensors, ready for raw rows.

    Raises UserError, one line, for what is no run, is cut off, or has another schema.
    """
    return LoadedRun(*artifact.read(Path(path)))


def finite(output: Array, where: str = "the rows", first: int = 0) -> Array:
    """The output itself (N, out). Raises UserError that names the first row where it is no number."""
    bad = np.flatnonzero(~np.isfinite(output).all(axis=1))
    if len(bad):
        raise UserError(
            f"{where}: the network's output for {place(where, first + int(bad[0]))} is beyond "
            f"{output.dtype}; is a number there far larger than in training?"
        )
    return output


class Fitted(Protocol):
    """What says how an output is read: the loss and the target, of a run or of its data."""

    @property
    def loss(self) -> str: ...

    @property
    def target(self) -> Target: ...


def decided(output: Array, loaded: Fitted) -> Array:
    """What an output (N, out) says: class labels or numbers in the target's own units (N,)."""
    target = loaded.target
    return target.decode(decide(output, loaded.loss) if target.classes else output[:, 0])


def has_probabilities(loaded: Fitted) -> bool:
    """Whether the outputs are logits of probabilities: cross-entropies alone are fitted to give them."""
    return bool(loaded.target.classes) and LOSSES[loaded.loss].name in ("cross_entropy", "bce_with_logits")


def probabilities(output: Array, loaded: Fitted) -> Array:
    """The probability of every class (N, classes). Raises UserError where the loss gives none."""
    if not has_probabilities(loaded):
        what = f"a network trained with {loaded.loss}" if loaded.target.classes else "a regression"
        raise UserError(f"{what} gives no probabilities; train with cross_entropy or bce_with_logits")
    if loaded.loss == "cross_entropy":
        return softmax(output)
    p = sigmoid(output)
    if len(loaded.target.classes) == 2:
        return np.hstack([1 - p, p])
    return p / np.maximum(p.sum(axis=1, keepdims=True), np.finfo(p.dtype).tiny)  # one against the rest
