"""The flags that describe a network, and what it is trained or judged on: the same for every command."""

from dataclasses import dataclass
from typing import Annotated, Any

from manual.catalogue import ACTIVATIONS, LOSSES
from manual.structure.architecture import INITIALIZATIONS, NORMALIZATIONS, Architecture
from mlp_torch.data.config import DataFlags
from mlp_torch.flags import one_of, require, require_choice

DTYPES = ("float32", "float64")
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True, kw_only=True)
class Network(DataFlags):
    """The flags that commands on a network take: the data, the network, the loss and the arithmetic."""

    hidden: tuple[int, ...] = (128, 64)
    """Sizes of the hidden layers, first to last; none at all makes a linear model."""
    activation: Annotated[str, one_of(ACTIVATIONS)] = "relu"
    """Activation of the hidden layers."""
    output_activation: Annotated[str, one_of(ACTIVATIONS)] = "identity"
    """Activation of the last layer; bce_with_logits and cross_entropy take identity."""
    loss: Annotated[str | None, one_of(LOSSES)] = None
    """The loss; if not given, the one that suits the data. cross_entropy takes logits, as in torch."""
    dtype: Annotated[str, one_of(DTYPES)] = "float32"
    """The arithmetic."""
    device: Annotated[str, one_of(DEVICES)] = "auto"
    """Where torch computes; auto takes a GPU if there is one."""
    batch_size: int = 32
    """Samples in a batch; 1 is the single sample, a number beyond the data the full batch."""
    dropout: float = 0.0
    """Probability of dropping a hidden activation in training."""
    normalization: Annotated[str, one_of(NORMALIZATIONS)] = "none"
    """What stands between a hidden layer and its activation."""
    initialization: Annotated[str, one_of(INITIALIZATIONS)] = "torch"
    """How the weights are drawn; torch is nn.Linear's default."""
    seed: int = 0
    """Settles every random number: split, weights, order of samples, dropout."""

    def check(self) -> None:
        """Raise UserError, one line that names the flag, for a value that cannot be."""
        super().check()
        require_choice("--activation", "activation", self.activation, ACTIVATIONS)
        require_choice("--output-activation", "activation", self.output_activation, ACTIVATIONS)
        if self.loss is not None:
            require_choice("--loss", "loss", self.loss, LOSSES)
        require_choice("--dtype", "dtype", self.dtype, DTYPES)
        require_choice("--device", "device", self.device, DEVICES)
        require_choice("--normalization", "normalization", self.normalization, NORMALIZATIONS)
        require_choice("--initialization", "initialization", self.initialization, INITIALIZATIONS)
        sizes = " ".join(map(str, self.hidden))
        require(all(h >= 1 for h in self.hidden), "--hidden", sizes, "every layer needs at least 1 neuron")
        require(self.batch_size >= 1, "--batch-size", self.batch_size, "must be at least 1")
        require(
            0 <= self.dropout < 1,
            "--dropout",
            self.dropout,
            "is the probability of dropping, at least 0 and below 1",
        )
        require(0 <= self.seed < 2**32, "--seed", self.seed, "must lie in 0 … 4294967295")
        require(
            not (self.device == "mps" and self.dtype == "float64"),
            "--device",
            "mps",
            "has no float64; use --dtype float32 or --device cpu",
        )

    def sizes(self, inputs: int, outputs: int) -> tuple[int, ...]:
        """(in, hidden …, out)."""
        return (inputs, *self.hidden, outputs)

    def architecture(self, inputs: int, outputs: int) -> Architecture:
        """The network that the flags describe."""
        return Architecture(
            self.sizes(inputs, outputs),
            self.activation,
            self.output_activation,
            self.dropout,
            self.normalization,
        )

    def model_options(self) -> dict[str, Any]:
        """The keyword arguments of `manual.MLP` and `mlp_torch.MLP`, all but the dtype."""
        return {
            "activation": self.activation,
            "output_activation": self.output_activation,
            "dropout": self.dropout,
            "normalization": self.normalization,
            "initialization": self.initialization,
            "seed": self.seed,
        }
