"""Layers that make one array of several."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from fastlayers.backend import run
from fastlayers.checks import Array, feature_axis
from fastlayers.layer import Layer
from fastlayers.ops.geometry import expect_shape
from fastlayers.protocol import Shape

Arrays = tuple[Array, ...]


class _Merging(Layer):
    """Several inputs of equally many axes, elementwise; an axis of length 1 stands for any other length."""

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)  # refuses what does not fit

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shapes = self._several(input_shape)
        longest = tuple(max(sizes) if min(sizes) else 0 for sizes in zip(*shapes, strict=False))
        fits = all(size in (1, wanted) for shape in shapes for size, wanted in zip(shape, longest, strict=False))
        if len({len(shape) for shape in shapes}) > 1 or not fits:
            raise ValueError(f"{self.name} expects inputs of one shape, or of length 1 where they differ, got {shapes}")
        return longest

    def _several(self, shapes: Any) -> tuple[Shape, ...]:
        found = shapes if shapes and isinstance(shapes[0], tuple) else (shapes,)
        if len(found) < 2 or self.n_inputs not in (None, len(found)):
            expected = f"a tuple of {self.n_inputs or '2 or more'} inputs"
            raise TypeError(f"{self.name} expects {expected}, got {len(found)}: {', '.join(map(str, found))}")
        return found

    def _arrays(self, x: Any) -> Arrays:
        """x as it is, if it is a tuple of arrays of fitting shapes."""
        if type(x) is not tuple:
            raise TypeError(f"{self.name} expects x to be a tuple of arrays, got {type(x).__name__}")
        if len(x) < 2 or self.n_inputs not in (None, len(x)):
            raise TypeError(
                f"{self.name} expects x to be a tuple of {self.n_inputs or '2 or more'} arrays, got {len(x)}"
            )
        shape = x[0].shape
        if any(part.shape != shape for part in x):
            if len({part.shape[:1] for part in x}) > 1:
                raise ValueError(f"{self.name} expects batches of one size, got {', '.join(str(p.shape) for p in x)}")
            self.compute_output_shape(tuple(part.shape[1:] for part in x))
        return x

    def forward(self, x: Arrays, training: bool = False) -> tuple[Array, Any]:
        y = self.infer(x)
        return y, ([part.shape for part in x], y.shape)

    def backward(self, dy: Array, cache: Any) -> Arrays:
        shapes, output_shape = cache
        expect_shape(self.name, "dy", dy, output_shape)
        return tuple(map(summed_to, shapes, self._gradients(dy, len(shapes))))

    def _gradients(self, dy: Array, n: int) -> Arrays:
        """dx of each of n inputs, before sums over the axes along which an input was repeated."""
        raise NotImplementedError


class Add(_Merging):
    """y = x₁ + x₂ + …      each x (N, …) -> y (N, …)

    An axis that has length 1 in one input is repeated to the length it has in the others, here as in the other
    layers that merge elementwise.
    """

    def infer(self, x: Arrays) -> Array:
        return reduce(_sum, self._arrays(x))

    def _gradients(self, dy: Array, n: int) -> Arrays:
        return (dy,) * n


class Subtract(_Merging):
    """y = x₁ - x₂      x₁, x₂ (N, …) -> y (N, …)"""

    n_inputs = 2

    def infer(self, x: Arrays) -> Array:
        left, right = self._arrays(x)
        return left - right

    def _gradients(self, dy: Array, n: int) -> Arrays:
        return dy, -dy


class Average(_Merging):
    """y = (x₁ + … + x_n) / n      each x (N, …) -> y (N, …)"""

    def infer(self, x: Arrays) -> Array:
        y = reduce(_sum, self._arrays(x))
        y /= len(x)
        return y

    def _gradients(self, dy: Array, n: int) -> Arrays:
        return (dy / dy.dtype.type(n),) * n


class Multiply(_Merging):
    """y = x₁ · x₂ · …      each x (N, …) -> y (N, …)"""

    def infer(self, x: Arrays) -> Array:
        return reduce(_product, self._arrays(x))

    def forward(self, x: Arrays, training: bool = False) -> tuple[Array, Arrays]:
        return self.infer(x), x

    def backward(self, dy: Array, cache: Arrays) -> Arrays:
        shape = np.broadcast_shapes(*(part.shape for part in cache))
        expect_shape(self.name, "dy", dy, shape)
        return tuple(
            summed_to(part.shape, reduce(_product, cache[:index] + cache[index + 1 :], dy))
            for index, part in enumerate(cache)
        )


class Concatenate(Layer):
    """y = the inputs one after another along an axis      each x (N, …) -> y (N, …)

    axis   counts the batch axis as 0; the last one by default. The inputs have one length along all others
    """

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = feature_axis(self.name, axis)

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)  # refuses what does not fit

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shapes = input_shape
        if not shapes or not isinstance(shapes[0], tuple):
            raise TypeError(f"{self.name} expects a tuple of inputs, got one of shape {shapes}")
        axis = self.axis - 1 if self.axis > 0 else self.axis
        rank = len(shapes[0])
        if not -rank <= axis < rank:
            raise ValueError(f"{self.name} expects inputs that have an axis {self.axis}, got {shapes}")
        axis %= rank
        others = {(*shape[:axis], *shape[axis + 1 :]) if len(shape) == rank else None for shape in shapes}
        if len(others) > 1:
            raise ValueError(f"{self.name} expects inputs of one shape but for axis {self.axis}, got {shapes}")
        return (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])

    def infer(self, x: Arrays) -> Array:
        if type(x) is not tuple:
            raise TypeError(f"{self.name} expects x to be a tuple of arrays, got {type(x).__name__}")
        try:
            return np.concatenate(x, axis=self.axis)
        except ValueError as error:
            raise ValueError(f"{self.name} cannot put {', '.join(str(p.shape) for p in x)} together: {error}") from None

    def forward(self, x: Arrays, training: bool = False) -> tuple[Array, list[Shape]]:
        return self.infer(x), [part.shape for part in x]

    def backward(self, dy: Array, cache: list[Shape]) -> Arrays:
        n = cache[0][0]
        expect_shape(self.name, "dy", dy, (n, *self.compute_output_shape(tuple(shape[1:] for shape in cache))))
        ends = np.cumsum([shape[self.axis] for shape in cache])[:-1]
        return tuple(np.ascontiguousarray(part) for part in np.split(dy, ends, axis=self.axis))


def summed_to(shape: Shape, dx: Array) -> Array:
    """dx summed over the axes along which an input of this shape was repeated."""
    repeated = tuple(axis for axis, size in enumerate(shape) if axis and size == 1 != dx.shape[axis])
    return dx.sum(axis=repeated, keepdims=True) if repeated else dx


def _sum(a: Array, b: Array) -> Array:
    """a + b, through the op where nothing is repeated"""
    y: Array = run("add", a, b) if a.shape == b.shape else a + b
    return y


def _product(a: Array, b: Array) -> Array:
    """a · b, through the op where nothing is repeated"""
    y: Array = run("multiply", a, b) if a.shape == b.shape else a * b
    return y
