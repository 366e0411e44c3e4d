"""Keras, compiled and fitted as its guide does, on the backend that the environment names."""

from typing import Any

import keras
import numpy as np

from race.problems import BETAS, EPS, LR, Problem


class Keras:
    """One model, compiled once; every run starts from given weights and moments of 0."""

    def __init__(self, problem: Problem) -> None:
        spec, self.problem = problem.spec, problem
        hidden = [keras.layers.Dense(size, activation="relu") for size in spec.sizes[1:-1]]
        self.model = keras.Sequential(
            [keras.Input((spec.sizes[0],)), *hidden, keras.layers.Dense(spec.sizes[-1])]
        )
        losses = {
            "cross_entropy": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "bce_with_logits": keras.losses.BinaryCrossentropy(from_logits=True),
        }
        self.model.compile(keras.optimizers.Adam(LR, *BETAS, epsilon=EPS), losses[spec.loss])
        self.model.optimizer.build(self.model.trainable_variables)

    def prepare(self, seed: int) -> None:
        keras.utils.set_random_seed(seed)
        self.model.set_weights([a for w, b in self.problem.initial(seed) for a in (w.T, b)])
        for variable in self.model.optimizer.variables:
            if variable is not self.model.optimizer.learning_rate:
                variable.assign(np.zeros(variable.shape, variable.dtype))

    def train(self) -> None:
        spec = self.problem.spec
        self.model.fit(self.problem.x, self.problem.y, batch_size=spec.batch, epochs=spec.epochs, verbose=0)

    def weights(self) -> list[tuple[Any, Any]]:
        arrays = self.model.get_weights()
        return [(w.T, b) for w, b in zip(arrays[::2], arrays[1::2], strict=True)]
