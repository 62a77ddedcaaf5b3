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

from typing import TYPE_CHECKING

# _openmp first: how OpenMP's idle threads wait is decided when the kernels load it. The others read the environment.
from fastlayers import _openmp, memory, settings  # noqa: F401
from fastlayers._lazy import loaded_on_use

if TYPE_CHECKING:
    from fastlayers import datasets, initializers, losses, ops, optimizers
    from fastlayers.checking import CheckError, check_layer
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
    from fastlayers.paths import get_include
    from fastlayers.random_stream import RandomStream
    from fastlayers.saving import FileFormatError, load, save
    from fastlayers.settings import use
    from fastlayers.training import Model
    from fastlayers.twin import compiled_twin, compiled_twins
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
    "compiled_twin",
    "compiled_twins",
    "datasets",
    "empty_cache",
    "get_include",
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

if not TYPE_CHECKING:
    __getattr__, __dir__ = loaded_on_use(
        __name__,
        set(__all__) - {"datasets", "initializers", "losses", "ops", "optimizers"},
        homes={
            "CheckError": "checking",
            "FileFormatError": "saving",
            "Graph": "graph",
            "Input": "graph_symbols",
            "Layer": "layer",
            "Model": "training",
            "Parameter": "layer",
            "RandomStream": "random_stream",
            "Sequential": "model",
            "VerificationError": "verification",
            "check_layer": "checking",
            "compiled_twin": "twin",
            "compiled_twins": "twin",
            "empty_cache": "memory",
            "get_include": "paths",
            "load": "saving",
            "save": "saving",
            "show_config": "info",
            "use": "settings",
            "verify": "verification",
            "verifying": "verification",
        },
        others="layers",
    )
