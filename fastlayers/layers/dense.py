"""The fully connected layer."""

from __future__ import annotations

from typing import Any

from fastlayers import initializers, ops
from fastlayers.checks import Array
from fastlayers.layers.activation import Affine, checked_activation
from fastlayers.ops.geometry import expect_shape
from fastlayers.protocol import Shape
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

    def _linear(self, x: Array, activation: str | None) -> Array:
        bias = None if self.bias is None else self.bias.value
        return ops.dense(x, self.kernel.value, bias, activation=activation, name=self.name)

    def _input_gradient(self, x: Array, dz: Array) -> Array:
        expect_shape(self.name, "dy", dz, (*x.shape[:-1], self.units))
        return ops.dense_backward_input(dz, self.kernel.value, name=self.name)

    def _weight_gradients(self, x: Array, dz: Array, with_bias: bool) -> tuple[Array, Array | None]:
        expect_shape(self.name, "dy", dz, (*x.shape[:-1], self.units))
        return ops.dense_backward_weight(x, dz, with_bias=with_bias, name=self.name)
