"""scikit-learn's training loop with an engine in the place of its steps: same order, same rules to stop.

What is scikit-learn's stays scikit-learn's: parameters and their checks, labels, L-BFGS, prediction. Only the
epochs of the stochastic solvers are ours. Its loss sums over several outputs where ours is their mean, so
with K of them its gradient is K times an engine's: rates, penalty and ε are scaled by it.
"""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network._stochastic_optimizers import BaseOptimizer, SGDOptimizer

from manual.catalogue.schedules import learning_rate
from manual.numbers import Array
from manual.training.recipe import is_weight
from mlp_torch.config import ON_CPU
from mlp_torch.engines import AnyEngine, build
from mlp_torch.estimators.flags import flags, scale
from mlp_torch.machine import threads

DENSE = 2**24  # entries of a sparse X that are made dense at once


class Epochs:
    """An engine that holds the estimator's weights, and what an epoch of it takes."""

    def __init__(self, estimator: Any, X: Any, dtype: np.dtype[Any], weight: float) -> None:
        self.config = flags(estimator, X.shape[0], X.shape[1], dtype, weight)
        self.architecture = self.config.architecture(X.shape[1], estimator.n_outputs_)
        assert self.config.loss is not None
        self.engine: AnyEngine = build(self.config, self.architecture, self.config.loss)
        self.scale = scale(estimator)
        self.rate_scale = self.scale if self.config.optimizer == "sgd" else 1

    def take(self, estimator: Any) -> None:
        """The weights of `coefs_` and `intercepts_` into the engine."""
        arrays = self.engine.parameters()
        for i, (w, b) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
            arrays[f"layers.{i}.weight"] = np.ascontiguousarray(np.asarray(w).T, dtype=self.config.dtype)
            arrays[f"layers.{i}.bias"] = np.asarray(b, dtype=self.config.dtype)
        arrays |= estimator.normalizations_
        self.engine.load(arrays)

    def give(self, estimator: Any, dtype: Any) -> None:
        """The engine's weights into `coefs_`, `intercepts_` and what the normalization learnt."""
        arrays = self.engine.parameters()
        depth = self.architecture.depth
        estimator.coefs_ = [arrays[f"layers.{i}.weight"].T.astype(dtype) for i in range(depth)]
        estimator.intercepts_ = [arrays[f"layers.{i}.bias"].astype(dtype) for i in range(depth)]
        kept = {n: a for n, a in arrays.items() if not n.startswith("layers.")}
        estimator.normalizations_ = kept

    def run(self, X: Any, y: Array, weights: Array | None, order: Array, rates: Array) -> float:
        """One epoch in that order; the mean loss of its samples, each before its update."""
        batch, losses, n = self.config.batch_size, [], len(order)
        lacking = self._lacking_penalty()
        step = max(1, DENSE // (X.shape[1] * batch)) * batch if issparse(X) else n
        for first in range(0, n, step):
            rows = order[first : first + step]
            part = slice(first // batch, -(-min(first + step, n) // batch))
            x, targets, w, at = X, y, weights, rows
            if issparse(X):
                x, targets, at = X[rows].toarray(), y[rows], np.arange(len(rows))
                w = None if weights is None else weights[rows]
            extra = () if w is None else (w,)
            losses.append(self.engine.epoch(x, targets, at, batch, rates[part] * self.rate_scale, *extra))
        found = np.concatenate(losses)
        if len(found) < len(rates) or not np.isfinite(found).all():
            return float("nan")
        sizes = np.full(len(found), batch)
        sizes[-1] = n - batch * (len(found) - 1)
        mean = float(found @ sizes) / n
        return mean * self.scale if self.config.loss == "bce_with_logits" else mean + lacking

    def _lacking_penalty(self) -> float:
        """What the penalty of several real outputs lacks, there divided by N and here by N·K as well."""
        if self.scale == 1 or self.config.loss == "bce_with_logits":
            return 0.0
        arrays = self.engine.parameters()
        squares = sum(float((a * a).sum()) for n, a in arrays.items() if is_weight(n))
        return (self.scale - 1) * self.config.l2 * squares / 2


def targets_of(estimator: Any, y: Array, dtype: Any) -> Array:
    """Targets as our losses take them: labels (N,) for a softmax, columns otherwise."""
    if estimator.out_activation_ == "softmax":
        return np.asarray(y.argmax(axis=1)).astype(np.int64)
    return np.ascontiguousarray(y, dtype=dtype)


def fit_stochastic(estimator: Any, X: Any, y: Array, sample_weight: Array | None, incremental: bool) -> None:
    """scikit-learn's `_fit_stochastic`, its epochs by an engine."""
    given = X.dtype
    dtype = given if estimator.dtype == "auto" else np.dtype(estimator.dtype)
    if estimator.early_stopping and incremental:
        raise ValueError("partial_fit does not support early_stopping=True")
    if estimator.batch_size != "auto" and estimator.batch_size > X.shape[0]:
        warnings.warn(
            f"batch_size = {estimator.batch_size} is larger than the {X.shape[0]} samples; all of them are "
            "one batch",
            stacklevel=4,
        )
    if not incremental or not hasattr(estimator, "_optimizer"):
        estimator._optimizer = _schedule(estimator)
    X_val = y_val = weight_val = None
    if estimator.early_stopping:
        X, X_val, y, y_val, sample_weight, weight_val = _held_back(estimator, X, y, sample_weight)
    epochs = getattr(estimator, "_epochs", None) if incremental else None
    if epochs is None or epochs.config.batch_size > X.shape[0]:
        weight = 1.0 if sample_weight is None else float(np.mean(sample_weight)) or 1.0
        if weight < 0:
            raise ValueError(f"the sample weights sum to {weight * X.shape[0]:.4g}; the sum must be above 0")
        epochs = estimator._epochs = Epochs(estimator, X, dtype, weight)
    estimator.engine_ = epochs.config.engine
    epochs.take(estimator)
    data = X if issparse(X) else np.ascontiguousarray(X, dtype=dtype)
    targets = targets_of(estimator, y, dtype)
    weights = None if sample_weight is None else np.asarray(sample_weight, dtype=dtype)
    with threads(epochs.architecture.sizes, epochs.config.batch_size, epochs.config.engine in ON_CPU):
        with contextlib.suppress(_StoppedError):
            for _ in _epochs(estimator, epochs, data, targets, weights, incremental):
                if estimator.early_stopping:
                    epochs.give(estimator, given)
                _count(estimator, X_val, y_val, weight_val)
                _end(estimator, incremental)
        epochs.give(estimator, given)
    if estimator.early_stopping:
        estimator.coefs_, estimator.intercepts_ = estimator._best_coefs, estimator._best_intercepts
    elif not np.isfinite(estimator.loss_):
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large values and "
            "need to be preprocessed, or learning_rate_init is too large."
        )
    if not incremental:
        del estimator._epochs


class _StoppedError(Exception):
    """Training is at its end."""


def _epochs(
    estimator: Any, epochs: Epochs, X: Any, y: Array, weights: Array | None, incremental: bool
) -> Iterator[int]:
    """Yields after each epoch, its loss noted."""
    n, batch = X.shape[0], epochs.config.batch_size
    steps = -(-n // batch)
    order = np.arange(n)
    estimator.n_iter_ = 0
    try:
        for i in range(estimator.max_iter):
            if estimator.shuffle:
                places = np.arange(n)  # as `sklearn.utils.shuffle` draws, without its checks
                estimator._random_state.shuffle(places)
                order = order[places]
            rates = np.full(steps, float(estimator._optimizer.learning_rate))
            if estimator.schedule != "constant":
                at = np.arange(i * steps, (i + 1) * steps)
                rates = learning_rate(estimator.schedule, rates[0], at, estimator.max_iter * steps, 0)
            estimator.n_iter_ += 1
            estimator.loss_ = epochs.run(X, y, weights, order, rates)
            estimator.t_ += n
            estimator.loss_curve_.append(estimator.loss_)
            if estimator.verbose:
                print(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}", flush=True)
            yield i
            if not np.isfinite(estimator.loss_):
                return  # the weights are not finite; scikit-learn's own check raises on them
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=2)


def _count(estimator: Any, X: Any, y: Any, weights: Any) -> None:
    estimator._update_no_improvement_count(estimator.early_stopping, X, y, weights)
    estimator._optimizer.iteration_ends(estimator.t_)


def _end(estimator: Any, incremental: bool) -> None:
    """Raise _StoppedError after the last epoch, by scikit-learn's rules."""
    if estimator._no_improvement_count > estimator.n_iter_no_change:
        what = "Validation score" if estimator.early_stopping else "Training loss"
        message = (
            f"{what} did not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change} "
            "consecutive epochs."
        )
        if estimator._optimizer.trigger_stopping(message, estimator.verbose):
            raise _StoppedError
        estimator._no_improvement_count = 0
    if incremental:
        raise _StoppedError
    if estimator.n_iter_ == estimator.max_iter:
        warnings.warn(
            f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the optimization "
            "hasn't converged yet.",
            ConvergenceWarning,
            stacklevel=6,
        )


def _schedule(estimator: Any) -> Any:
    """Who says the rate of an epoch: scikit-learn's own rules."""
    if estimator.rule_ == "sgd":
        return SGDOptimizer(
            [], estimator.learning_rate_init, estimator.learning_rate, estimator.momentum,
            estimator.nesterovs_momentum, estimator.power_t,
        )  # fmt: skip
    return _Constant(estimator.learning_rate_init)


class _Constant(BaseOptimizer):  # type: ignore[misc]  # scikit-learn has no types
    """A rate that stays; training stops when it is told to."""

    def trigger_stopping(self, msg: str, verbose: bool) -> bool:
        if verbose:
            print(msg + " Stopping.")
        return True


def _held_back(estimator: Any, X: Any, y: Array, weights: Array | None) -> tuple[Any, ...]:
    """(X, X_val, y, y_val, weights, weights_val), stratified but for several outputs."""
    stratify = y if is_classifier(estimator) and estimator.n_outputs_ == 1 else None
    arrays = [X, y] if weights is None else [X, y, weights]
    parts = train_test_split(
        *arrays, random_state=estimator._random_state, test_size=estimator.validation_fraction,
        stratify=stratify,
    )  # fmt: skip
    if weights is None:
        parts += [None, None]
    if parts[1].shape[0] < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
        )
    if is_classifier(estimator):
        parts[3] = estimator._label_binarizer.inverse_transform(parts[3])
    return tuple(parts)
