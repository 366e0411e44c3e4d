"""model.safetensors: the weights and all that is needed to use them, in one file without pickle.

The arrays stand under their `state_dict` names. The file's metadata holds `epoch`, under `weights` the
fingerprint of the arrays, and under `mlp_torch` one JSON text: the schema's version, the architecture, the
loss, the preprocessing of every column, the target with its classes or its units, and the run's flags.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

import manual
from manual.numbers import Array
from manual.structure.architecture import Architecture
from manual.structure.fingerprint import fingerprint
from mlp_torch.errors import UserError
from mlp_torch.tables.preprocessing import Preprocessor
from mlp_torch.tables.targets import Target

KEY, SCHEMA, WEIGHTS = "mlp_torch", 1, "weights"
FILE = "model.safetensors"
CONFIG = "config.toml"


@dataclass(frozen=True)
class Artifact:
    """What is beside the weights; `config` are the flags of `mlp train` as they were resolved."""

    sizes: tuple[int, ...]
    options: dict[str, Any]
    dtype: str
    loss: str
    preprocessing: Preprocessor
    target: Target
    config: dict[str, Any]
    fingerprint: str = ""
    epoch: int = 0

    def metadata(self) -> dict[str, str]:
        """The safetensors metadata, but for the epoch."""
        table = {
            "schema": SCHEMA, "sizes": list(self.sizes), "options": self.options, "dtype": self.dtype,
            "loss": self.loss, "task": self.target.task, "preprocessing": self.preprocessing.to_dict(),
            "target": self.target.to_dict(), "config": self.config, "fingerprint": self.fingerprint,
        }  # fmt: skip
        return {KEY: json.dumps(table, ensure_ascii=False, separators=(",", ":"))}

    @property
    def architecture(self) -> Architecture:
        return Architecture(self.sizes, **self.options)

    def network(self, arrays: Mapping[str, Array]) -> manual.MLP:
        """The NumPy network with these weights, for evaluation. Raises UserError if they do not fit."""
        model = manual.MLP(self.sizes, **self.options, dtype=np.dtype(self.dtype))
        for home in (model.parameters, model.buffers):
            for name, value in home.items():
                if name not in arrays:
                    raise UserError(f"{name} is not there")
                found, own = (f"{a.dtype} of shape {a.shape}" for a in (arrays[name], value))
                if found != own:
                    raise UserError(f"{name} is {found}, and {own} by its own metadata")
                if not np.isfinite(arrays[name]).all():
                    raise UserError(f"{name} is not finite; the network gives no outputs, train it again")
                home[name] = arrays[name]
        model.training = False
        return model


def content(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """The file of these weights, whose fingerprint stands beside them."""
    plain = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    return save(plain, metadata={WEIGHTS: fingerprint(arrays), **metadata})


def read(path: Path) -> tuple[Artifact, dict[str, Array]]:
    """What a run's folder, or such a file, holds. Raises UserError for anything else, by name."""
    file = path / FILE if path.is_dir() else path
    if not path.exists():
        raise UserError(f"{path}: there is no such run; `mlp runs` lists them")
    if not file.is_file():  # a pipe would be waited for
        raise UserError(f"{path}: holds no {FILE}; is it a run's folder?")
    try:
        with safe_open(file, "numpy") as opened:
            arrays = {n: opened.get_tensor(n) for n in opened.keys()}  # noqa: SIM118  # the file is no dict
            metadata = opened.metadata() or {}
    except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{file}: cannot be read ({error}); it is cut off, or no safetensors file") from None
    if KEY not in metadata:
        raise UserError(f"{file}: holds weights alone, written by something else or before schema {SCHEMA}")
    try:
        table = json.loads(metadata[KEY])
        schema = table["schema"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file}: its metadata cannot be read") from None
    if schema != SCHEMA:
        raise UserError(f"{file}: has schema {schema}, and this version reads {SCHEMA}; train it again")
    try:
        artifact = Artifact(
            tuple(int(s) for s in table["sizes"]), dict(table["options"]), str(table["dtype"]),
            str(table["loss"]), Preprocessor.from_dict(table["preprocessing"]),
            Target.from_dict(table["target"]),
            dict(table["config"]), str(table["fingerprint"]), int(metadata.get("epoch", 0)),
        )  # fmt: skip
        if len(artifact.preprocessing.input_names) != artifact.sizes[0]:
            raise ValueError("the preprocessing gives another number of inputs than the network takes")
        artifact.network(arrays)
        if fingerprint(arrays) != metadata.get(WEIGHTS, fingerprint(arrays)):  # older files have none
            raise UserError("its weights are not those that were written; it was damaged or edited")
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{file}: its metadata is not what this version writes ({error})") from None
    return artifact, arrays
