"""`MLPClassifier` and `MLPRegressor`: scikit-learn's, with faster epochs and more of torch's choices."""

from numbers import Real
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn import neural_network as sk
from sklearn.utils import compute_sample_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

import manual
from manual.activations import sigmoid
from manual.catalogue import ACTIVATIONS, OPTIMIZERS, SCHEDULES
from manual.catalogue.activations import softmax
from manual.numbers import Array
from manual.structure.architecture import NORMALIZATIONS
from mlp_torch.config import ENGINES
from mlp_torch.estimators.flags import ACTIVATION_NAMES
from mlp_torch.estimators.stochastic import fit_stochastic
from mlp_torch.network import DEVICES, DTYPES

SOLVERS = ("sgd", "adam")  # scikit-learn's own, beside lbfgs
OWN_ACTIVATIONS = {"identity", "logistic", "tanh", "relu"}
MORE: dict[str, Any] = {
    "activation": [StrOptions(OWN_ACTIVATIONS | set(ACTIVATIONS))],
    "solver": [StrOptions({"lbfgs", *OPTIMIZERS})],
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "normalization": [StrOptions(set(NORMALIZATIONS)), None],
    "schedule": [StrOptions(set(SCHEDULES))],
    "engine": [StrOptions(set(ENGINES) | {"scikit-learn"})],
    "dtype": [StrOptions({"auto", *DTYPES})],
    "device": [StrOptions(set(DEVICES))],
}


