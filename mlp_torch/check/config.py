"""The flags of `mlp check`, and what they must satisfy; nothing heavy is imported."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mlp_torch.errors import UserError

NAMES = (
    "squared_error",
    "half_squared_error",
    "absolute_error",
    "bce",
    "cross_entropy",
    "bce_with_logits",
    "cross_entropy_from_logits",
    "hinge",
    "multiclass_hinge",
)


@dataclass(frozen=True, kw_only=True)
class Check:
    """Check a hand-written backward pass, and name what is wrong: 0 right, 1 wrong, 2 not comparable."""

    file: tyro.conf.Positional[str] = ""
    """FILE.npz with x, y, each parameter W1 … and its gradient dW1 … (or W1_after), or FILE.py:function.

    FILE.py alone lists its functions."""
    activations: tuple[str, ...] = ()
    """One activation a layer, the output's included, such as relu softmax."""
    loss: Annotated[str | None, tyro.conf.arg(metavar="{" + ",".join(NAMES) + "}")] = None
    """The loss, also by another library's name; cross_entropy and bce take the last layer's probabilities."""
    reduction: Annotated[str, tyro.conf.arg(metavar="{sum,mean_over_samples,mean_over_all}")] = (
        "mean_over_samples"
    )
    """What the loss divides by."""
    samples: Annotated[str | None, tyro.conf.arg(metavar="{rows,columns}")] = None
    """Where the samples lie in x and y, if the shapes do not tell."""
    output_samples: Annotated[str | None, tyro.conf.arg(metavar="{rows,columns}")] = None
    """Where they lie in y, outputs and masks, if elsewhere."""
    weight_layout: Annotated[tuple[str, ...], tyro.conf.arg(metavar="in,out|out,in …")] = ()
    """Layout of the weights, one for all or one a layer, if the shapes do not tell."""
    bias_in_weight: Annotated[str | None, tyro.conf.arg(metavar="{first,last}")] = None
    """The first or last row of every weight is the bias."""
    ones_in_x: bool = False
    """x holds the column of ones of the folded bias."""
    alpha: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """The constant of leaky_relu, elu, selu or prelu."""
    dropout: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Probability of dropping, where the file holds masks mask1, mask2 …"""
    mask_unscaled: bool = False
    """The masks hold 0 and 1, not 1/(1 − p)."""
    l2: float = 0.0
    """λ of the penalty ½ λ Σθ² on the weights."""
    l2_full: bool = False
    """The penalty is λ Σθ², without the ½."""
    l2_over_samples: bool = False
    """The penalty is divided by N."""
    l2_on_biases: bool = False
    """The penalty includes the biases."""
    l1: float = 0.0
    """λ of the penalty λ Σ|θ| on the weights."""
    lr: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """The learning rate; needed where the file holds W1_after in place of gradients."""
    ascent: bool = False
    """The gradient is added, not subtracted."""
    json: bool = False
    """Print one JSON object."""
    timeout: float = 60.0
    """Seconds for finding the guilty lines of a function; what is left undone is said."""
    max_seconds: float = 300.0
    """Seconds that a function's file may run for besides --timeout, in a process of its own."""
    max_memory: float = 4.0
    """GB that it may take there."""
    max_bytes: int = 2**30
    """Bytes that the arrays of FILE.npz may take when they are unpacked."""
    fix: bool = False
    """Print the lines that mend a function as a unified diff; nothing is changed."""
    write: bool = False
    """Write them into the file, after asking; the original is kept beside it as FILE.orig."""
    yes: bool = False
    """Do not ask before --write."""

    @property
    def path(self) -> str:
        """The file itself, without the function's name."""
        head, dot, _ = self.file.rpartition(".py:")
        return f"{head}.py" if dot else self.file

    @property
    def function(self) -> str:
        """The function's name, or object.method; "" where none is named."""
        return self.file.rpartition(".py:")[2] if ".py:" in self.file else ""

    def check(self) -> None:
        """Raise UserError where the flags do not fit each other; a missing file is told first."""
        if not self.file:
            raise UserError("give the file to check: FILE.npz or FILE.py:function; --help lists the flags")
        path = Path(self.path)
        if not path.is_file():
            other = "is a folder, no file" if path.is_dir() else "is no plain file" if path.exists() else ""
            raise UserError(f"{path}: {other or 'no such file'}")
        if (self.fix or self.write) and not self.function:
            raise UserError("--fix and --write: serve FILE.py:function, whose lines can be mended")
        for flag in ("timeout", "max_seconds", "max_memory", "max_bytes"):
            if not 0 < (value := getattr(self, flag)) < math.inf:
                raise UserError(f"--{flag.replace('_', '-')} {value:g}: must be a finite number above 0")
        if self.file.endswith(".npz"):
            if not self.activations:
                raise UserError("--activations: name one a layer, such as --activations relu softmax")
            if self.loss is None:
                raise UserError(f"--loss is missing: name one of {', '.join(NAMES)}")
        elif path.suffix != ".py":
            raise UserError(f"{self.file}: give FILE.npz or FILE.py:function")
