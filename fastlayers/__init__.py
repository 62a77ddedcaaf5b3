"""Neural-network layers for the CPU, forward and backward, as compiled kernels with a NumPy twin for each.

    import fastlayers as fl

    model = fl.Sequential([fl.Conv2D(32, 3, activation="relu"), fl.Flatten(), fl.Dense(10)], input_shape=(28, 28, 1))
    y, cache = model.forward(x, training=True)
    loss, dy = fl.losses.SparseCategoricalCrossentropy(from_logits=True)(y, labels)
    model.backward(dy, cache)
    optimizer.step(model.parameters())

`fl.ops` has every op as a function over arrays, `fl.use` chooses the path, `fl.verify` proves that the two agree here.
"""

from __future__ import annotations

__version__ = "0.1.0"

import importlib
from typing import TYPE_CHECKING, Any

# _openmp comes first: how OpenMP's idle threads wait is decided when the kernels load it.
from fastlayers import _openmp, datasets, initializers, losses, ops, optimizers  # noqa: F401
from fastlayers.info import show_config
from fastlayers.layer import Layer, Parameter
from fastlayers.layers import (
    ELU,
    Activation,
    AveragePooling2D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    LeakyReLU,
    MaxPooling2D,
    ReLU,
    Reshape,
    Softmax,
)
from fastlayers.memory import empty_cache
from fastlayers.model import Sequential
from fastlayers.settings import use
from fastlayers.training import Model

if TYPE_CHECKING:
    from fastlayers.verification import VerificationError, verify, verifying

__all__ = [
    "ELU",
    "Activation",
    "AveragePooling2D",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "Layer",
    "LeakyReLU",
    "MaxPooling2D",
    "Model",
    "Parameter",
    "ReLU",
    "Reshape",
    "Sequential",
    "Softmax",
    "VerificationError",
    "datasets",
    "empty_cache",
    "initializers",
    "losses",
    "ops",
    "optimizers",
    "show_config",
    "use",
    "verify",
    "verifying",
]

_LATE = dict.fromkeys(("VerificationError", "verify", "verifying"), "fastlayers.verification")


def __getattr__(name: str) -> Any:
    """Verification and its table of cases are loaded on first use, to keep the import quick."""
    if name in _LATE:
        return getattr(importlib.import_module(_LATE[name]), name)
    raise AttributeError(f"module 'fastlayers' has no attribute {name!r}")