class Engined:
    """What both have beyond scikit-learn's: the engine, and the networks that only it can train."""

    def _fit(self, X: Any, y: Any, sample_weight: Any = None, incremental: bool = False) -> Any:
        """scikit-learn's, to which every stochastic solver is adam: it only asks if it is one."""
        me: Any = self
        me.rule_, given = me.solver, me.solver
        if not hasattr(self, "normalizations_") or not (incremental or me.warm_start):
            self.normalizations_: dict[str, Array] = {}
        if given != "lbfgs" and given not in SOLVERS:
            me.solver = "adam"
        try:
            return super()._fit(X, y, sample_weight=sample_weight, incremental=incremental)  # type: ignore[misc]  # the mixin's other base has it
        finally:
            me.solver = given

    def _fit_stochastic(
        self, X: Any, y: Any, sample_weight: Any, activations: Any, deltas: Any, coef_grads: Any,
        intercept_grads: Any, layer_units: Any, incremental: bool,
    ) -> None:  # fmt: skip
        """By the engine; by scikit-learn itself where its loss has no row here (poisson)."""
        me: Any = self
        if me.out_activation_ == "exp" or me.engine == "scikit-learn":
            me.engine_ = "scikit-learn"
            super()._fit_stochastic(  # type: ignore[misc]  # the mixin's other base has it
                X,
                y,
                sample_weight,
                activations,
                deltas,
                coef_grads,
                intercept_grads,
                layer_units,
                incremental,
            )
            return
        fit_stochastic(self, X, y, sample_weight, incremental)

    def _fit_lbfgs(self, *arguments: Any) -> None:
        me: Any = self
        me.engine_ = "scikit-learn"
        if me.activation not in OWN_ACTIVATIONS or me.dropout or me._normalized:
            raise ValueError(
                "solver='lbfgs' is scikit-learn's and knows its activations alone, no dropout and no "
                "normalization; choose another solver"
            )
        super()._fit_lbfgs(*arguments)  # type: ignore[misc]  # the mixin's other base has it

    @property
    def _normalized(self) -> bool:
        return getattr(self, "normalization", None) not in (None, "none")

    def _network(self) -> manual.MLP:
        """The network of `coefs_` and `intercepts_`, in evaluation mode, without the output's activation."""
        me: Any = self
        sizes = [c.shape[0] for c in me.coefs_] + [me.coefs_[-1].shape[1]]
        activation = ACTIVATION_NAMES.get(me.activation, me.activation)
        dtype = np.result_type(*me.coefs_)
        network = manual.MLP(
            sizes, activation=activation, normalization=me.normalization or "none", dtype=dtype
        )
        arrays = {f"layers.{i}.weight": np.asarray(w).T for i, w in enumerate(me.coefs_)}
        arrays |= {f"layers.{i}.bias": np.asarray(b) for i, b in enumerate(me.intercepts_)}
        arrays |= self.normalizations_
        for home in (network.parameters, network.buffers):
            for name in home:
                home[name] = np.asarray(arrays[name], dtype=home[name].dtype)
        network.training = False
        return network

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> Any:
        """scikit-learn's own pass; ours for the activations and normalizations that it lacks."""
        me: Any = self
        learnt = any(n.startswith("activations.") for n in self.normalizations_)
        if me.activation in OWN_ACTIVATIONS and not self._normalized and not learnt:
            return super()._forward_pass_fast(X, check_input=check_input)  # type: ignore[misc]  # the other base's
        if check_input:
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        network = self._network()
        output = network.predict(np.asarray(X.toarray() if hasattr(X, "toarray") else X, dtype=network.dtype))
        return OUTPUTS[me.out_activation_](output)

    def __getstate__(self) -> dict[str, Any]:
        """Weights and parameters; the engine's buffers are made anew when they are needed."""
        state: dict[str, Any] = dict(super().__getstate__())  # type: ignore[call-overload]  # scikit-learn's gives a dict
        state.pop("_epochs", None)
        return state

    def to_torch(self) -> Any:
        """The network as `mlp_torch.MLP`, in evaluation mode; it gives logits."""
        from mlp_torch.model import to_torch

        check_is_fitted(self, "coefs_")
        return to_torch(self._network())

    def save(self, path: str | Path) -> None:
        """Write the network with its labels and feature names to a `.safetensors` file, without pickle.

        `mlp predict` and `mlp_torch.load_run` read it, and so does `load`.
        """
        from mlp_torch.estimators.saving import save

        check_is_fitted(self, "coefs_")
        save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The estimator that `save` wrote. Raises UserError for any other file."""
        from mlp_torch.estimators.saving import load

        found: Self = load(cls, Path(path))
        return found


def _logistic(output: Array) -> Array:
    return sigmoid(output)


def _softmax(output: Array) -> Array:
    return softmax(output)


OUTPUTS: dict[str, Any] = {"logistic": _logistic, "softmax": _softmax, "identity": lambda z: z, "exp": np.exp}


class MLPClassifier(Engined, sk.MLPClassifier):  # type: ignore[misc]  # scikit-learn has no types
    """scikit-learn's `MLPClassifier`, several times as fast: its parameters, attributes and meanings.

    Beyond scikit-learn's: `class_weight`, `dropout`, `normalization`, `schedule` (of the rate, over
    `max_iter`), torch's activations, the solvers adamw, rmsprop and adagrad, and `engine`, `dtype` ("auto" is
    X's own) and `device` as the flags of `mlp train`. `engine_` says which engine trained; lbfgs is
    scikit-learn's own.
    """

    _parameter_constraints = (
        sk.MLPClassifier._parameter_constraints
        | MORE
        | {
            "class_weight": [dict, StrOptions({"balanced"}), None],
        }
    )

    def __init__(
        self, hidden_layer_sizes: Any = (100,), activation: str = "relu", *, solver: str = "adam",
        alpha: float = 0.0001, batch_size: Any = "auto", learning_rate: str = "constant",
        learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200, shuffle: bool = True,
        random_state: Any = None, tol: float = 1e-4, verbose: bool = False, warm_start: bool = False,
        momentum: float = 0.9, nesterovs_momentum: bool = True, early_stopping: bool = False,
        validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8,
        n_iter_no_change: int = 10, max_fun: int = 15000, class_weight: Any = None, dropout: float = 0.0,
        normalization: str | None = None, schedule: str = "constant", engine: str = "auto",
        dtype: str = "auto", device: str = "auto",
    ) -> None:  # fmt: skip
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes, activation=activation, solver=solver, alpha=alpha,
            batch_size=batch_size, learning_rate=learning_rate, learning_rate_init=learning_rate_init,
            power_t=power_t, max_iter=max_iter, shuffle=shuffle, random_state=random_state, tol=tol,
            verbose=verbose, warm_start=warm_start, momentum=momentum, nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping, validation_fraction=validation_fraction, beta_1=beta_1,
            beta_2=beta_2, epsilon=epsilon, n_iter_no_change=n_iter_no_change, max_fun=max_fun,
        )  # fmt: skip
        self.class_weight = class_weight
        self.dropout, self.normalization, self.schedule = dropout, normalization, schedule
        self.engine, self.dtype, self.device = engine, dtype, device

    def _fit(self, X: Any, y: Any, sample_weight: Any = None, incremental: bool = False) -> Any:
        if self.class_weight is not None:
            weights = compute_sample_weight(self.class_weight, y)
            if sample_weight is not None:
                weights = weights * _check_sample_weight(sample_weight, X)
            sample_weight = weights
        return super()._fit(X, y, sample_weight, incremental)


class MLPRegressor(Engined, sk.MLPRegressor):  # type: ignore[misc]  # scikit-learn has no types
    """scikit-learn's `MLPRegressor`, several times as fast: its parameters, attributes and meanings.

    Beyond scikit-learn's there are those of `MLPClassifier`, but for `class_weight`; `loss="poisson"` and
    lbfgs are scikit-learn's own.
    """

    _parameter_constraints = sk.MLPRegressor._parameter_constraints | MORE

    def __init__(
        self, loss: str = "squared_error", hidden_layer_sizes: Any = (100,), activation: str = "relu", *,
        solver: str = "adam", alpha: float = 0.0001, batch_size: Any = "auto",
        learning_rate: str = "constant", learning_rate_init: float = 0.001, power_t: float = 0.5,
        max_iter: int = 200, shuffle: bool = True, random_state: Any = None, tol: float = 1e-4,
        verbose: bool = False, warm_start: bool = False, momentum: float = 0.9,
        nesterovs_momentum: bool = True, early_stopping: bool = False, validation_fraction: float = 0.1,
        beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8, n_iter_no_change: int = 10,
        max_fun: int = 15000, dropout: float = 0.0,
        normalization: str | None = None, schedule: str = "constant", engine: str = "auto",
        dtype: str = "auto", device: str = "auto",
    ) -> None:  # fmt: skip
        super().__init__(
            loss=loss, hidden_layer_sizes=hidden_layer_sizes, activation=activation, solver=solver,
            alpha=alpha, batch_size=batch_size, learning_rate=learning_rate,
            learning_rate_init=learning_rate_init, power_t=power_t, max_iter=max_iter, shuffle=shuffle,
            random_state=random_state, tol=tol, verbose=verbose, warm_start=warm_start, momentum=momentum,
            nesterovs_momentum=nesterovs_momentum, early_stopping=early_stopping,
            validation_fraction=validation_fraction, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon,
            n_iter_no_change=n_iter_no_change, max_fun=max_fun,
        )  # fmt: skip
        self.dropout, self.normalization, self.schedule = dropout, normalization, schedule
        self.engine, self.dtype, self.device = engine, dtype, device
