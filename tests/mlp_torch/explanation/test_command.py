"""`mlp explain`: what it prints, draws and refuses."""

import json
import re

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from manual import MLP
from mlp_torch.__main__ import main
from mlp_torch.explanation.chain import REUSE, contract
from mlp_torch.explanation.markdown import markdown
from mlp_torch.explanation.picture import draw
from mlp_torch.explanation.units import two
from tests.mlp_torch.explanation.entries import EVERY_KIND, FIXED, explained
from tests.problems import Problem

LECTURE = "explain --data xor --hidden 1 1 --activation sigmoid --sample 1"


def test_the_printed_numbers_of_the_lectures_chain_multiply_to_the_printed_gradient(capsys):
    assert main([*LECTURE.split(), "--parameter", "layers.0.weight[0,1]"]) == 0
    said = capsys.readouterr().out
    line = re.search(r"^product\s+(.*)$", said, re.M)[1]
    numbers = [float(term.strip("() ")) for term in line.split("·")]
    printed = [float(n) for n in re.findall(r"factor .* = (\S+)$", said, re.M)]
    assert numbers == printed
    gradient = float(re.search(r"^gradient\s+manual (\S+)", said, re.M)[1])
    assert np.prod(numbers) == pytest.approx(gradient, rel=1e-4)
    model = MLP((2, 1, 1, 1), activation="sigmoid")
    t = model.trace(np.array([[0.0, 1.0]]), np.array([[1.0]]), "bce_with_logits")
    assert gradient == pytest.approx(float(t["dW1"][0, 1]), rel=1e-9)


def test_the_forward_line_stands_above_each_backward_line(capsys):
    assert main(LECTURE.split()) == 0
    said = capsys.readouterr().out
    lines = re.findall(r"^  (forward|backward|factor)  ", said, re.M)
    assert lines == ["forward", "backward", "factor"] * 7
    assert re.search(
        r"forward   a1 = sigmoid\(z1\)\n  backward  dz1 = da1 · f′\(z1\), f′ = a \(1 − a\)\n", said
    )
    assert f"For ∂L/∂W2: {REUSE}" in said
    assert "\x1b" not in said


def test_json_holds_every_number_even_of_a_large_network(capsys):
    assert main(["explain", "--json", "--normalization", "layer_norm"]) == 0
    table = json.loads(capsys.readouterr().out)
    product = contract([(f["rule"], f["values"]) for f in table["factors"]])
    assert abs(product - table["gradient"]["autograd"]) <= 2 * table["tolerance"]
    assert {f["verdict"] for f in table["factors"]} <= {"exact", "certified"}
    shapes = [np.shape(f["values"]) for f in table["factors"]]
    assert shapes == [tuple(f["shape"]) for f in table["factors"]]


def test_markdown_has_the_whole_chain_with_a_brace_under_what_is_re_used():
    text = markdown(explained(FIXED, "mse", "layers.0.weight", choose=13, **EVERY_KIND))
    assert text.count("$$") % 2 == 0
    for formula in text.split("$$")[1::2]:
        assert formula.count("{") == formula.count("}")
        assert formula.count(r"\left") == formula.count(r"\right")
    assert r"\underbrace{\frac{\partial L}{\partial a_{3}}" in text
    assert rf"_{{\text{{{REUSE}}}}}" in text
    assert r"\frac{\partial z_{1}}{\partial W_{1}[0,1]}" in text
    for parameter in ("normalizations.0.weight", "activations.0.weight", "layers.1.bias"):
        assert "$$" in markdown(explained(FIXED, "mse", parameter, **EVERY_KIND))


@pytest.mark.parametrize("flags", ["--data xor --hidden 3", "--hidden 20 10 --normalization layer_norm"])
def test_the_picture_is_800_pixels_wide_in_both_formats(flags, tmp_path, capsys):
    from matplotlib.image import imread

    for name in ("p.png", "p.svg"):
        assert main(["explain", *flags.split(), "--plot", str(tmp_path / name)]) == 0
    assert imread(tmp_path / "p.png").shape[1] == 800
    assert "<svg" in (tmp_path / "p.svg").read_text()[:400]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.png", "p.svg"]


