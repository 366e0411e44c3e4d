"""NumPy alone: the hand-derived chain rule of the multi-layer perceptron. Never imports torch.

The lecture, in the order of reading; a chapter is made of those before it:

    classic, numbers, activations, perceptron, losses, layers, optimizers, chain, network

First a whole network in two functions; then what its numbers may be, f and f′, the lecture's own small
networks, what is minimized, one layer, one update; last the chain rule as data, and the network run by it.
On the second shelf, `catalogue`, is what the slides leave out, with the tables of all rows; on the third
is the bookkeeping, `structure` (names, shapes, the trace) and `training` (the loop, what it asks of an
engine); `buffered` and `compiled` are the same formulas made fast.
"""

from manual.catalogue import ACTIVATIONS, LOSSES, OPTIMIZERS, SCHEDULES
from manual.catalogue.optimizers import Adagrad, Adam, AdamW, RMSprop
from manual.catalogue.schedules import learning_rate
from manual.network import MLP
from manual.optimizers import SGD
from manual.structure.architecture import Architecture, Counts
from manual.structure.trace import Stage, Trace
from manual.training.fit import fit
from manual.training.recipe import Recipe

__version__ = "1.0.0"  # of both packages; pyproject.toml reads it here

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
