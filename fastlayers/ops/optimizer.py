"""One step of an optimizer on one weight, in place.

`value` and the slots (velocity, m, v) are written, so they must be C-contiguous, writable arrays; `grad` may
have any layout. Weight decay is decoupled and comes first: value *= 1 - learning_rate·weight_decay.
"""

from __future__ import annotations

import numpy as np

from fastlayers.backend import run
from fastlayers.checks import Array, real, same_floats
from fastlayers.ops.geometry import expect_shape
from fastlayers.shapes import check_bool, positive_int


def sgd_update(
    value: Array,
    grad: Array,
    velocity: Array | None = None,
    *,
    learning_rate: float = 0.01,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    name: str = "sgd_update",
) -> None:
    """velocity = momentum·velocity - learning_rate·grad; value += velocity

    nesterov: value += momentum·velocity - learning_rate·grad, with the new velocity. Without a velocity:
    value -= learning_rate·grad.
    """
    value, grad, velocity = same_floats(name, ("value", "grad", "velocity"), value, grad, velocity)
    _check_slots(name, value, grad, velocity=velocity)
    run(
        "sgd_update",
        value,
        grad,
        velocity,
        real(name, "learning_rate", learning_rate),
        real(name, "momentum", momentum),
        check_bool(name, "nesterov", nesterov),
        real(name, "weight_decay", weight_decay),
    )


def adam_update(
    value: Array,
    grad: Array,
    m: Array,
    v: Array,
    *,
    step: int,
    learning_rate: float = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    name: str = "adam_update",
) -> None:
    """m += (grad - m)·(1 - β₁); v += (grad² - v)·(1 - β₂); value -= α·m / (√v + ε)

    with α = learning_rate·√(1 - β₂ᵗ) / (1 - β₁ᵗ) in step t = 1, 2, …
    """
    value, grad, m, v = same_floats(name, ("value", "grad", "m", "v"), value, grad, m, v)
    _check_slots(name, value, grad, m=m, v=v)
    run(
        "adam_update",
        value,
        grad,
        m,
        v,
        positive_int(name, "step", step),
        real(name, "learning_rate", learning_rate),
        real(name, "beta_1", beta_1, below=1.0),
        real(name, "beta_2", beta_2, below=1.0),
        real(name, "epsilon", epsilon),
        real(name, "weight_decay", weight_decay),
    )


def _check_slots(name: str, value: Array, grad: Array, **slots: Array | None) -> None:
    expect_shape(name, "grad", grad, value.shape)
    for what, array in {"value": value, **slots}.items():
        if array is None:
            continue
        expect_shape(name, what, array, value.shape)
        if not (array.flags.carray and array.dtype.isnative):
            raise ValueError(
                f"{name} writes into {what}, which must be C-contiguous, aligned, writable and of native "
                f"byte order, got shape {array.shape}, strides {array.strides}, dtype {array.dtype}, "
                f"writeable={array.flags.writeable}"
            )
    for what, array in slots.items():
        if array is not None and np.may_share_memory(array, value):
            raise ValueError(f"{name} expects {what} and value to be different arrays")
