"""`mlp explain`: the printed factors multiply to the gradient, and a fault in one of them is seen."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from manual import ACTIVATIONS, LOSSES, MLP
from manual.structure.architecture import NORMALIZATIONS
from mlp_torch.__main__ import main
from mlp_torch.explanation import factors as rules
from mlp_torch.explanation.chain import REUSE, Explanation, contract, explain
from mlp_torch.explanation.markdown import markdown
from mlp_torch.explanation.picture import draw
from mlp_torch.explanation.units import two
from mlp_torch.model import to_torch
from mlp_torch.trace import trace
from tests.problems import DTYPES, Problem, faulty, problems

FIXED = Problem(5, (3, 7, 11, 2), seed=4)
EVERY_KIND = {"activation": "prelu", "normalization": "batch_norm", "dropout": 0.3}


def explained(problem, loss, parameter=None, choose=0, dtype="float64", **rows) -> Explanation:
    """One entry of a random network's gradient, explained; `choose` settles which where it is not named."""
    model = problem.model(DTYPES[dtype], **rows)
    x, y = problem.batch(loss, DTYPES[dtype])
    masks = model.draw_masks(len(x))
    ours = model.trace(x, y, loss, masks=masks)
    theirs = trace(to_torch(model), x, y, loss, masks=masks)
    names = list(model.parameters)
    parameter = parameter or names[choose % len(names)]
    shape = model.parameters[parameter].shape
    index = np.unravel_index(choose // len(names) % int(np.prod(shape)), shape)
    return explain(ours, theirs, parameter, tuple(int(i) for i in index), "a random network")


def from_json(explanation):
    """The product, from nothing but what `--json` prints."""
    table = json.loads(json.dumps(explanation.to_dict(), allow_nan=False))
    return contract([(f["rule"], f["values"]) for f in table["factors"]]), table


@settings(max_examples=120, deadline=None)
@given(
    problem=problems(),
    loss=st.sampled_from(["mse", "half_squared_error", "cross_entropy", "bce_with_logits"]),
    activation=st.sampled_from(list(ACTIVATIONS)),
    output_activation=st.sampled_from(["identity", "softmax", "tanh", "prelu"]),
    normalization=st.sampled_from(NORMALIZATIONS),
    dropout=st.sampled_from([0.0, 0.4]),
    dtype=st.sampled_from(list(DTYPES)),
    choose=st.integers(0, 10_000),
)
def test_the_serialised_factors_multiply_to_the_gradient_of_both_engines(
    problem, loss, activation, output_activation, normalization, dropout, dtype, choose
):
    rows = {"activation": activation, "output_activation": output_activation}
    rows |= {"normalization": normalization, "dropout": dropout}
    e = explained(problem, loss, choose=choose, dtype=dtype, **rows)
    product, table = from_json(e)
    assert product == e.product == table["product"]
    assert abs(product - table["gradient"]["manual"]) <= table["tolerance"]
    assert abs(product - table["gradient"]["autograd"]) <= table["tolerance"] + e.row.bound
    assert table["holds"]


@pytest.mark.parametrize(
    "parameter",
    [
        "layers.0.weight",
        "layers.2.weight",
        "layers.2.bias",
        "normalizations.0.weight",
        "normalizations.0.bias",
        "activations.0.weight",
        "activations.1.weight",
    ],
)
@pytest.mark.parametrize("normalization", ["batch_norm", "layer_norm"])
def test_a_tampered_factor_changes_the_product_beyond_rounding(parameter, normalization):
    e = explained(FIXED, "mse", parameter, choose=3, **(EVERY_KIND | {"normalization": normalization}))
    assert e.multiplies
    assert e.product != 0
    given_ = [(f.rule, f.values) for f in e.factors]
    for i, (rule, values) in enumerate(given_):
        tampered = [*given_[:i], (rule, values * (1 + 1e-9)), *given_[i + 1 :]]
        assert not replace(e, product=contract(tampered)).multiplies, e.factors[i].stage


def test_each_factor_is_the_closed_form_of_its_local_derivative():
    rows = {"activation": "tanh", "dropout": 0.4, "output_activation": "softmax"}
    e = explained(FIXED, "mse", "layers.0.weight", choose=6 * 10, **rows)
    (j, k), values = e.index, e.traces[0]
    found = {f.stage: f.values for f in e.factors}
    a3 = values["a3"]
    jacobian = a3[:, :, None] * (np.eye(2) - a3[:, None, :])
    np.testing.assert_array_equal(found["dloss"], 2 * (a3 - values["y"]) / a3.size)
    np.testing.assert_allclose(found["dz3"], jacobian, rtol=1e-13, atol=1e-16)
    np.testing.assert_array_equal(found["dh2"], values["W3"])
    np.testing.assert_array_equal(found["da2"], values["mask2"])
    np.testing.assert_array_equal(found["dz2"], 1 - values["a2"] ** 2)
    np.testing.assert_array_equal(found["dh1"], values["W2"][:, [j]])
    np.testing.assert_array_equal(found["dz1"], 1 - values["a1"][:, [j]] ** 2)
    np.testing.assert_array_equal(found["dW1"], values["x"][:, [k]])


@pytest.mark.parametrize("normalization", ["batch_norm", "layer_norm"])
def test_the_jacobian_of_a_normalization_is_that_of_differences(normalization):
    e = explained(FIXED, "mse", "layers.0.weight", choose=10 * 5, normalization=normalization)
    values, axis = e.traces[0], 0 if normalization == "batch_norm" else 1
    stage = values.stage("n2")
    factor = next(f for f in e.factors if f.stage == "dz2")
    z, step = values["z2"], 1e-6
    for n, c in np.ndindex(z.shape):
        moved = [z.copy(), z.copy()]
        moved[0][n, c] += step
        moved[1][n, c] -= step
        up, down = (stage.function(m, values["gamma2"], values["beta2"]) for m in moved)
        slope = (up - down) / (2 * step)
        ours = factor.values[c, :, n] if axis == 0 else factor.values[n, :, c]
        np.testing.assert_allclose(ours, slope[:, c] if axis == 0 else slope[n], rtol=1e-6, atol=1e-8)


def test_what_the_layer_above_has_computed_is_marked_as_re_used_and_nothing_else():
    e = explained(FIXED, "mse", "layers.0.weight", dropout=0.3)
    above = explained(FIXED, "mse", "layers.1.weight", dropout=0.3)
    assert [f.stage for f in e.factors if f.reused] == [f.stage for f in above.factors[:-1]]
    for again, first in zip(e.factors, above.factors[:-1], strict=False):
        assert again.denominator == first.denominator
    last = explained(FIXED, "mse", "layers.2.bias", dropout=0.3)
    assert not any(f.reused for f in last.factors)


@pytest.mark.parametrize(
    ("parameter", "guilty"), [("layers.0.weight", {"dz1", "dz2"}), ("layers.1.bias", {"dz2"})]
)
def test_a_faulty_derivative_is_marked_wrong_at_its_stage(monkeypatch, parameter, guilty):
    monkeypatch.setitem(ACTIVATIONS, "tanh", faulty(ACTIVATIONS, "tanh"))
    e = explained(FIXED, "mse", parameter, activation="tanh")
    assert {f.stage for f in e.wrong} == guilty
    assert not e.holds
    assert e.row.verdict == "wrong"
    assert "wrong" in markdown(e)


def test_a_gradient_that_is_not_the_product_of_its_factors_is_said_to_be_none():
    e = explained(FIXED, "mse", "layers.0.weight", activation="tanh")
    e.traces[0].values["dW1"] = e.traces[0]["dW1"] * (1 + 1e-9)
    again = explain(*e.traces, "layers.0.weight", e.index)
    assert not again.multiplies
    assert not again.holds


def test_a_wrong_stage_ends_the_command_with_1_and_is_named(monkeypatch, capsys):
    monkeypatch.setitem(ACTIVATIONS, "tanh", faulty(ACTIVATIONS, "tanh"))
    assert main(["explain", "--data", "xor", "--hidden", "3", "--activation", "tanh", "--sample", "1"]) == 1
    assert re.search(r"^dz1: manual's dz1\[.*proven to be", capsys.readouterr().out, re.M)


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


def test_every_kind_of_backward_stage_has_a_rule():
    kinds = set()
    for normalization in NORMALIZATIONS:
        for training in (True, False):
            model = MLP((2, 3, 2), normalization=normalization, dropout=0.5, output_activation="softmax")
            model.training = training
            kinds |= {s.kind for s in model.stages("mse") if s.name.startswith("d") and s.parameter is None}
    assert kinds - {"dropout", "loss_gradient"} == set(rules.RULES)
    assert set(LOSSES)
