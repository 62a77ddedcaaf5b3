"""Activations as layers, and what Dense and Conv2D share: an activation fused into the op before it."""

from __future__ import annotations

from typing import Any

from fastlayers import ops
from fastlayers.backend import run
from fastlayers.checks import Array, feature_axis
from fastlayers.layer import Layer
from fastlayers.ops.activation import BACKWARD_FROM, ELEMENTWISE, check_name, elementwise
from fastlayers.ops.geometry import expect_shape
from fastlayers.parameter import Parameter
from fastlayers.protocol import Shape


class Activation(Layer):
    """y = f(x)      x (N, …) -> y of the same shape

    activation       "linear", "relu", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh", "softplus":
                     element by element (see `ops.activation`); "softmax": over the last axis
    negative_slope   of leaky_relu
    alpha            of elu
    """

    n_inputs = 1

    def __init__(self, activation: str, negative_slope: float = 0.2, alpha: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.activation = checked_activation(self.name, activation)
        elementwise(self.name, "leaky_relu", negative_slope, alpha)
        elementwise(self.name, "elu", negative_slope, alpha)
        self.negative_slope, self.alpha = negative_slope, alpha

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def infer(self, x: Array) -> Array:
        return activate(self.name, x, self.activation, self.negative_slope, self.alpha)

    def forward(self, x: Array, training: bool = False) -> tuple[Array, Array]:
        y = self.infer(x)
        return y, x if BACKWARD_FROM.get(self.activation) == "x" else y

    def backward(self, dy: Array, cache: Array) -> Array:
        return activate_backward(self.name, dy, cache, self.activation, self.negative_slope, self.alpha)


class ReLU(Activation):
    """y = max(x, 0)"""

    def __init__(self, **options: Any) -> None:
        super().__init__("relu", **options)


class LeakyReLU(Activation):
    """y = x where x > 0, else negative_slope·x"""

    def __init__(self, negative_slope: float = 0.3, **options: Any) -> None:
        super().__init__("leaky_relu", negative_slope=negative_slope, **options)


class ELU(Activation):
    """y = x where x > 0, else alpha·(exp(x) - 1)"""

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        super().__init__("elu", alpha=alpha, **options)


class Softmax(Layer):
    """y = exp(x) / Σ exp(x) along one axis      x (N, …) -> y of the same shape

    `axis` counts the batch axis as 0.
    """

    n_inputs = 1

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = feature_axis(self.name, axis)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def infer(self, x: Array) -> Array:
        return ops.softmax(x, self.axis, name=self.name)

    def forward(self, x: Array, training: bool = False) -> tuple[Array, Array]:
        y = self.infer(x)
        return y, y

    def backward(self, dy: Array, cache: Array) -> Array:
        return ops.softmax_backward(dy, cache, self.axis, name=self.name)


class Affine(Layer):
    """y = activation(z), z linear in x and in kernel and bias: the part that Dense and Conv2D have in common.

    The activation is fused into the op that computes z. Only gelu and silu, whose gradients need z itself,
    and softmax run as an op of their own, in `forward`; the numbers are the same, bit by bit.

    Arrays have been checked at the layer's door, so the three methods below check shapes and call the backend;
    the functions of `fastlayers.ops`, which check everything, are for those who come without a layer.
    """

    n_inputs = 1

    activation: str
    axis = -1  # of softmax: the channels
    kernel: Parameter
    bias: Parameter | None

    def _linear(self, x: Array, activation: str) -> Array:
        """activation(z); ValueError for an x that does not fit"""
        raise NotImplementedError

    def _shape_of_y(self, x: Array) -> Shape:
        """The shape of y, and of dy, batch axis included."""
        raise NotImplementedError

    def _weight_gradients(self, x: Array, dz: Array, with_bias: bool) -> tuple[Array, Array | None]:
        """dkernel, dbias"""
        raise NotImplementedError

    def _input_gradient(self, x: Array, dz: Array) -> Array:
        """dx"""
        raise NotImplementedError

    def infer(self, x: Array) -> Array:
        if self.activation == "softmax":
            return activate(self.name, self._linear(x, "linear"), "softmax", axis=self.axis)
        return self._linear(x, self.activation)

    def forward(self, x: Array, training: bool = False) -> tuple[Array, tuple[Array, Array | None]]:
        if self.activation == "linear":
            return self._linear(x, "linear"), (x, None)
        if BACKWARD_FROM.get(self.activation) == "y":
            y = self._linear(x, self.activation)
            return y, (x, y)
        z = self._linear(x, "linear")
        y = activate(self.name, z, self.activation, axis=self.axis)
        return y, (x, y if self.activation == "softmax" else z)

    def backward(self, dy: Array, cache: tuple[Array, Array | None]) -> Array:
        x, dz = self._before_activation(dy, cache)
        self._add_gradients(x, dz)
        return self._input_gradient(x, dz)

    def backward_parameters(self, dy: Array, cache: tuple[Array, Array | None]) -> None:
        self._add_gradients(*self._before_activation(dy, cache))

    def _before_activation(self, dy: Array, cache: tuple[Array, Array | None]) -> tuple[Array, Array]:
        """x, dz"""
        x, r = cache
        if r is None:
            expect_shape(self.name, "dy", dy, self._shape_of_y(x))
            return x, dy
        return x, activate_backward(self.name, dy, r, self.activation, axis=self.axis)

    def _add_gradients(self, x: Array, dz: Array) -> None:
        """Gradients of the weights that train; frozen ones cost nothing."""
        bias = self.bias if self.bias is not None and self.bias.trainable else None
        if not self.kernel.trainable and bias is None:
            return
        dkernel, dbias = self._weight_gradients(x, dz, bias is not None)
        if self.kernel.trainable:
            self.kernel.add_gradient(dkernel)
        if bias is not None and dbias is not None:
            bias.add_gradient(dbias)


def checked_activation(name: str, activation: str | None) -> str:
    """The name of an activation, "linear" for None; ValueError or TypeError for what is none."""
    return "linear" if activation is None else check_name(name, activation, (*ELEMENTWISE, "softmax"))


def activate(
    name: str, x: Array, activation: str, negative_slope: float = 0.2, alpha: float = 1.0, axis: int = -1
) -> Array:
    """Any activation, softmax included, of an array that a layer has checked."""
    if activation == "softmax":
        return ops.softmax(x, axis, name=name)
    y: Array = run("activation", x, *elementwise(name, activation, negative_slope, alpha))
    return y


def activate_backward(
    name: str,
    dy: Array,
    r: Array,
    activation: str,
    negative_slope: float = 0.2,
    alpha: float = 1.0,
    axis: int = -1,
) -> Array:
    """dx from what the forward of `activate` left behind, y or, for gelu and silu, x; dy is to have its shape."""
    if activation == "softmax":
        return ops.softmax_backward(dy, r, axis, name=name)
    expect_shape(name, "dy", dy, r.shape)
    dx: Array = run("activation_backward", dy, r, *elementwise(name, activation, negative_slope, alpha))
    return dx
