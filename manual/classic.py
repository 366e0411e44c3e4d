"""A multi-layer perceptron in plain NumPy: forward, backward, one step down. The rest is this, row by row.

    y = f₃(w₃ · f₂(w₂ · f₁(w₁ · x + b₁)))      every f a sigmoid, L the mean of ½ (y − ŷ)²

Samples are rows: x (N, in), y (N, out); a layer's W is (out, in), its b (out,).
"""

from typing import Any

import numpy as np

from manual.numbers import Array


# aᵢ = fᵢ₋₁ Wᵢᵀ + bᵢ, fᵢ = 1 / (1 + e^−aᵢ)
def forward(x: Array, weights: list[Array], biases: list[Array]) -> list[Array]:
    """x and the output of every layer; the last one is ŷ."""
    f = [x]
    for W, b in zip(weights, biases, strict=True):
        f.append(1 / (1 + np.exp(-(f[-1] @ W.T + b))))
    return f


# ∂L/∂ŷ = (ŷ − y) / (N · out); then, from the last layer to the first:
# ∂L/∂aᵢ = ∂L/∂fᵢ fᵢ (1 − fᵢ), ∂L/∂Wᵢ = (∂L/∂aᵢ)ᵀ fᵢ₋₁, ∂L/∂bᵢ = Σ ∂L/∂aᵢ, ∂L/∂fᵢ₋₁ = ∂L/∂aᵢ Wᵢ
def backward(y: Array, f: list[Array], weights: list[Array]) -> tuple[list[Array], list[Array]]:
    """∂L/∂W and ∂L/∂b of every layer, from what `forward` gave."""
    dW: list[Array] = []
    db: list[Array] = []
    d = (f[-1] - y) / y.size
    for i in reversed(range(len(weights))):
        d = d * f[i + 1] * (1 - f[i + 1])
        dW.insert(0, d.T @ f[i])
        db.insert(0, d.sum(axis=0))
        d = d @ weights[i]  # already computed, re-use (propagate)!
    return dW, db


# θ ← θ − η ∇θ
def step(parameters: list[Array], gradients: list[Array], lr: Any) -> list[Array]:
    """The parameters after one step."""
    return [p - lr * g for p, g in zip(parameters, gradients, strict=True)]
