"""The layer: its weights, shapes, and what is computed; the arithmetic is in `reference`."""

from __future__ import annotations

import math
from typing import Any

import fastlayers as fl
from numpy.typing import NDArray

from my_layer import reference

Array = NDArray[Any]
Shape = tuple[int, ...]


class MyLayer(fl.Layer, registered_name="my_layer.MyLayer"):
    """y = scale · x / (1 + |x|)      x (N, …, C), scale (C,) -> y (N, …, C)

    Softsign, with one learned factor for each channel.
    """

    n_inputs = 1

    def build(self, input_shape: Shape) -> None:
        if not input_shape:
            raise ValueError(f"{self.name} expects x of shape (N, …, C), got (N,)")
        self.scale = self.add_weight("scale", (input_shape[-1],), initializer="ones")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def forward(self, x: Array, training: bool = False) -> tuple[Array, Array]:
        y = reference.forward(_rows(x), self.scale.value)
        return y.reshape(x.shape), x  # y, and what backward needs

    def backward(self, dy: Array, cache: Array) -> Array:
        x = cache
        dx, dscale = reference.backward(_rows(dy), _rows(x), self.scale.value)
        self.scale.add_gradient(dscale)  # adds; several uses of the layer sum up
        return dx.reshape(x.shape)


def _rows(x: Array) -> Array:
    """x (N, …, C) as (rows, C)."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
