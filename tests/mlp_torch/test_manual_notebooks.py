"""The four notebooks of `manual/notebooks`: kept clean, and executed; what they promise is what they show."""

import json
import re
import urllib.request
from pathlib import Path

import nbformat
import pytest

import manual
from mlp_torch.lecture.steps import STEPS

FOLDER = Path(manual.__file__).parent / "notebooks"
FILES = sorted(FOLDER.glob("*.ipynb"))
LECTURE, BACKWARD, TABLE, FUNCTION = FILES
NAMES = [path.stem for path in FILES]


def cells(path):
    return nbformat.read(path, as_version=4).cells


@pytest.fixture
def run(kernel):
    """The session's kernel, with no names in it."""
    kernel("%reset -f")
    return kernel


class Executed:
    """A notebook from an empty kernel: the text of every code cell's outputs, by a piece of its source."""

    def __init__(self, run, path, after=lambda source, outputs: None):
        self.run, self.sources = run, [c.source for c in cells(path) if c.cell_type == "code"]
        self.outputs = []
        for source in self.sources:
            self.outputs.append(run(source))
            after(source, self.outputs[-1])

    def source(self, piece):
        (found,) = [source for source in self.sources if piece in source]
        return found

    def of(self, piece):
        return self.outputs[self.sources.index(self.source(piece))]

    def text(self, piece):
        return words(self.of(piece))

    def again(self, piece, old, new):
        """What the cell shows with `new` in the place of `old`."""
        source = self.source(piece)
        assert old in source
        return words(self.run(source.replace(old, new)))


def words(outputs):
    """All that is to be read, HTML without its tags."""
    parts = []
    for o in outputs:
        shown = (
            o.get("text", "") or o.get("data", {}).get("text/html") or o.get("data", {}).get("text/plain", "")
        )
        shown = re.sub(r"<style.*?</style>|<[^>]+>", " ", shown, flags=re.S)
        parts.append(shown if o.output_type != "error" else f"ERROR {o.ename}: {o.evalue}")
    return "\n".join(parts)


def check_quiet(found):
    """No cell fails, warns, or shows a script besides TensorBoard's."""
    for source, outputs in zip(found.sources, found.outputs, strict=True):
        for output in outputs:
            assert output.output_type != "error", (source, output.evalue)
            assert output.get("name") != "stderr", (source, output.text)
            if "%tensorboard" not in source:
                assert "<script" not in output.get("data", {}).get("text/html", "")


# ------------------------------------------------------------------ as files


