"""NumPy alone: the hand-derived chain rule of the multi-layer perceptron. Never imports torch."""

from manual.activations import ACTIVATIONS
from manual.architecture import Architecture, Counts
from manual.catalogue.schedules import SCHEDULES, learning_rate
from manual.losses import LOSSES
from manual.network import MLP
from manual.optimizers import OPTIMIZERS, SGD, Adagrad, Adam, AdamW, RMSprop
from manual.trace import Stage, Trace
from manual.training.fit import fit
from manual.training.recipe import Recipe

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "MLP",
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Architecture",
    "Counts",
    "RMSprop",
    "Recipe",
    "Stage",
    "Trace",
    "fit",
    "learning_rate",
]
