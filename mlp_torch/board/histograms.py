"""How weights, gradients and activations are spread: a histogram each, on the schedule."""

from mlp_torch.board.moment import Moment
from mlp_torch.board.scalars import STEP
from mlp_torch.board.values import Value, histogram

WEIGHTS = f"The entries of one parameter after the epoch. {STEP}"
GRADIENTS = f"The entries of one gradient, in the epoch's last batch, after clipping. {STEP}"
ACTIVATIONS = f"What a layer gives for the validation samples shown, at most 2,000, in evaluation. {STEP}"


def weights(moment: Moment) -> list[Value]:
    """Of every parameter and running statistic."""
    return [histogram(f"weights/{name}", value, WEIGHTS) for name, value in moment.parameters.items()]


def gradients(moment: Moment) -> list[Value]:
    """Of every gradient of the last batch."""
    return [histogram(f"gradients/{name}", value, GRADIENTS) for name, value in moment.gradients.items()]


def activations(moment: Moment) -> list[Value]:
    """Of every layer's output."""
    return [
        histogram(f"activations/layers.{layer - 1}", value, ACTIVATIONS)
        for layer, value in moment.activations.items()
    ]
