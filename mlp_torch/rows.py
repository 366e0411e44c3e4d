"""What is missing of a row, where it belongs, and what is done without it: `python -m mlp_torch.rows`.

A row of `manual` needs one of `mlp_torch/model.py`, and the other way round. All else is optional.
"""

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import manual
from mlp_torch import kernels, model
from mlp_torch.verify.missing import missing_rows


@dataclass(frozen=True)
class Kind:
    """One kind of row: its table here and there, and the file's name in every room that has such rows."""

    ours: Mapping[str, Any]
    theirs: Mapping[str, Any]
    file: str


KINDS = {
    "activation": Kind(manual.ACTIVATIONS, model.ACTIVATIONS, "activations"),
    "loss": Kind(manual.LOSSES, model.LOSSES, "losses"),
    "optimizer": Kind(manual.OPTIMIZERS, model.OPTIMIZERS, "optimizers"),
}
ROOMS = {"buffered": "manual/buffered", "compiled": "manual/compiled", "torch": "mlp_torch/buffered"}


@dataclass(frozen=True)
class Missing:
    """One line: the row of that name lacks something in that place; `without` says what is done meanwhile."""

    kind: str
    name: str
    where: str
    required: bool
    without: str

    def __str__(self) -> str:
        need = "required" if self.required else "optional"
        return f"{self.kind} {self.name}: no row in {self.where} ({need}: {self.without})"


def missing_required() -> Iterator[Missing]:
    """The rows that one side has and the other lacks."""
    for name, kind in KINDS.items():
        table = f"{kind.file.upper()} of mlp_torch/model.py"
        for row in (row for row in kind.ours if row not in kind.theirs):
            yield Missing(name, row, table, True, "there is nothing to hold it against")
        for row in (row for row in kind.theirs if row not in kind.ours):
            yield Missing(name, row, f"ROWS of manual/catalogue/{kind.file}.py", True, "it has no formula")


def missing_kernels() -> Iterator[Missing]:
    """The rows that a fast step has no kernel for."""
    for step, room in ROOMS.items():
        if step == "compiled" and importlib.util.find_spec("numba") is None:
            continue
        without = "the plain formula runs" if step == "buffered" else f"--engine {step} refuses it"
        for (name, kind), table in zip(KINDS.items(), kernels.STEPS[step](), strict=True):
            for row, formula in kind.ours.items():
                if row not in table and not (isinstance(formula, type) and formula in table):
                    yield Missing(name, row, f"{room}/{kind.file}.py", False, without)


def missing() -> list[Missing]:
    """All of it, what is required first."""
    return [*missing_required(), *missing_kernels()]


def main() -> int:
    """Print it, a line each; 1 where something required is missing."""
    found = missing()
    lines = [*map(str, found), *missing_rows()]
    print(*lines, sep="\n") if lines else print("every row is everywhere")
    return int(any(line.required for line in found))


if __name__ == "__main__":
    sys.exit(main())
