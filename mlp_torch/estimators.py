"""A classifier with scikit-learn's names and manners, trained by the engines of `mlp train`."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, check_X_y

from manual.activations import sigmoid, softmax
from manual.numbers import Array
from manual.training import NotFiniteError, fit
from mlp_torch.config import ON_CPU, Train
from mlp_torch.engines import AnyEngine, build, choose_engine
from mlp_torch.errors import UserError
from mlp_torch.machine import resolve_device, threads

# scikit-learn's word for an activation, where it is not torch's
ACTIVATION_NAMES = {"logistic": "sigmoid"}
# the parameter that stands behind a flag of `mlp train`
PARAMETERS = {
    "--hidden": "hidden_layer_sizes",
    "--optimizer": "solver",
    "--weight-decay": "alpha",
    "--lr": "learning_rate_init",
    "--epochs": "max_iter",
    "--batch-size": "batch_size",
    "--nesterov": "nesterovs_momentum",
    "--": "",
}


class MLPClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """scikit-learn's `MLPClassifier`, several times as fast; its parameters, attributes and meanings.

    Two classes have one logistic output, more a softmax; the loss is the cross-entropy. Beyond
    scikit-learn's there are `engine`, `dtype` and `device`, as the flags of `mlp train`, whose
    activations and optimizers (`solver`) can be named too. One thing differs: `alpha`, divided by the
    batch size as there, is torch's weight decay and so holds for biases too. Weights are drawn as
    nn.Linear's.

    Attributes after `fit`: `classes_`, `n_features_in_`, `loss_curve_` (the mean loss of each epoch's
    batches), `loss_`, `n_iter_`, `coefs_` [(in, out)], `intercepts_`, `engine_` (the name of the engine
    that trained).
    """

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate_init: float = 0.001,
        max_iter: int = 200,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        n_iter_no_change: int = 10,
        engine: str = "auto",
        dtype: str = "float32",
        device: str = "auto",
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.n_iter_no_change = n_iter_no_change
        self.engine = engine
        self.dtype = dtype
        self.device = device

    def fit(self, X: Any, y: Any) -> Self:
        """Train on X (N, in) and class labels y (N,), any that can be sorted.

        Stops when the loss has not fallen by `tol` for `n_iter_no_change` epochs. Raises ValueError for
        data or parameters that cannot be, and where the loss is not finite.
        """
        X, y = check_X_y(X, y, dtype=np.dtype(self.dtype), order="C")
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y has one class only, {self.classes_[0]!r}; a classifier needs two")
        self.n_features_in_ = X.shape[1]
        binary = len(self.classes_) == 2
        target = labels.reshape(-1, 1).astype(X.dtype) if binary else labels.astype(np.int64)
        loss = "bce_with_logits" if binary else "cross_entropy"
        outputs = 1 if binary else len(self.classes_)
        config = self._config(len(X), X.shape[1], outputs, loss)
        architecture = config.architecture(X.shape[1], outputs)
        self.engine_ = config.engine
        self._engine: AnyEngine = build(config, architecture, loss)
        self.loss_curve_: list[float] = []
        with threads(architecture.sizes, config.batch_size, config.engine in ON_CPU):
            self._train(config, X, target)
        self.n_iter_, self.loss_ = len(self.loss_curve_), self.loss_curve_[-1]
        weights = self._engine.parameters()
        self.coefs_ = [weights[f"layers.{i}.weight"].T for i in range(architecture.depth)]
        self.intercepts_ = [weights[f"layers.{i}.bias"] for i in range(architecture.depth)]
        return self

    def _config(self, n: int, inputs: int, outputs: int, loss: str) -> Train:
        """The flags that say the same, checked; ValueError (one line) where a parameter cannot be."""
        sizes = self.hidden_layer_sizes
        hidden = (sizes,) if isinstance(sizes, int | np.integer) else tuple(sizes)
        batch_size = min(200, n) if self.batch_size == "auto" else self.batch_size
        if not isinstance(batch_size, int | np.integer):
            raise UserError(f"batch_size is 'auto' or a number of samples, not {self.batch_size!r}")
        sgd = self.solver == "sgd"
        config = Train(
            hidden=tuple(int(size) for size in hidden),
            activation=ACTIVATION_NAMES.get(self.activation, self.activation),
            loss=loss,
            optimizer=self.solver,
            weight_decay=self.alpha / batch_size if batch_size else 0.0,
            momentum=self.momentum if sgd else 0.0,
            nesterov=sgd and self.nesterovs_momentum and self.momentum > 0,
            lr=self.learning_rate_init,
            epochs=self.max_iter,
            batch_size=min(int(batch_size), n),
            schedule="constant",
            engine=self.engine,
            dtype=self.dtype,
            device=self.device,
            seed=int(check_random_state(self.random_state).randint(2**31)),
        )
        try:
            config.check()
        except UserError as error:
            text = str(error)
            for flag, name in PARAMETERS.items():
                text = text.replace(flag, name)
            raise UserError(text) from None
        device = "cpu" if config.engine in ON_CPU else resolve_device(config.device, config.dtype)
        if config.engine == "auto":
            engine, _ = choose_engine(config, config.architecture(inputs, outputs), device)
            config = replace(config, engine=engine)
        return replace(config, device=device)

    def _train(self, config: Train, X: Array, target: Array) -> None:
        best, since = np.inf, 0
        assert config.epochs is not None
        epochs = fit(
            self._engine,
            X,
            target,
            epochs=config.epochs,
            batch_size=config.batch_size,
            lr=config.lr,
            seed=config.seed,
        )
        try:
            for epoch in epochs:
                self.loss_curve_.append(epoch.loss)
                if self.verbose:
                    print(f"Iteration {epoch.epoch}, loss = {epoch.loss:.8f}", flush=True)
                since = since + 1 if epoch.loss > best - self.tol else 0
                best = min(best, epoch.loss)
                if since > self.n_iter_no_change:
                    return
        except NotFiniteError as error:
            raise ValueError(f"{error}; try a smaller learning_rate_init or scale the inputs") from None
        if self.tol > 0:
            warnings.warn(
                f"the loss still fell when max_iter = {config.epochs} was reached",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _output(self, X: Any) -> Array:
        check_is_fitted(self, "coefs_")
        X = check_array(X, dtype=np.dtype(self.dtype), order="C")
        if X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but MLPClassifier is expecting {self.n_features_in_} features "
                "as input"
            )
        return self._engine.predict(X)

    def predict(self, X: Any) -> Array:
        """The class (N,) of every row of X (N, in)."""
        output = self._output(X)
        decision = output.argmax(axis=1) if output.shape[1] > 1 else (output[:, 0] > 0).astype(int)
        chosen: Array = self.classes_[decision]
        return chosen

    def predict_proba(self, X: Any) -> Array:
        """The probability of every class (N, classes), in the order of `classes_`."""
        output = self._output(X)
        if output.shape[1] > 1:
            return softmax(output)
        p = sigmoid(output)
        return np.hstack([1 - p, p])
