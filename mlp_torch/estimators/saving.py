"""An estimator on disk: the same model.safetensors that a run leaves, the parameters beside the weights."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mlp_torch import artifact
from mlp_torch.config import Train
from mlp_torch.errors import UserError
from mlp_torch.estimators.flags import LOSSES
from mlp_torch.files import replace
from mlp_torch.runs import plain
from mlp_torch.tables.preprocessing import Preprocessor
from mlp_torch.tables.targets import Target

KEY = "estimator"
FITTED = ("n_iter_", "t_", "loss_", "best_loss_", "loss_curve_", "n_outputs_", "n_layers_", "out_activation_")


def save(estimator: Any, path: Path) -> None:
    """Write it whole. Raises UserError where it cannot be: several targets, say."""
    loss = LOSSES.get(estimator.out_activation_)
    several = estimator.n_outputs_ > 1 and estimator.out_activation_ != "softmax"
    if loss is None or several:
        what = "several targets" if several else f"the output {estimator.out_activation_}"
        raise UserError(f"save: {what} have no file format of ours; use joblib, whose files are pickles")
    network = estimator._network()
    names = [str(n) for n in getattr(estimator, "feature_names_in_", [])]
    names = names or [f"x{i}" for i in range(estimator.n_features_in_)]
    classes = tuple(getattr(estimator, "classes_", np.array([])).tolist())
    n = len(names)
    made = artifact.Artifact(
        network.architecture.sizes, network.architecture.options(), str(network.dtype), loss,
        Preprocessor.divided(names, [0.0] * n, [1.0] * n), Target("target", classes),
        plain(asdict(Train(engine="manual", device="cpu"))),
    )  # fmt: skip
    state = {n: getattr(estimator, n, None) for n in FITTED}
    fitted = {"class": type(estimator).__name__, "parameters": estimator.get_params(), "fitted": state}
    try:
        text = json.dumps(fitted, default=_plain)
    except TypeError as error:
        raise UserError(
            f"save: a parameter cannot be written ({error}); use a plain number or text"
        ) from None
    metadata = {"epoch": str(estimator.n_iter_), **made.metadata(), KEY: text}
    content = artifact.content(network.parameters | network.buffers, metadata)
    try:
        replace(path, content)
    except OSError as error:
        raise UserError(f"save: {path} cannot be written ({error.strerror})") from None


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as JSON's; a random generator is not kept."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, np.random.RandomState):
        return None
    raise TypeError(f"{type(value).__name__} {value!r}")


def load(kind: type[Any], path: Path) -> Any:
    """What `save` wrote. Raises UserError for anything else."""
    loaded, arrays = artifact.read(path)
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        text = (file.metadata() or {}).get(KEY)
    if text is None:
        raise UserError(f"{path}: is a run of `mlp train`, no estimator; mlp_torch.load_run reads it")
    try:
        table = json.loads(text)
        if table["class"] != kind.__name__:
            raise UserError(f"{path}: holds a {table['class']}, no {kind.__name__}")
        parameters = dict(table["parameters"])
        if isinstance(parameters.get("hidden_layer_sizes"), list):
            parameters["hidden_layer_sizes"] = tuple(parameters["hidden_layer_sizes"])
        found = kind(**parameters)
        for name, value in table["fitted"].items():
            setattr(found, name, value)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: cannot be read as an estimator ({error})") from None
    depth = len(loaded.sizes) - 1
    found.coefs_ = [arrays[f"layers.{i}.weight"].T.copy() for i in range(depth)]
    found.intercepts_ = [arrays[f"layers.{i}.bias"].copy() for i in range(depth)]
    found.normalizations_ = {n: a for n, a in arrays.items() if not n.startswith("layers.")}
    found.n_features_in_ = loaded.sizes[0]
    names = loaded.preprocessing.feature_names
    if names != [f"x{i}" for i in range(len(names))]:
        found.feature_names_in_ = np.array(names, dtype=object)
    found.engine_ = "saved"
    if loaded.target.classes:
        from sklearn.preprocessing import LabelBinarizer

        found._label_binarizer = LabelBinarizer().fit(np.array(loaded.target.classes))
        found.classes_ = found._label_binarizer.classes_
    return found
