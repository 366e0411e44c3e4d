"""The pictures of the first layer and of images, read from their artists."""

import numpy as np
import pytest

from mlp_torch.board.pictures.images import pixels
from mlp_torch.board.pictures.weights import first_weights
from mlp_torch.data.sets import DATASETS
from tests.mlp_torch.board.artists import SQUARE, drawn


def test_the_first_layer_has_a_tile_a_unit_on_one_scale_around_0():
    w = np.arange(5 * 16.0).reshape(5, 16) - 60
    axes, bar = drawn(first_weights(w, SQUARE, pixels(SQUARE))).axes
    image = axes.images[0].get_array()
    assert axes.images[0].get_clim() == (-60, 60)
    for i in range(5):
        down, across = divmod(i, 3)
        assert (image[5 * down : 5 * down + 4, 5 * across : 5 * across + 4] == w[i].reshape(4, 4)).all()
    assert np.isnan(np.ma.filled(image, np.nan)[:, 4]).all()
    assert [t.get_text() for t in bar.get_yticklabels()] == ["−60", "0", "60"]
    axes, _ = drawn(first_weights(w[:, :3], ["a", "$\\b", "c"], limit=2.0)).axes
    assert (axes.images[0].get_array() == w[:, :3]).all()
    assert axes.images[0].get_clim() == (-2, 2)
    assert [t.get_text() for t in axes.get_xticklabels()] == ["a", "$\\b", "c"]


def test_of_many_units_and_inputs_some_are_drawn_and_it_is_said():
    rng = np.random.default_rng(0)
    figure = drawn(first_weights(rng.normal(0, 1, (200, 100)), [f"c{i}" for i in range(100)]))
    assert figure.get_suptitle() == "First layer: 64 of 200 units, 40 of 100 inputs"
    drawn(first_weights(np.full((2, 3), np.nan), ["a", "b", "c"]))
    drawn(first_weights(np.zeros((1, 1)), ["a"]))


def test_pixels_are_known_by_their_names():
    *_, names = DATASETS["digits"].read(0)
    found = pixels(names)
    assert (found.height, found.width) == (8, 8)
    x = np.arange(64.0)[None]
    assert (found.images(x)[0] == x.reshape(8, 8)).all()
    ones = pixels([f"pixel{i}" for i in range(1, 785)])
    assert (ones.height, ones.width, ones.at[0]) == (28, 28, 0)
    bordered = pixels([f"pixel{i}" for i in range(13, 780)])  # a border that is always white is no input
    assert (bordered.height, bordered.width, bordered.at[0]) == (28, 28, 12)
    assert (bordered.images(np.ones((1, 767))).reshape(-1)[[11, 12, 778, 779]] == [0, 1, 1, 0]).all()


@pytest.mark.parametrize(
    "names",
    [
        ["a", "b"] * 8, ["pixel1", "pixel2"], ["pixel1"] * 16, [f"pixel{1000 * i}" for i in range(20)],
        [*SQUARE[:-1], "age"], [*SQUARE[:-1], "pixel7"],
    ],
)  # fmt: skip
def test_other_columns_are_no_image(names):
    assert pixels(names) is None