def test_a_small_network_is_drawn_unit_by_unit_and_a_large_one_by_layer():
    small = explained(Problem(2, (3, 5, 2), 1), "mse", "layers.0.weight")
    texts = [t.get_text() for axes in draw(small).axes for t in axes.texts]
    values = small.traces[0]
    for number in (*values["a1"][0], *values["dz1"][0], *values["W2"].ravel(), *values["dW2"].ravel()):
        assert two(number) in texts
        assert float(two(number)) == pytest.approx(number, rel=0.06)
    large = explained(FIXED, "mse", "layers.0.weight", **EVERY_KIND)
    said = " ".join(t.get_text() for axes in draw(large).axes for t in axes.texts)
    for stage in ("dloss", "dh2", "dz1", "dW1"):
        assert f"‖{stage}‖ {np.linalg.norm(large.traces[0][stage]):.3g}" in said


def test_a_trained_run_is_explained_with_its_own_weights_and_shown_in_its_event_file(tmp_path, capsys):
    flags = "--data xor --hidden 4 --activation tanh --epochs 5 --normalization layer_norm --seed 3"
    assert main(["train", *flags.split(), "--runs-dir", str(tmp_path), "--name", "r"]) == 0
    capsys.readouterr()
    run = str(tmp_path / "r")
    assert main(["explain", "--run", run, "--sample", "2", "--tensorboard", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert "epoch 5" in table["title"]
    from safetensors.numpy import load_file

    model = MLP((2, 4, 1), activation="tanh", normalization="layer_norm")
    for name, value in load_file(tmp_path / "r" / "model.safetensors").items():
        model.parameters[name] = value.astype(np.float64)
    t = model.trace(np.array([[1.0, 0.0]]), np.array([[1.0]]), "bce_with_logits")
    assert table["gradient"]["manual"] == t.gradients["layers.0.weight"][tuple(table["index"])]
    events = EventAccumulator(run).Reload().Tags()
    tag = f"explain/layers.0.weight[{','.join(map(str, table['index']))}]"
    assert tag in events["images"]
    assert f"{tag}/text_summary" in events["tensors"]


def test_batch_norm_takes_four_samples_where_one_would_be_none(capsys):
    assert (
        main(["explain", "--data", "xor", "--hidden", "3", "--normalization", "batch_norm", "--sample", "3"])
        == 0
    )
    said = capsys.readouterr().out
    assert "samples 3, 0, 1, 2 of" in said
    assert "batch_norm needs several" in said
    assert main(["explain", "--data", "moons", "--hidden", "3", "--batch-size", "7", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 7


BAD = [
    (
        "--parameter layer.0.weight[0,0]",
        "unknown parameter 'layer.0.weight': did you mean 'layers.0.weight'?",
    ),
    ("--parameter layers.0.weight[3,0]", "layers.0.weight is 3×2, so its indices are 0 to 2 and 0 to 1"),
    ("--parameter layers.0.weight[0]", "so its indices are 0 to 2 and 0 to 1, as in layers.0.weight[0,0]"),
    ("--parameter layers.0.bias[-1]", "write it as layers.0.bias[0], indices 0 to 2"),
    ("--parameter layers.0.weight[0,0", "write it as layers.0.weight[0,0]"),
    ("--sample 4", "--sample 4: the training data has 4 samples, 0 to 3"),
    ("--sample -1", "--sample -1: samples count from 0"),
    ("--format html", "unknown format 'html'"),
    ("--json --format markdown", "--format markdown: --json is a format too"),
    ("--plot a.jpeg", "--plot a.jpeg: the name must end in .svg, .png, .pdf"),
    ("--plot no/where/a.png", "there is no folder no/where"),
    ("--tensorboard", "--tensorboard without --run: name the run"),
    ("--run no/where", "no/where: there is no such run"),
]


@pytest.mark.parametrize(("flags", "says"), BAD, ids=[flags for flags, _ in BAD])
def test_a_mistake_is_answered_in_one_line(flags, says, capfd):
    assert main(["explain", "--data", "xor", "--hidden", "3", *flags.split()]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err


def test_a_flag_that_contradicts_the_run_is_refused(tmp_path, capfd):
    assert main(["train", "--data", "xor", "--epochs", "1", "--runs-dir", str(tmp_path), "--name", "r"]) == 0
    capfd.readouterr()
    assert main(["explain", "--run", str(tmp_path / "r"), "--hidden", "5"]) == 2
    assert "was trained with (128, 64); leave the flag out with --run" in capfd.readouterr().err
