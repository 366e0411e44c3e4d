"""scikit-learn's MLPClassifier, or one with its parameters: every epoch, no penalty, no early stop."""

import importlib
import warnings
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from race.problems import LR, Problem


class Sklearn:
    """`fit` with the problem's batch and epochs; first weights and order are its own, from the seed."""

    def __init__(self, problem: Problem, module: str) -> None:
        self.problem = problem
        self.kind = importlib.import_module(module).MLPClassifier

    def prepare(self, seed: int) -> None:
        spec = self.problem.spec
        self.classifier = self.kind(
            spec.sizes[1:-1],
            alpha=0.0,
            batch_size=spec.batch,
            learning_rate_init=LR,
            max_iter=spec.epochs,
            tol=0.0,
            n_iter_no_change=spec.epochs + 1,
            random_state=seed,
        )

    def train(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # all epochs were run: that is what is asked
            self.classifier.fit(self.problem.x, self.problem.y.ravel())

    def weights(self) -> list[tuple[Any, Any]]:
        assert self.classifier.n_iter_ == self.problem.spec.epochs
        return [(w.T, b) for w, b in zip(self.classifier.coefs_, self.classifier.intercepts_, strict=True)]
