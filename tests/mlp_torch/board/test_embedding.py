"""What the Projector reads: files that say the same as the arrays, in the run's own folder."""

import io

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from mlp_torch.board import embedding
from mlp_torch.board.pictures.mistakes import Decisions


def write(run, *given):
    """The files into a run's folder; the bytes they take."""
    found = embedding.files(*given)
    for file in found:
        (run / file.name).parent.mkdir(parents=True, exist_ok=True)
        (run / file.name).write_bytes(file.content)
    return sum(len(file.content) for file in found)


def read(run):
    """(values, header and rows of the metadata, the configuration), by the paths that it names."""
    folder = run / embedding.FOLDER
    config = text_format.Parse((folder / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (info,) = config.embeddings
    values = np.loadtxt(folder / info.tensor_path, delimiter="\t", ndmin=2)
    assert list(values.shape) == list(info.tensor_shape)
    lines = (folder / info.metadata_path).read_text().split("\n")
    return values, [line.split("\t") for line in lines[:-1]], info


def known(n, labels=("ant", "bee", "cat")):
    rng = np.random.default_rng(0)
    truth, decision = rng.integers(0, 3, n), rng.integers(0, 3, n)
    return embedding.known(Decisions(truth, decision, rng.exponential(1, n), labels))


def test_what_is_read_back_is_what_was_known(tmp_path):
    values = np.random.default_rng(0).normal(0, 1e-3, (50, 7)).astype(np.float32)
    columns = known(50)
    size = write(tmp_path, values, columns)
    found, (header, *rows), info = read(tmp_path)
    assert found == pytest.approx(values, rel=1e-5)
    assert header == list(columns) == ["sample", "truth", "predicted", "decision", "loss"]
    assert [list(row) for row in zip(*rows, strict=True)] == list(columns.values())
    assert not info.HasField("sprite")
    assert size == sum(file.stat().st_size for file in (tmp_path / embedding.FOLDER).iterdir())


def test_a_mistake_is_labelled_by_what_it_was_taken_for():
    found = embedding.known(Decisions(np.array([0, 1]), np.array([0, 2]), np.array([0.5, 2]), (0, 4, 9)))
    assert found == {
        "sample": ["0", "4 → 9"], "truth": ["class 0", "class 4"], "predicted": ["class 0", "class 9"],
        "decision": ["right", "wrong"], "loss": ["0.5", "2"],
    }  # fmt: skip


def test_of_a_regression_truth_prediction_and_loss_are_known(tmp_path):
    numbers = np.array([1.5, -2e6])
    write(tmp_path, np.eye(2), embedding.known_numbers(numbers, 2 * numbers, numbers**2))
    assert read(tmp_path)[1] == [
        ["truth", "predicted", "loss"],
        ["1.5", "3", "2.25"],
        ["-2e+06", "-4e+06", "4e+12"],
    ]


def test_labels_with_tabs_lines_and_quotes_stay_one_cell(tmp_path):
    write(tmp_path, np.eye(3), {"truth": ["a\tb", 'c\n"d"', ""], "predicted": ["日本", "x", "y"]})
    assert read(tmp_path)[1] == [["truth", "predicted"], ["a b", "日本"], ['c "d"', "x"], ["(empty)", "y"]]


@given(n=st.integers(1, 30), height=st.integers(1, 40), width=st.integers(1, 70))
def test_each_image_is_at_its_sample_s_place_in_the_sprite(n, height, width):
    images = np.arange(1.0, n + 1)[:, None, None] * np.ones((n, height, width))
    content, (w, h) = embedding.sprite(images)
    picture = imread(io.BytesIO(content))[:, :, 0]
    across = picture.shape[1] // w
    assert max(w, h) <= 64
    for i in range(n):
        down, at = divmod(i, across)
        tile = picture[down * h : (down + 1) * h, at * w : (at + 1) * w]
        assert tile == pytest.approx(1 - (i + 1) / n, abs=0.01)


def test_of_many_samples_at_most_two_thousand_are_kept_with_their_own_metadata_and_image(tmp_path):
    n = 5000
    columns = {"sample": [str(i) for i in range(n)], "truth": ["a"] * n}
    write(tmp_path, np.arange(n)[:, None] * np.ones((1, 3)), columns, np.ones((n, 4, 4)))
    values, (_, *rows), info = read(tmp_path)
    assert len(values) == len(rows) == 2000
    assert [float(row[0]) for row in rows] == pytest.approx(values[:, 0], rel=1e-5)
    assert list(info.sprite.single_image_dim) == [32, 32]
    assert imread(tmp_path / embedding.FOLDER / info.sprite.image_path).shape[:2] == (45 * 32, 45 * 32)
    write(tmp_path, np.zeros((n, 4000)), columns)
    assert len(read(tmp_path)[0]) == 250


def test_what_is_no_number_is_left_out_and_nothing_is_written_of_nothing(tmp_path):
    values = np.eye(4)
    values[1, 2] = np.nan
    write(tmp_path, values, {"a": list("wxyz"), "b": list("1234")})
    assert [row[0] for row in read(tmp_path)[1]] == ["a", "w", "y", "z"]
    assert write(tmp_path / "none", np.full((3, 2), np.inf), {"a": "abc", "b": "abc"}) == 0
    assert not (tmp_path / "none").exists()
