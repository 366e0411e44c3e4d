"""scikit-learn's `solver="lbfgs"`: a method of the full batch, so it is measured to the others' loss.

A pass is one forward and backward over all samples; a step takes one pass or, where its line search tries
more, a few. It goes on until the mean loss is the target, or, where there is none, for as many passes as
the others make.
"""

import contextlib
import warnings
from typing import Any

from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from race.problems import Problem

MOST_PASSES = 10_000


class Reached(Exception):  # noqa: N818  # no error: how scipy's minimiser is left
    """The loss is the target."""


class Stopping(MLPClassifier):
    """Counts passes and leaves at the target, with the weights that have it."""

    passes, target = 0, 0.0

    def _loss_grad_lbfgs(self, *given: Any, **named: Any) -> Any:
        found = super()._loss_grad_lbfgs(*given, **named)
        self.passes += 1
        if found[0] <= self.target:  # the weights were unpacked from the vector that has this loss
            raise Reached
        return found


class Lbfgs:
    """`fit` from scikit-learn's own weights, from the seed; `target` is set before `train`."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.target: float | None = None

    def prepare(self, seed: int) -> None:
        spec = self.problem.spec
        most = spec.epochs if self.target is None else MOST_PASSES
        self.classifier = Stopping(
            spec.sizes[1:-1],
            solver="lbfgs",
            alpha=0.0,
            max_iter=most,
            max_fun=most,
            tol=0.0,
            random_state=seed,
        )
        self.classifier.target = -1.0 if self.target is None else self.target

    def train(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            with contextlib.suppress(Reached):
                self.classifier.fit(self.problem.x, self.problem.y.ravel())

    @property
    def passes(self) -> int:
        """How often all samples were visited."""
        return self.classifier.passes

    def weights(self) -> list[tuple[Any, Any]]:
        return [(w.T, b) for w, b in zip(self.classifier.coefs_, self.classifier.intercepts_, strict=True)]
