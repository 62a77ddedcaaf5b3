"""The 2-D convolution layer."""

from __future__ import annotations

from typing import Any

from fastlayers import initializers, ops, shapes
from fastlayers.backend import run
from fastlayers.checks import Array
from fastlayers.layers.activation import Affine, checked_activation
from fastlayers.layers.windowed import Windowed
from fastlayers.ops.activation import BY_DEFAULT
from fastlayers.ops.conv import Pair, asked_for, geometry
from fastlayers.ops.geometry import Sliding
from fastlayers.protocol import Shape


class Conv2D(Affine, Windowed):
    """y = activation(x * W + b)      x (N, H, W, C), kernel (KH, KW, C/groups, filters), bias (filters,)
                                      -> y (N, OH, OW, filters)

    filters, kernel_size   numbers of output channels and of taps: an int or (rows, columns)
    strides                steps of the window, an int or (rows, columns)
    padding                "valid", "same", an int, or ((top, bottom), (left, right))
    dilation_rate          distance between taps, an int or (rows, columns)
    groups                 each group of filters sees its group of channels; divides both numbers
    data_format            "channels_last", or "channels_first": x (N, C, H, W), y (N, filters, OH, OW)
    activation             None or one of those of `Activation`; softmax is over the channels
    use_bias               without it there is no bias, and `layer.bias` is None
    algorithm              "auto", or one of `ops.algorithm_names()`, where it applies
    kernel_initializer, bias_initializer
                           first values, see `fastlayers.initializers`
    name, dtype, trainable
                           as in every `Layer`

    The sum itself is written out in `fastlayers.ops.conv`.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Pair,
        strides: Pair = 1,
        padding: shapes.Padding = "valid",
        *,
        dilation_rate: Pair = 1,
        groups: int = 1,
        data_format: str = "channels_last",
        activation: str | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        algorithm: str = "auto",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        who = self.name
        self.filters = shapes.positive_int(who, "filters", filters)
        self.kernel_size = shapes.positive_pair(who, "kernel_size", kernel_size)
        self.strides = shapes.positive_pair(who, "strides", strides)
        self.padding = shapes.normalize_padding(who, padding)
        self.dilation_rate = shapes.positive_pair(who, "dilation_rate", dilation_rate)
        self.groups = shapes.positive_int(who, "groups", groups)
        self.data_format = shapes.check_data_format(who, data_format)
        self.activation = checked_activation(who, activation)
        self.axis = -1 if data_format == "channels_last" else 1
        self.use_bias = shapes.check_bool(who, "use_bias", use_bias)
        self.kernel_initializer = initializers.get(who, kernel_initializer)
        self.bias_initializer = initializers.get(who, bias_initializer)
        self._wish = ops.check_algorithm(who, algorithm)

    def build(self, input_shape: Shape) -> None:
        channels = image_channels(self.name, input_shape, self.data_format)
        shapes.check_groups(self.name, channels, self.filters, self.groups)
        shape = (*self.kernel_size, channels // self.groups, self.filters)
        self.kernel = self.add_weight("kernel", shape, self.kernel_initializer)
        self.bias = self.add_weight("bias", self.filters, self.bias_initializer) if self.use_bias else None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        image_channels(self.name, input_shape, self.data_format)
        return shapes.output_shape(self._window(input_shape), self.filters, self.data_format)

    def _window(self, input_shape: Shape) -> shapes.Window2D:
        return shapes.conv2d_window(
            self.name,
            input_shape,
            self.kernel_size,
            self.strides,
            self.padding,
            self.dilation_rate,
            self.data_format,
        )

    def _resolve(self, x_shape: Shape) -> Sliding:
        options = (self.strides, self.padding, self.dilation_rate, self.groups, self.data_format)
        return geometry(self.name, x_shape, self.kernel.shape, *options)

    def _shape_of_y(self, x: Array) -> Shape:
        return self._sliding(x.shape).y_shape

    def _linear(self, x: Array, activation: str) -> Array:
        window, _ = self._sliding(x.shape)
        kernel, bias = self.kernel.value, None if self.bias is None else self.bias.value
        function, number = BY_DEFAULT[activation]
        y: Array = run(
            "conv2d", x, kernel, bias, window, self.groups, self.data_format, function, number, asked_for(self._wish)
        )
        return y

    def _input_gradient(self, x: Array, dz: Array) -> Array:
        window, _ = self._sliding(x.shape)
        kernel = self.kernel.value
        dx: Array = run(
            "conv2d_backward_input", dz, kernel, window, self.groups, self.data_format, asked_for(self._wish)
        )
        return dx

    def _weight_gradients(self, x: Array, dz: Array, with_bias: bool) -> tuple[Array, Array | None]:
        window, _ = self._sliding(x.shape)
        gradients: tuple[Array, Array | None] = run(
            "conv2d_backward_weight", x, dz, window, self.groups, self.data_format, with_bias, asked_for(self._wish)
        )
        return gradients

    def algorithm(self, input_shape: Shape, batch_size: int = 32) -> dict[str, str]:
        """Which algorithm each pass takes for batches of such examples: pass -> one of `ops.algorithm_names()`."""
        channels = image_channels(self.name, input_shape, self.data_format)
        shapes.check_groups(self.name, channels, self.filters, self.groups)
        return ops.chosen_algorithms(
            self._window(input_shape), batch_size, channels, self.filters, self.groups, self.dtype, self._wish
        )

    def workspace_bytes(self, input_shape: Shape, batch_size: int = 32) -> int:
        """As in `Layer`; `ops.workspaces` has it pass by pass."""
        channels = image_channels(self.name, input_shape, self.data_format)
        shapes.check_groups(self.name, channels, self.filters, self.groups)
        batch, window = shapes.positive_int(self.name, "batch_size", batch_size), self._window(input_shape)
        problem = (window, batch, channels, self.filters, self.groups, self.data_format)
        return max(ops.workspaces(*problem, self.dtype, self._wish).values())


def image_channels(name: str, input_shape: Shape, data_format: str) -> int:
    """The number of channels of one image; ValueError for what is no image."""
    if len(input_shape) != 3:
        axes = "(H, W, C)" if data_format == "channels_last" else "(C, H, W)"
        raise ValueError(f"{name} expects images of shape {axes}, got input shape {input_shape}")
    return shapes.split_shape(name, input_shape, data_format)[2]
