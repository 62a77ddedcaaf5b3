"""Layers as users write them, for the tests."""

from __future__ import annotations

import numpy as np

import fastlayers as fl


class Scale(fl.Layer, registered_name="tests.Scale"):
    """y = gamma * x      x (N, ..., C), gamma (C,) -> y (N, ..., C)"""

    def build(self, input_shape):
        self.gamma = self.add_weight("gamma", (input_shape[-1],), initializer="ones")

    def compute_output_shape(self, input_shape):
        return input_shape

    def forward(self, x, training=False):
        return self.gamma.value * x, x

    def backward(self, dy, cache):
        x = cache
        self.gamma.grad += (dy * x).reshape(-1, x.shape[-1]).sum(axis=0)
        return self.gamma.value * dy


class Branches(fl.Layer, registered_name="tests.Branches"):
    """y = Σ branch(x): layers in a list, a dict and an attribute, and a weight of its own"""

    def __init__(self, units, *, activation=None, **options):
        super().__init__(**options)
        self.listed = [fl.Dense(units, activation), [fl.Dense(units)]]
        self.named = {"left": fl.Dense(units), "right": fl.Dense(units)}
        self.scale = Scale()
        self.again = self.scale

    def build(self, input_shape):
        self.offset = self.add_weight("offset", input_shape, "zeros")

    def compute_output_shape(self, input_shape):
        return self.listed[0].compute_output_shape(input_shape)

    def forward(self, x, training=False):
        x, cache = self.scale.forward(x + self.offset.value, training)
        pairs = [layer.forward(x, training) for layer in self.branches()]
        return sum(y for y, _ in pairs), (cache, [c for _, c in pairs])

    def backward(self, dy, cache):
        first, caches = cache
        dx = sum(layer.backward(dy, c) for layer, c in zip(self.branches(), caches, strict=True))
        dx = self.scale.backward(dx, first)
        self.offset.grad += dx.sum(axis=0)
        return dx

    def branches(self):
        return [self.listed[0], self.listed[1][0], *self.named.values()]


def batch(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(dtype)
