"""Enclosures of 240 bits throughout."""

from collections.abc import Iterator

import flint
import pytest


@pytest.fixture(autouse=True)
def _two_hundred_and_forty_bits() -> Iterator[None]:
    before, flint.ctx.prec = flint.ctx.prec, 240
    yield
    flint.ctx.prec = before
