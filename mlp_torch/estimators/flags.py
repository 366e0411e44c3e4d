"""An estimator's parameters as the flags of `mlp train`, checked and named as scikit-learn names them."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlp_torch.config import ON_CPU, Train
from mlp_torch.engines import choose_engine
from mlp_torch.errors import UserError
from mlp_torch.machine import resolve_device

# scikit-learn's word for an activation, where it is not torch's
ACTIVATION_NAMES = {"logistic": "sigmoid"}
LOSSES = {"logistic": "bce_with_logits", "softmax": "cross_entropy", "identity": "half_squared_error"}
# the parameter that stands behind a flag of `mlp train`
PARAMETERS = {
    "--hidden": "hidden_layer_sizes", "--optimizer": "solver", "--l2": "alpha", "--lr": "learning_rate_init",
    "--epochs": "max_iter", "--batch-size": "batch_size", "--nesterov": "nesterovs_momentum", "--": "",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Flags(Train):
    """The flags that say what an estimator's parameters say; `more` are the optimizer's beyond them."""

    more: tuple[tuple[str, Any], ...] = ()

    def optimizer_options(self) -> dict[str, Any]:
        """As `Train`'s, and `more`."""
        return super().optimizer_options() | dict(self.more)


def flags(estimator: Any, n: int, inputs: int, dtype: np.dtype[Any], weight: float = 1.0) -> Flags:
    """The estimator's parameters as checked flags, its engine chosen; UserError names the parameter.

    `weight` is the mean of the samples' weights: ½ α Σ‖W‖² is divided by the weight of a batch, as there.
    """
    sizes = estimator.hidden_layer_sizes
    hidden = tuple(np.atleast_1d(sizes).astype(int).tolist()) if np.size(sizes) else ()
    outputs, solver = estimator.n_outputs_, estimator.rule_
    batch_size = min(200, n) if estimator.batch_size == "auto" else int(np.clip(estimator.batch_size, 1, n))
    k = scale(estimator)
    sgd, adaptive = solver == "sgd", solver in ("adam", "adamw")
    more = {"betas": (estimator.beta_1, estimator.beta_2), "eps": estimator.epsilon / k} if adaptive else {}
    loss = LOSSES[estimator.out_activation_]
    config = Flags(
        hidden=hidden,
        activation=ACTIVATION_NAMES.get(estimator.activation, estimator.activation),
        loss=loss,
        optimizer=solver,
        l2=float(estimator.alpha) / (batch_size * weight) / k,
        momentum=float(estimator.momentum) if sgd else 0.0,
        nesterov=bool(sgd and estimator.nesterovs_momentum and estimator.momentum > 0),
        lr=float(estimator.learning_rate_init),
        batch_size=batch_size,
        dropout=float(estimator.dropout),
        normalization=estimator.normalization or "none",
        schedule="constant",
        engine=estimator.engine,
        dtype=str(dtype),
        device=estimator.device,
        seed=int(estimator._random_state.randint(2**31)),
        more=tuple(more.items()),
    )
    try:
        config.check()
        device = "cpu" if config.engine in ON_CPU else resolve_device(config.device, config.dtype)
        if config.engine == "auto":
            steps = int(estimator.max_iter) * math.ceil(n / batch_size)
            engine, _ = choose_engine(
                config, config.architecture(inputs, outputs), loss, device, steps, lasting=True
            )
            config = replace(config, engine=engine)
    except UserError as error:
        text = str(error)
        for flag, name in PARAMETERS.items():
            text = text.replace(flag, name)
        raise UserError(text) from None
    return replace(config, device=device)


def scale(estimator: Any) -> int:
    """By how much scikit-learn's gradient is larger: the outputs that our elementwise losses average over."""
    return 1 if estimator.out_activation_ == "softmax" else int(estimator.n_outputs_)
