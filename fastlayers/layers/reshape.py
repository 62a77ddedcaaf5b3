"""Layers that change the shape and leave the numbers where they are."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from fastlayers.checks import Array
from fastlayers.layer import Layer
from fastlayers.ops.geometry import expect_shape
from fastlayers.protocol import Shape


class _Reshaping(Layer):
    """y = x in another shape: a view where the memory layout allows it."""

    n_inputs = 1

    def forward(self, x: Array, training: bool = False) -> tuple[Array, Shape]:
        return x.reshape(x.shape[0], *self.compute_output_shape(x.shape[1:])), x.shape

    def backward(self, dy: Array, cache: Shape) -> Array:
        expect_shape(self.name, "dy", dy, (cache[0], *self.compute_output_shape(cache[1:])))
        return dy.reshape(cache)


class Flatten(_Reshaping):
    """y = the numbers of each example in a row      x (N, …) -> y (N, F)

    In the order of x, whatever its data format.
    """

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)


class Reshape(_Reshaping):
    """y = x with examples of another shape      x (N, …) -> y (N, *target_shape)

    One entry of target_shape may be -1: it becomes what is left.
    """

    def __init__(self, target_shape: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        try:
            self.target_shape = tuple(operator.index(n) for n in target_shape)
        except TypeError:
            self.target_shape = (-2,)
        if min(self.target_shape, default=0) < -1 or self.target_shape.count(-1) > 1:
            expected = "target_shape to be a tuple of ints >= 0, one of them may be -1"
            raise ValueError(f"{self.name} expects {expected}, got {target_shape!r}")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        size = math.prod(input_shape)
        known = math.prod(n for n in self.target_shape if n != -1)
        free = size // known if known else 0
        shape = tuple(free if n == -1 else n for n in self.target_shape)
        if math.prod(shape) != size:
            raise ValueError(f"{self.name} expects examples that fit into {self.target_shape}, got shape {input_shape}")
        return shape
