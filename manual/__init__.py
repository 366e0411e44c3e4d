"""NumPy alone: the hand-derived chain rule of the multi-layer perceptron. Never imports torch."""

from manual.catalogue import ACTIVATIONS, LOSSES, OPTIMIZERS, SCHEDULES
from manual.catalogue.optimizers import Adagrad, Adam, AdamW, RMSprop
from manual.catalogue.schedules import learning_rate
from manual.network import MLP
from manual.optimizers import SGD
from manual.structure.architecture import Architecture, Counts
from manual.structure.trace import Stage, Trace
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
