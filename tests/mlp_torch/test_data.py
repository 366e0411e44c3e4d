"""The data sets: real, split without overlap, with targets as each loss takes them."""

from pathlib import Path

import numpy as np
import pytest

from manual.catalogue import LOSSES
from mlp_torch.data.config import SUFFIXES, DataFlags
from mlp_torch.data.loading import load as load_flags
from mlp_torch.data.sets import DATASETS
from mlp_torch.data.splits import code
from mlp_torch.errors import UserError
from mlp_torch.tables.reader import READERS

PAGE = Path(__file__).parents[2] / "mlp_torch" / "data" / "README.md"


def load(name, loss=None, **options):
    return load_flags(DataFlags(data=name), loss, **options)


def test_every_ending_that_is_read_is_one_that_the_flags_know():
    lacking = set(READERS) - set(SUFFIXES)
    assert lacking == set(), "SUFFIXES of mlp_torch/data/config.py lacks an ending of READERS"


@pytest.mark.parametrize("name", DATASETS)
def test_the_pages_table_of_data_sets_has_every_row(name):
    table = PAGE.read_text(encoding="utf-8").partition("## Built-in data sets")[2].partition("\n\n|")[2]
    cells = "".join(line.split("|")[1] for line in table.partition("\n\n")[0].splitlines() if "|" in line)
    assert f"`{name}`" in cells, f"mlp_torch/data/README.md: its table of built-in data sets lacks {name}"


CLASSIFICATION = [name for name, row in DATASETS.items() if row.classes]


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_loads_with_its_own_loss(name):
    data = load(name)
    assert data.loss == DATASETS[name].loss
    for split in (data.train, data.validation, data.test):
        LOSSES[data.loss].check(np.zeros((len(split), data.outputs), np.float32), split.y)
        assert split.x.shape == (len(split), data.inputs)
        assert split.x.dtype == np.float32


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", CLASSIFICATION)
def test_classes_are_coded_for_every_loss(name, loss):
    data = load(name, loss, dtype=np.float64)
    LOSSES[loss].check(np.zeros((len(data.train), data.outputs)), data.train.y)
    values = {"real": {0, 1}, "binary": {0, 1}, "sign": {-1, 1}, "label": set(range(DATASETS[name].classes))}
    assert set(np.unique(data.train.y)) == values[LOSSES[loss].target]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", CLASSIFICATION)
def test_targets_taken_as_outputs_are_scored_as_all_right(name, loss):
    data = load(name, loss)
    y = data.test.y
    outputs = np.eye(data.outputs, dtype=np.float32)[y] if y.ndim == 1 else y
    if LOSSES[loss].target == "binary":
        outputs = 2 * y - 1
    assert data.score(outputs, data.test)[1] == 1
    turned = outputs.min() + outputs.max() - outputs
    assert data.score(turned, data.test)[1] == 0


@pytest.mark.parametrize(
    ("name", "sizes"), [("digits", (1257, 180, 360)), ("moons", (700, 100, 200)), ("line", (4, 4, 4))]
)
def test_the_splits_have_the_sizes_that_the_readme_says(name, sizes):
    data = load(name)
    assert (len(data.train), len(data.validation), len(data.test)) == sizes
    assert data.held_out == (name not in ("line", "xor"))


def test_digits_are_all_there_once_and_each_split_has_the_classes_in_proportion():
    from sklearn.datasets import load_digits

    data = load("digits", dtype=np.float64)
    rows = np.concatenate([data.train.x, data.validation.x, data.test.x])
    everything = load_digits().data / 16
    assert (np.sort(rows.view("V512").ravel()) == np.sort(everything.view("V512").ravel())).all()
    for split in (data.train, data.validation, data.test):
        assert np.bincount(split.labels).min() >= 0.09 * len(split)


def test_moons_are_standardised_by_the_training_samples_alone():
    data = load("moons", dtype=np.float64)
    assert np.allclose(data.train.x.mean(axis=0), 0)
    assert np.allclose(data.train.x.std(axis=0), 1)
    assert not np.allclose(data.test.x.mean(axis=0), 0, atol=1e-6)


def test_a_seed_settles_the_split_and_another_seed_gives_another():
    first, again, other = load("digits", seed=1), load("digits", seed=1), load("digits", seed=2)
    assert (first.test.x == again.test.x).all()
    assert (first.test.x != other.test.x).any()


@pytest.mark.parametrize("loss", [name for name, row in LOSSES.items() if row.target != "real"])
def test_real_targets_refuse_losses_that_need_classes(loss):
    with pytest.raises(UserError, match=f"--loss {loss}: .*--data line.*choose from .*mse"):
        load("line", loss)


def test_two_classes_as_signs_are_one_column():
    y, outputs = code(np.array([0, 1]), 2, "hinge", np.float64)
    assert outputs == 1
    assert (y == [[-1], [1]]).all()
