"""The flags of `mlp lecture`: which step, on which data, how much of it, and where its figures go."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from manual.structure.architecture import choose
from mlp_torch.data.sets import DATASETS
from mlp_torch.errors import UserError
from mlp_torch.flags import one_of, require, require_choice
from mlp_torch.lecture.drawing import SUFFIXES
from mlp_torch.lecture.steps import STEPS, LectureStep
from mlp_torch.lecture.walk import Walk
from mlp_torch.pager import PagerFlag

CLASSES = tuple(name for name, row in DATASETS.items() if row.classes and row.split)


@dataclass(frozen=True, kw_only=True)
class Lecture(PagerFlag):
    """Walk through the lecture; every number is measured as it is shown, in two minutes for all ten steps."""

    step: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STEP")] = "all"
    """A step's number or name; all of them if not given."""
    list: bool = False
    """List the steps with their numbers, names, titles and slides; nothing is measured."""
    data: Annotated[str, one_of(CLASSES)] = "digits"
    """The data set of the experiments in the steps descent, hyperparameters and depth."""
    seed: int = 0
    """Settles every random number; experiments repeat with seed, seed + 1, …"""
    full: bool = False
    """Twenty seeds in place of five and twice the epochs where networks are trained: about ten minutes."""
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE|DIR")] = None
    """Save the figure of one step to a FILE (.png, .svg, .pdf), or those of all into a DIR as STEP.png."""
    html: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Write the steps as pages into a DIR, with networks that explain what is clicked; see its index.html."""

    def check(self) -> None:
        """Raise UserError, one line that names the flag, for a value that cannot be."""
        self.steps()
        require_choice("--data", "data set", self.data, CLASSES)
        require(0 <= self.seed < 2**31, "--seed", self.seed, "must lie in 0 … 2147483647")
        if self.plot is not None:
            suffix = self.plot.suffix.lower()
            rule = f"ends in none of {', '.join(SUFFIXES)}, and is no folder"
            require(suffix in ("", *SUFFIXES) or self.plot.is_dir(), "--plot", self.plot, rule)
            rule = "is one file, and this is the walk through all steps; name a step or a folder"
            require(not self.to_file or len(self.steps()) == 1, "--plot", self.plot, rule)
        if self.html is not None:
            rule = "is a file; name a folder"
            require(not self.html.is_file(), "--html", self.html, rule)

    def steps(self) -> tuple[LectureStep, ...]:
        """The steps that are asked for. Raises UserError that names the nearest one."""
        if self.step == "all":
            return STEPS
        if self.step.lstrip("-").isdigit():
            if 1 <= int(self.step) <= len(STEPS):
                return (STEPS[int(self.step) - 1],)
            raise UserError(f"there is no step {self.step}; they count from 1 to {len(STEPS)}")
        try:
            choose("step", self.step, ["all", *(s.name for s in STEPS)])
        except ValueError as error:
            raise UserError(str(error)) from None
        return tuple(s for s in STEPS if s.name == self.step)

    @property
    def to_file(self) -> bool:
        return self.plot is not None and self.plot.suffix != "" and not self.plot.is_dir()

    def walk(self) -> Walk:
        """What the steps are given."""
        return Walk(self.seed, self.data, seeds=20 if self.full else 5, effort=2.0 if self.full else 1.0)
