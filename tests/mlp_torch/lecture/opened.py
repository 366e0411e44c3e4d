"""A step's page, opened once with little effort, and the tables and slips on it."""

from functools import cache

from mlp_torch.lecture import (
    command,
)
from mlp_torch.lecture.page import Page, Slip, Table
from mlp_torch.lecture.steps import STEPS
from mlp_torch.lecture.walk import Walk

QUICK = Walk(seed=0, data="moons", seeds=2, effort=0.05)


@cache
def page(name: str) -> Page:
    """A step's page, with little effort."""
    return command.open_page(next(s for s in STEPS if s.name == name), QUICK)


def tables(name: str) -> list[Table]:
    return [block for block in page(name).blocks if isinstance(block, Table)]


def slips(name: str) -> list[Slip]:
    return [block for block in page(name).blocks if isinstance(block, Slip)]