def test_there_are_four():
    assert NAMES == [
        "1_the_lecture",
        "2_check_your_own_backward_pass",
        "3_train_on_your_own_table",
        "4_a_custom_autograd_function",
    ]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_notebook_is_small_valid_and_kept_without_outputs(path):
    text = path.read_text(encoding="utf-8")
    notebook = json.loads(text)
    nbformat.validate(notebook)
    assert len(text) < 25_000
    slug = path.stem.partition("_")[2].replace("_", "-")
    assert [cell["id"] for cell in notebook["cells"]] == [
        f"{slug}-{i:02}" for i in range(len(notebook["cells"]))
    ]
    for cell in notebook["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert text == json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_notebook_reads_well(path):
    """Prose first, exercises last, cells of at most 25 lines that fit a narrow page."""
    found = cells(path)
    assert found[0].cell_type == found[-1].cell_type == "markdown"
    assert found[0].source.startswith("# ")
    assert found[-1].source.startswith("## Exercises\n")
    assert len(re.findall(r"^\d\. ", found[-1].source, re.M)) >= 4
    for cell in found:
        if cell.cell_type == "code":
            lines = cell.source.splitlines()
            assert len(lines) <= 25
            assert max(map(len, lines)) <= 80


def test_the_lecture_has_the_steps_of_the_walk_in_their_order_with_their_slides():
    prose = "\n".join(c.source for c in cells(LECTURE) if c.cell_type == "markdown")
    heads = re.findall(r"^## (\d+) (.*)\n\n\*Slides: (.*)\*$", prose, re.M)
    walk = [(str(i), step.title, " · ".join(step.slides)) for i, step in enumerate(STEPS, start=1)]
    assert heads == walk


# ------------------------------------------------------------------ executed


@pytest.mark.long
def test_the_lecture_shows_its_numbers(run):
    found = Executed(run, LECTURE)
    check_quiet(found)
    assert "Counts(neurons=6, weights=20, parameters=26)" in found.text(".counts()")
    assert "3377.9, 1.1, -7.9, 27.5, -297.475, 1.1]" in found.text("lr=1, passes=2")
    assert found.text("SALARIES").split() == ["mse:", "22.00", "l1:", "3.00"]
    assert found.text("def loss(w)").split() == ["[-1.", "0.5]", "[-1.", "0.5]"]
    assert found.text("FourParameters(w1").count("re-used") == 4
    assert found.text("measure_unbiased").count("mismatches=0") == 3
    assert found.text("mlp_torch.explain(").strip().startswith("certified")
    assert found.text("mlp_torch.compare(").strip().startswith("certified")
    assert "test accuracy 0.500" in found.text("linear = ")
    assert "test accuracy 1.000" in found.text("bent = ")
    figures = sum("image/png" in o.get("data", {}) for outputs in found.outputs for o in outputs)
    assert figures == 5

    run("from manual.layers import Linear; right = Linear.backward_weight")
    run("Linear.backward_weight = staticmethod(lambda dz, a: 1.001 * right(dz, a))")
    assert found.again("mlp_torch.compare(", "", "").strip().startswith("wrong")
    assert found.again("mlp_torch.explain(", "", "").strip().startswith("wrong")
    stopped = found.again("bent = ", "**flags", "**flags | {'engine': 'both'}")
    assert "ERROR NotTrainedError" in stopped
    assert "nothing was trained" in stopped
    run("Linear.backward_weight = staticmethod(right)")


def test_a_backward_pass_is_checked_its_line_named_and_mended(run):
    found = Executed(run, BACKWARD)
    check_quiet(found)
    report = found.text("report = ")
    assert report.strip().startswith("wrong")
    assert re.search(r"In\[\d+\]:11 in loss_and_gradients", report)
    assert "mends it:  dz1 = da1 * (1 - a1**2)" in report
    assert "becomes:     dz1 = da1 * (1 - a1**2)" in found.text("guilty.mended")
    assert found.text("def mended").strip().startswith("right")
    assert "divided by N = 7" in found.text("divided = ")
    assert "opposite sign" in found.text("uphill = ")
    assert found.text("downhill = ").strip().startswith("right")

    assert found.again("def mended", "1 - a1**2", "1 + a1**2").strip().startswith("wrong")
    assert found.again("downhill = ", "p - lr", "p + lr").strip().startswith("wrong")


def test_a_table_is_trained_on_used_and_shown_on_the_board(run):
    ports = []

    def answers(source, outputs):
        """TensorBoard's page comes from the port that the cell shows, before the last cell ends it."""
        if "%tensorboard" in source:
            shown = outputs[-1].data["text/html"]
            assert "<iframe" in shown
            ports.append(int(re.search(r"port\D+(\d+)", shown)[1]))
            page = urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}/", timeout=20).read().decode()
            assert "TensorBoard" in page

    found = Executed(run, TABLE, answers)
    check_quiet(found)
    training = found.of("trained = mlp_torch.train(")
    assert "standardised, missing ones" in words(training)
    live = training[-1].data
    assert live["text/plain"].startswith("epoch 12/12  loss ")
    assert live["text/html"].count("data:image/png") == 1
    shown = found.of("trained.metrics[-1]")
    assert "'loss/validation'" in words(shown)
    (result,) = found.outputs[found.sources.index("trained")]
    assert re.sub(r"<[^>]+>", "", result.data["text/html"]).startswith("gradient check passed")
    assert result.data["text/html"].count("data:image/png") == 1
    accuracy = float(re.search(r"test accuracy ([\d.]+)", result.data["text/plain"])[1])
    assert accuracy > 0.75
    assert f"accuracy {accuracy:.4g}"[:12] in found.text("evaluate")
    assert "perhaps you meant 'epochs'" in found.text("epoch=12)")
    assert "predicts survived, one of 2 classes, no, yes" in found.text("trained.load()")
    assert "['yes', 'no']" in found.text("predict_proba")
    assert "difference from the model 0.0e+00" in found.text("--format torch")
    assert found.text("resume=").strip().endswith("20)")
    assert "'accuracy'" in found.text("frame = ")
    assert list(
        Path(result.data["text/plain"].split("run: ")[1].split("\n")[0]).parent.glob("tables/frame-*")
    )

    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}/", timeout=5)

    run("from manual.layers import Linear; right = Linear.backward_bias")
    run("Linear.backward_bias = staticmethod(lambda dz: -right(dz))")
    stopped = found.again("trained = mlp_torch.train(", '"first"', '"second", engine="both"')
    run("Linear.backward_bias = staticmethod(right)")
    assert "ERROR NotTrainedError" in stopped


