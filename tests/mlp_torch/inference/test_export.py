"""An exported graph gives the model's outputs for raw rows, or is not kept."""

import json

import numpy as np
import pytest
import torch

import mlp_torch
from mlp_torch.__main__ import main
from mlp_torch.export import command
from tests.mlp_torch.inference.tables import passengers, prices, written
from tests.mlp_torch.running import train

MADE = {
    "passengers": (passengers, "--activation gelu"),
    "prices": (prices, "--normalization batch_norm --batch-size 64"),
    "hinge": (passengers, "--loss hinge"),
}


def raw(loaded, frame):
    """The rows as the graph takes them."""
    x = np.empty((len(frame), len(loaded.feature_names)))
    for i, f in enumerate(loaded.preprocessing.features):
        column = frame[f.name].to_list()
        if f.kind == "category":
            levels = f.options["levels"]
            x[:, i] = [np.nan if v is None else levels.index(str(v)) for v in column]
        elif f.kind == "date":
            x[:, i] = [(np.datetime64(v) - np.datetime64("1970-01-01")).astype(int) for v in column]
        else:
            x[:, i] = [np.nan if v is None else float(v) for v in column]
    return x


@pytest.fixture(scope="module", params=MADE)
def made(request, tmp_path_factory):
    make, flags = MADE[request.param]
    folder = tmp_path_factory.mktemp("export")
    path = written(folder, make(307, 1))
    assert train(folder, f"--data {path} --epochs 3 --hidden 13 7 --engine autograd {flags}") == 0
    return folder / "run", make(53, 2)


def expected(run, frame):
    loaded = mlp_torch.load_run(run)
    predicted = loaded.predict(frame)
    if loaded.classes:
        predicted = np.array([loaded.classes.index(v) for v in predicted])
    return loaded, predicted


def test_onnx_gives_the_same_within_1e_5(made, tmp_path):
    import onnx
    import onnxruntime

    run, frame = made
    assert main(["export", str(run), "--out", str(tmp_path / "m.onnx")]) == 0
    loaded, predicted = expected(run, frame)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    found, output = session.run(None, {"x": raw(loaded, frame)})
    assert np.allclose(found, predicted, rtol=1e-5, atol=1e-5)
    if loaded.classes and loaded.loss != "hinge":
        assert np.abs(output - loaded.predict_proba(frame)).max() < 1e-5
    properties = {p.key: p.value for p in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert [c["name"] for c in json.loads(properties["columns"])] == loaded.feature_names


def test_torch_s_exported_program_gives_the_same(made, tmp_path):
    run, frame = made
    assert main(["export", str(run), "--format", "torch", "--out", str(tmp_path / "m.pt2")]) == 0
    loaded, predicted = expected(run, frame)
    program = torch.export.load(tmp_path / "m.pt2").module()
    found, _ = program(torch.from_numpy(raw(loaded, frame)))
    assert np.allclose(found.detach().numpy(), predicted, rtol=1e-5, atol=1e-5)


def test_a_graph_that_differs_from_the_model_is_not_kept(made, tmp_path, monkeypatch, capsys):
    """The check compares with the model: a read that is off by 1e-3 is refused."""
    run, _ = made
    write, read = command.WRITERS["torch"]
    monkeypatch.setitem(
        command.WRITERS, "torch", (write, lambda path, x: tuple(a + 1e-3 for a in read(path, x)))
    )
    assert main(["export", str(run), "--format", "torch", "--out", str(tmp_path / "m.pt2")]) == 2
    assert "gives other outputs than the model" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_onnx_the_extra_is_named(made, monkeypatch, capsys):
    import importlib.util

    run, _ = made
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == "onnx" else find(n, *a))
    assert main(["export", str(run)]) == 2
    assert "needs onnx: python -m pip install -e '.[export]'" in capsys.readouterr().err
