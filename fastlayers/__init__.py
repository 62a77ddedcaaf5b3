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
from fastlayers.graph import Graph
from fastlayers.graph_symbols import Input
from fastlayers.info import show_config
from fastlayers.layer import Layer, Parameter
from fastlayers.layers import (
    ELU,
    Activation,
    Add,
    Average,
    AveragePooling2D,
    Concatenate,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    Lambda,
    LeakyReLU,
    MaxPooling2D,
    Multiply,
    ReLU,
    Reshape,
    Softmax,
    Subtract,
)
from fastlayers.memory import empty_cache
from fastlayers.model import Sequential
from fastlayers.random_stream import RandomStream
from fastlayers.saving import FileFormatError, load, save
from fastlayers.settings import use
from fastlayers.training import Model

if TYPE_CHECKING:
    from fastlayers.checking import CheckError, check_layer
    from fastlayers.verification import VerificationError, verify, verifying

__all__ = [
    "ELU",
    "Activation",
    "Add",
    "Average",
    "AveragePooling2D",
    "CheckError",
    "Concatenate",
    "Conv2D",
    "Dense",
    "Dropout",
    "FileFormatError",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "Graph",
    "Input",
    "Lambda",
    "Layer",
    "LeakyReLU",
    "MaxPooling2D",
    "Model",
    "Multiply",
    "Parameter",
    "RandomStream",
    "ReLU",
    "Reshape",
    "Sequential",
    "Softmax",
    "Subtract",
    "VerificationError",
    "check_layer",
    "datasets",
    "empty_cache",
    "initializers",
    "load",
    "losses",
    "ops",
    "optimizers",
    "save",
    "show_config",
    "use",
    "verify",
    "verifying",
]

_LATE = {
    **dict.fromkeys(("VerificationError", "verify", "verifying"), "fastlayers.verification"),
    **dict.fromkeys(("CheckError", "check_layer"), "fastlayers.checking"),
}


def __getattr__(name: str) -> Any:
    """Verification and the checking of layers are loaded on first use, to keep the import quick."""
    if name in _LATE:
        return getattr(importlib.import_module(_LATE[name]), name)
    raise AttributeError(f"module 'fastlayers' has no attribute {name!r}")
