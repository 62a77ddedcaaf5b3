"""The layers, under the names and with the arguments of Keras 3."""

from fastlayers.layers.activation import ELU, Activation, LeakyReLU, ReLU, Softmax
from fastlayers.layers.conv import Conv2D
from fastlayers.layers.dense import Dense
from fastlayers.layers.dropout import Dropout
from fastlayers.layers.pool import (
    AveragePooling2D,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    MaxPooling2D,
)
from fastlayers.layers.reshape import Flatten, Reshape

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
    "LeakyReLU",
    "MaxPooling2D",
    "ReLU",
    "Reshape",
    "Softmax",
]