def test_an_autograd_function_is_checked_its_fault_named_and_mended(run):
    found = Executed(run, FUNCTION)
    check_quiet(found)
    report = found.text("class SiLU")
    assert report.strip().startswith("wrong")
    assert re.search(r"In\[\d+\]:15 in backward", report)
    assert "mends it:  slope = s + x * s * (1 - s)" in report
    assert found.text("class Mended").strip().startswith("right")
    assert "wrong only where another forward comes between" in found.text("class Forgetful")
    assert "mends it:  return upstream * w, (upstream * x).sum(dim=0)" in found.text("class Scaled")

    assert found.again("class Mended", "s + x", "s - x").strip().startswith("wrong")


# ------------------------------------------------------------------ a cell that trains


def test_a_cell_that_trains_shows_one_output_that_grows_and_its_result_no_second_picture(run):
    run("import mlp_torch, tempfile; runs = tempfile.mkdtemp()")
    flags = "data='moons', hidden=4, epochs=3, engine='manual', runs_dir=runs"
    live, result = run(f"run = mlp_torch.train({flags})\nrun")
    assert live.output_type == "display_data"
    assert live.data["text/html"].count("data:image/png") == 1
    assert "data:image" not in result.data["text/html"]
    (later,) = run("run")
    assert later.data["text/html"].count("data:image/png") == 1
    (printed,) = run("print(run)")
    assert printed.text.startswith("gradient check passed")


STOP = """
import mlp_torch, os, pathlib, signal, tempfile, threading, time

runs = tempfile.mkdtemp()

def stop():
    metrics = pathlib.Path(runs, "cut", "metrics.jsonl")
    while not (metrics.is_file() and metrics.stat().st_size):
        time.sleep(0.02)
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGINT)  # as the notebook's button does
"""


def test_an_interrupted_cell_keeps_its_weights_and_its_last_line_goes_on(run):
    run(STOP)
    flags = "data='moons', hidden=4, epochs=100_000, engine='manual', runs_dir=runs, name='cut'"
    live, error = run(f"threading.Thread(target=stop).start()\nmlp_torch.train({flags})")
    assert live.output_type == "display_data"
    assert (error.output_type, error.ename) == ("error", "KeyboardInterrupt")
    how = re.search(r"it goes on by (mlp_torch\.train\(resume='.*/cut')\)", error.evalue)[1]
    kept = int(re.search(r"the weights of epoch (\d+)", error.evalue)[1])
    assert kept >= 1
    (loaded,) = run("mlp_torch.load_run(runs + '/cut').epoch")
    assert loaded.data["text/plain"] == str(kept)
    assert how.startswith("mlp_torch.train(")
