"""The flags of `mlp explain`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from mlp_torch.explanation.glossary import find
from mlp_torch.flags import one_of, require, require_choice
from mlp_torch.network import DTYPES, Network
from mlp_torch.pager import PagerFlag

FORMATS = ("text", "markdown")
PICTURES = (".svg", ".png", ".pdf")


@dataclass(frozen=True, kw_only=True)
class Explain(PagerFlag, Network):
    """Explain one entry of a gradient: the factors from the loss down to that weight, and their product.

    With a WORD of the outputs, such as certified or cosine, explain the word; glossary lists all of them.
    """

    word: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[WORD]")] = ()
    """A word to explain in a sentence or two, in place of an entry of a gradient."""
    parameter: Annotated[str | None, tyro.conf.arg(metavar="NAME[I,J]")] = None
    """The entry, named as in the module (layers.0.weight[2,0]); without indices, the largest one."""
    sample: int | None = None
    """Which sample of the training data, counted from 0; if not given, one whose gradient is not 0."""
    batch_size: int = 1
    """Samples in the batch, --sample the first; with batch_norm, which needs several, 4 in place of 1."""
    run: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """A trained run's folder: its network and weights in place of the flags'."""
    dtype: Annotated[str, one_of(DTYPES)] = "float64"
    """The arithmetic; a run's weights keep their values."""
    format: Annotated[str, one_of(FORMATS)] = "text"
    """How the factors are printed; markdown has formulas in LaTeX."""
    json: bool = False
    """Print one JSON object, with every number of every factor."""
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Save a picture of the network: values forward, gradients backward (.svg, .png or .pdf)."""
    html: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write a page that draws the network and explains what is clicked; with --run, over its epochs."""
    tensorboard: bool = False
    """Write text and picture into the event file of --run."""

    def check(self) -> None:
        """Raise UserError, one line that names the flag, for a value that cannot be."""
        super().check()
        require_choice("--format", "format", self.format, FORMATS)
        require(self.sample is None or self.sample >= 0, "--sample", self.sample, "samples count from 0")
        require(not (self.json and self.format != "text"), "--format", self.format, "--json is a format too")
        if self.word:
            find(self.asked)
            alone = replace(self, word=(), format="text", json=False, no_pager=False) == Explain()
            require(alone, "explain", self.asked, "a word is explained by itself; leave the other flags out")
        if self.plot is not None:
            suffix = self.plot.suffix.lower()
            require(suffix in PICTURES, "--plot", self.plot, f"the name must end in {', '.join(PICTURES)}")
            require(self.plot.parent.is_dir(), "--plot", self.plot, f"there is no folder {self.plot.parent}")
        if self.html is not None:
            rule = "the name must end in .html"
            require(self.html.suffix.lower() in (".html", ".htm"), "--html", self.html, rule)
            require(self.html.parent.is_dir(), "--html", self.html, f"there is no folder {self.html.parent}")
        require(
            not self.tensorboard or self.run is not None,
            "--tensorboard",
            "without --run",
            "name the run whose event file is written, such as --run runs/NAME",
        )

    @property
    def asked(self) -> str:
        """The word, which may be several: rounding bound."""
        return " ".join(self.word)
