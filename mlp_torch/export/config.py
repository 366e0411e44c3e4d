"""The flags of `mlp export`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mlp_torch.flags import one_of, require, require_choice

FORMATS = {"onnx": ".onnx", "torch": ".pt2"}


@dataclass(frozen=True, kw_only=True)
class Export:
    """Take a model away: one file with the network and the preprocessing of its numbers.

    It takes raw numbers (N, columns), NaN where one is missing; dates as days since 1970-01-01, booleans as 0
    and 1, categories as the number of their level, as `columns` in its metadata lists them.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run's folder, or its model.safetensors."""
    format: Annotated[str, one_of(FORMATS)] = "onnx"
    """ONNX, or torch's exported program (torch.export.load)."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Where it goes; if not given, model.onnx or model.pt2 in the run's folder."""

    def check(self) -> None:
        """Raise UserError, one line that names the flag, for a value that cannot be."""
        require_choice("--format", "format", self.format, FORMATS)
        if self.out is not None:
            suffix = FORMATS[self.format]
            require(self.out.suffix == suffix, "--out", str(self.out), f"the name must end in {suffix}")
            require(self.out.parent.is_dir(), "--out", str(self.out), "there is no such folder")
