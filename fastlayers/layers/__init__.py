"""The layers, under the names and with the arguments of Keras 3."""

from fastlayers.layers.activation import ELU, Activation, LeakyReLU, ReLU, Softmax
from fastlayers.layers.conv import Conv2D
from fastlayers.layers.dense import Dense
from fastlayers.layers.dropout import Dropout
from fastlayers.layers.function import Lambda
from fastlayers.layers.merge import Add, Average, Concatenate, Multiply, Subtract
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
    "Add",
    "Average",
    "AveragePooling2D",
    "Concatenate",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "Lambda",
    "LeakyReLU",
    "MaxPooling2D",
    "Multiply",
    "ReLU",
    "Reshape",
    "Softmax",
    "Subtract",
]
