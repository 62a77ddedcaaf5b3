"""The fully connected layer."""

from __future__ import annotations

import math
from typing import Any

from fastlayers import initializers, ops
from fastlayers.backend import kernels, run
from fastlayers.checks import F64, Array
from fastlayers.layers.activation import Affine, checked_activation
from fastlayers.ops.activation import BY_DEFAULT
from fastlayers.ops.geometry import rows
from fastlayers.protocol import Shape
from fastlayers.settings import current
from fastlayers.shapes import check_bool, positive_int


class Dense(Affine):
    """y = activation(x · W + b)      x (N, …, I), W = kernel (I, units), b = bias (units,) -> y (N, …, units)

    activation           None or one of those of `Activation`
    use_bias             without it there is no b, and `layer.bias` is None
    kernel_initializer, bias_initializer
                         first values, see `fastlayers.initializers`
    name, dtype, trainable
                         as in every `Layer`
    """

    def __init__(
        self,
        units: int,
        activation: str | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.units = positive_int(self.name, "units", units)
        self.activation = checked_activation(self.name, activation)
        self.use_bias = check_bool(self.name, "use_bias", use_bias)
        self.kernel_initializer = initializers.get(self.name, kernel_initializer)
        self.bias_initializer = initializers.get(self.name, bias_initializer)

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)  # refuses shapes without an axis
        self.kernel = self.add_weight("kernel", (input_shape[-1], self.units), self.kernel_initializer)
        self.bias = self.add_weight("bias", self.units, self.bias_initializer) if self.use_bias else None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if not input_shape:
            raise ValueError(f"{self.name} expects examples of shape (…, I), got input shape ()")
        return (*input_shape[:-1], self.units)

    def _linear(self, x: Array, activation: str) -> Array:
        kernel, bias = self.kernel.value, None if self.bias is None else self.bias.value
        shape = x.shape
        if len(shape) != 2 or shape[1] != kernel.shape[0]:
            return ops.dense(x, kernel, bias, activation=activation, name=self.name)
        y: Array = run("dense", x, kernel, bias, *BY_DEFAULT[activation])
        return y

    def _input_gradient(self, x: Array, dz: Array) -> Array:
        dx: Array = run("dense_backward_input", rows(dz), self.kernel.value)
        return dx if x.ndim == 2 else dx.reshape(x.shape)

    def _weight_gradients(self, x: Array, dz: Array, with_bias: bool) -> tuple[Array, Array | None]:
        gradients: tuple[Array, Array | None] = run("dense_backward_weight", rows(x), rows(dz), with_bias)
        return gradients

    def _shape_of_y(self, x: Array) -> Shape:
        return (*x.shape[:-1], self.units)

    def workspace_bytes(self, input_shape: Shape, batch_size: int = 32) -> int:
        self.compute_output_shape(input_shape)  # refuses shapes without an axis
        n = math.prod((positive_int(self.name, "batch_size", batch_size), *input_shape[:-1]))
        settings, family = current(), kernels("dense")
        problem = (n, input_shape[-1], self.units, self._dtype == F64)
        needs = [family.workspace(*problem, which, settings.isa, settings.threads) for which in family.PASSES]
        return int(max(needs))
