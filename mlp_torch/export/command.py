"""`mlp export`: the graph is written beside its place, run, held against the model, and only then kept."""

import importlib.util
import io
import json
import logging
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch

from manual.numbers import Array
from mlp_torch import artifact
from mlp_torch.errors import UserError
from mlp_torch.export.config import FORMATS, Export
from mlp_torch.export.graph import Graph, columns, examples
from mlp_torch.terminal import counted

CLOSE = 1e-5  # of an output's size: what two libraries' float32 may differ by


def run(config: Export) -> int:
    """Export as the flags say; 0. Raises UserError for what cannot be, the checked file is kept alone."""
    loaded, arrays = artifact.read(config.run)
    folder = config.run if config.run.is_dir() else config.run.parent
    out = config.out or folder / f"model{FORMATS[config.format]}"
    beside = out.with_name(f".part-{out.name}")
    graph = Graph(loaded, arrays).eval()
    x = examples(loaded.preprocessing)
    metadata = {
        "columns": json.dumps(columns(loaded.preprocessing)), "target": loaded.target.name,
        "classes": json.dumps(list(loaded.target.classes)), "epoch": str(loaded.epoch),
    }  # fmt: skip
    write, read = WRITERS[config.format]
    try:
        write(graph, x, beside, metadata)
        gap = held_against(graph, x, read(beside, x))
        beside.replace(out)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error})") from None
    finally:
        beside.unlink(missing_ok=True)
    of = counted(len(loaded.preprocessing.features), "columns")
    checked = f"{of} in; checked on {counted(len(x), 'rows')}"
    print(f"{out}: {checked}, the largest difference from the model {gap:.1e}")
    return 0


def held_against(graph: Graph, x: Array, found: tuple[Array, Array]) -> float:
    """The largest difference, relative to the output's size. Raises UserError if it is no rounding."""
    with torch.no_grad():
        prediction, output = (t.numpy() for t in graph(torch.from_numpy(x)))
    scale = max(1.0, float(np.abs(output).max()))
    gap = float(np.abs(output - found[1]).max()) / scale
    if graph.classes:
        ordered = np.sort(output, axis=1)
        clear = (
            np.abs(output[:, 0] - graph.threshold)
            if output.shape[1] == 1
            else ordered[:, -1] - ordered[:, -2]
        )
        wrong = (prediction != found[0]) & (clear > CLOSE * scale)
    else:
        wrong = np.abs(prediction - found[0]) > CLOSE * max(1.0, float(np.abs(prediction).max()))
    if gap > CLOSE or wrong.any():
        raise UserError(
            f"the exported graph gives other outputs than the model (by {gap:.1e}); nothing was kept"
        )
    return gap


def _write_onnx(graph: Graph, x: Array, path: Path, metadata: dict[str, str]) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise UserError(f"--format onnx: needs {package}: python -m pip install -e '.[export]'")
    import onnx

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            graph, (torch.from_numpy(x),), dynamo=True, input_names=["x"],
            output_names=["prediction", "output"],
            dynamic_shapes={"x": {0: torch.export.Dim("rows")}}, verbose=False,
        )  # fmt: skip
    model = program.model_proto
    for name, value in metadata.items():
        model.metadata_props.add(key=name, value=value)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _read_onnx(path: Path, x: Array) -> tuple[Array, Array]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    prediction, output = session.run(None, {"x": x})
    return np.asarray(prediction), np.asarray(output)


def _write_torch(graph: Graph, x: Array, path: Path, metadata: dict[str, str]) -> None:
    program = torch.export.export(
        graph, (torch.from_numpy(x),), dynamic_shapes={"x": {0: torch.export.Dim("rows")}}
    )
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, content, extra_files=dict(metadata))
    path.write_bytes(content.getvalue())


def _read_torch(path: Path, x: Array) -> tuple[Array, Array]:
    with path.open("rb") as file:
        program = torch.export.load(io.BytesIO(file.read()))
    with torch.no_grad():
        prediction, output = program.module()(torch.from_numpy(x))
    return prediction.numpy(), output.numpy()


WRITERS: dict[str, Any] = {"onnx": (_write_onnx, _read_onnx), "torch": (_write_torch, _read_torch)}
