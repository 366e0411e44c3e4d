"""Dropout at its edges: what is drawn exactly at p, and p of 0 and 1."""

from typing import Any

import numpy as np
import pytest

from manual.layers import Dropout


class Drawn:
    """A generator whose next draws are known."""

    def __init__(self, *draws: float) -> None:
        self.draws = draws

    def random(self, shape: tuple[int, ...]) -> Any:
        return np.array(self.draws).reshape(shape)


@pytest.mark.parametrize(("p", "mask"), [(0.0, [1, 1, 1]), (0.5, [0, 2, 2]), (1.0, [0, 0, 0])])
def test_a_draw_at_p_is_kept_so_that_0_drops_nothing_and_1_everything(p: float, mask: list[float]) -> None:
    drawn: Any = Drawn(0.0, 0.5, 0.75)
    assert Dropout.mask((1, 3), p, np.ones(3, np.float32), drawn).tolist() == [mask]
