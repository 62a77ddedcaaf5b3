"""One step of an optimizer on one weight, in place; the formulas of Keras 3.

Weight decay is decoupled (Loshchilov and Hutter, arXiv:1711.05101) and comes first:
value *= 1 - learning_rate·weight_decay.
"""

from __future__ import annotations

import math

import numpy as np

from fastlayers.reference.arrays import Array


@np.errstate(all="ignore")
def sgd_update(
    value: Array,
    grad: Array,
    velocity: Array | None,
    learning_rate: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """velocity = momentum·velocity - learning_rate·grad; value += velocity

    nesterov: value += momentum·velocity - learning_rate·grad, with the new velocity. Without a velocity:
    value -= learning_rate·grad. Writes value and velocity.
    """
    value *= 1 - learning_rate * weight_decay
    step = learning_rate * grad
    if velocity is None:
        value -= step
        return
    velocity *= momentum
    velocity -= step
    value += momentum * velocity - step if nesterov else velocity


@np.errstate(all="ignore")
def adam_update(
    value: Array,
    grad: Array,
    m: Array,
    v: Array,
    step: int,
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    weight_decay: float,
) -> None:
    """m += (grad - m)·(1 - β₁); v += (grad² - v)·(1 - β₂); value -= α·m / (√v + ε)

    with α = learning_rate·√(1 - β₂ᵗ) / (1 - β₁ᵗ) in step t = 1, 2, … Writes value, m and v.
    Kingma and Ba, arXiv:1412.6980, in the form at the end of its section 2, where ε stands beside √v.
    """
    alpha = learning_rate * math.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    value *= 1 - learning_rate * weight_decay
    m += (grad - m) * (1 - beta_1)
    v += (grad * grad - v) * (1 - beta_2)
    value -= alpha * m / (np.sqrt(v) + epsilon)
