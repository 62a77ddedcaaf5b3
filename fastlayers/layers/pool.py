"""Pooling layers: the maximum or the average over a window, or over the whole image."""

from __future__ import annotations

from typing import Any

from fastlayers import ops, shapes
from fastlayers.backend import kernels, run
from fastlayers.checks import F64, Array
from fastlayers.layer import Layer
from fastlayers.layers.conv import image_channels
from fastlayers.layers.windowed import Windowed
from fastlayers.ops.conv import Pair
from fastlayers.ops.geometry import Sliding, expect_shape
from fastlayers.ops.pool import geometry
from fastlayers.protocol import Shape
from fastlayers.settings import current


class _Pooling2D(Windowed):
    """Arguments and output shape of a pool."""

    n_inputs = 1

    allow_empty = False  # whether windows that read no pixel have a value

    def __init__(
        self,
        pool_size: Pair = 2,
        strides: Pair | None = None,
        padding: shapes.Padding = "valid",
        *,
        dilation_rate: Pair = 1,
        ceil_mode: bool = False,
        data_format: str = "channels_last",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        who = self.name
        self.pool_size = shapes.positive_pair(who, "pool_size", pool_size)
        self.strides = self.pool_size if strides is None else shapes.positive_pair(who, "strides", strides)
        self.padding = shapes.normalize_padding(who, padding)
        self.dilation_rate = shapes.positive_pair(who, "dilation_rate", dilation_rate)
        self.ceil_mode = shapes.check_bool(who, "ceil_mode", ceil_mode)
        self.data_format = shapes.check_data_format(who, data_format)

    def _resolve(self, x_shape: Shape) -> Sliding:
        options = (self.pool_size, self.strides, self.padding, self.dilation_rate, self.ceil_mode)
        return geometry(self.name, x_shape, *options, self.data_format, self.allow_empty)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        channels = image_channels(self.name, input_shape, self.data_format)
        window = shapes.pool2d_window(
            self.name,
            input_shape,
            self.pool_size,
            self.strides,
            self.padding,
            self.dilation_rate,
            self.data_format,
            self.ceil_mode,
            self.allow_empty,
        )
        return shapes.output_shape(window, channels, self.data_format)

    def workspace_bytes(self, input_shape: Shape, batch_size: int = 32) -> int:
        batch = shapes.positive_int(self.name, "batch_size", batch_size)
        channels = image_channels(self.name, input_shape, self.data_format)
        window, maximum = self._resolve((batch, *input_shape)).window, isinstance(self, MaxPooling2D)
        settings, double = current(), self._dtype == F64
        problem = (window, batch, channels, self.data_format, double, maximum)
        ask = kernels("pool").workspace
        return int(max(ask(*problem, backward, settings.isa, settings.threads) for backward in (False, True)))


class MaxPooling2D(_Pooling2D):
    """y = max over the pixels of a window      x (N, H, W, C) -> y (N, OH, OW, C)

    pool_size, strides   an int or (rows, columns); strides default to the pool size
    padding              "valid", "same", an int, or ((top, bottom), (left, right)); it holds no pixels
    dilation_rate        distance between taps, an int or (rows, columns)
    ceil_mode            round output sizes up: see `fastlayers.ops.pool`
    data_format          "channels_last", or "channels_first": x (N, C, H, W)
    name, dtype, trainable
                         as in every `Layer`

    The first of several maxima gets the gradient; a NaN in a window is its maximum.
    """

    def infer(self, x: Array) -> Array:
        y: Array = run("max_pool2d", x, self._sliding(x.shape).window, self.data_format, False)[0]
        return y

    def forward(self, x: Array, training: bool = False) -> tuple[Array, tuple[Array, Shape]]:
        y, argmax = run("max_pool2d", x, self._sliding(x.shape).window, self.data_format, True)
        return y, (argmax, x.shape)

    def backward(self, dy: Array, cache: tuple[Array, Shape]) -> Array:
        argmax, input_shape = cache
        window, y_shape = self._sliding(input_shape)
        expect_shape(self.name, "dy", dy, y_shape)
        dx: Array = run("max_pool2d_backward", dy, argmax, window, self.data_format)
        return dx


class AveragePooling2D(_Pooling2D):
    """y = mean over the pixels of a window      x (N, H, W, C) -> y (N, OH, OW, C)

    Arguments as in `MaxPooling2D`, and

    count_include_pad    divide by the number of taps inside the padded image, not just those inside the
                         image; a window wholly in padding then gives 0, else it is an error
    """

    def __init__(
        self,
        pool_size: Pair = 2,
        strides: Pair | None = None,
        padding: shapes.Padding = "valid",
        *,
        count_include_pad: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, **options)
        self.count_include_pad = shapes.check_bool(self.name, "count_include_pad", count_include_pad)
        self.allow_empty = self.count_include_pad

    def infer(self, x: Array) -> Array:
        window, _ = self._sliding(x.shape)
        y: Array = run("average_pool2d", x, window, self.data_format, self.count_include_pad)
        return y

    def forward(self, x: Array, training: bool = False) -> tuple[Array, Shape]:
        return self.infer(x), x.shape

    def backward(self, dy: Array, cache: Shape) -> Array:
        window, y_shape = self._sliding(cache)
        expect_shape(self.name, "dy", dy, y_shape)
        dx: Array = run("average_pool2d_backward", dy, window, self.data_format, self.count_include_pad)
        return dx


class _GlobalPooling2D(Layer):
    """A pool whose window is the whole image."""

    n_inputs = 1

    def __init__(self, data_format: str = "channels_last", keepdims: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.data_format = shapes.check_data_format(self.name, data_format)
        self.keepdims = shapes.check_bool(self.name, "keepdims", keepdims)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        channels = image_channels(self.name, input_shape, self.data_format)
        if not self.keepdims:
            return (channels,)
        return (1, 1, channels) if self.data_format == "channels_last" else (channels, 1, 1)

    def _window(self, shape: Shape) -> tuple[int, int]:
        """The pool size for x of this shape."""
        if len(shape) != 4:
            axes = "(N, H, W, C)" if self.data_format == "channels_last" else "(N, C, H, W)"
            raise ValueError(f"{self.name} expects x of shape {axes}, got {shape}")
        return shapes.split_shape(self.name, shape, self.data_format)[:2]

    def _options(self) -> dict[str, Any]:
        return {"data_format": self.data_format, "name": self.name}

    def _squeezed(self, y: Array) -> Array:
        """(N, 1, 1, C) as (N, C), unless keepdims"""
        channels = y.shape[3] if self.data_format == "channels_last" else y.shape[1]
        return y if self.keepdims else y.reshape(y.shape[0], channels)

    def _unsqueezed(self, dy: Array, input_shape: Shape) -> Array:
        """The inverse of `_squeezed`, with the shape of dy checked."""
        n, *example = input_shape
        expect_shape(self.name, "dy", dy, (n, *self.compute_output_shape(tuple(example))))
        if self.keepdims:
            return dy
        return dy[:, None, None, :] if self.data_format == "channels_last" else dy[:, :, None, None]


class GlobalMaxPooling2D(_GlobalPooling2D):
    """y = max over all pixels      x (N, H, W, C) -> y (N, C), with keepdims (N, 1, 1, C)"""

    def infer(self, x: Array) -> Array:
        return self._squeezed(ops.max_pool2d(x, self._window(x.shape), **self._options()))

    def forward(self, x: Array, training: bool = False) -> tuple[Array, tuple[Array, Shape]]:
        y, argmax = ops.max_pool2d_with_argmax(x, self._window(x.shape), **self._options())
        return self._squeezed(y), (argmax, x.shape)

    def backward(self, dy: Array, cache: tuple[Array, Shape]) -> Array:
        argmax, shape = cache
        dy = self._unsqueezed(dy, shape)
        return ops.max_pool2d_backward(dy, argmax, shape, self._window(shape), **self._options())


class GlobalAveragePooling2D(_GlobalPooling2D):
    """y = mean over all pixels      x (N, H, W, C) -> y (N, C), with keepdims (N, 1, 1, C)"""

    def infer(self, x: Array) -> Array:
        return self._squeezed(ops.average_pool2d(x, self._window(x.shape), **self._options()))

    def forward(self, x: Array, training: bool = False) -> tuple[Array, Shape]:
        return self.infer(x), x.shape

    def backward(self, dy: Array, cache: Shape) -> Array:
        dy = self._unsqueezed(dy, cache)
        return ops.average_pool2d_backward(dy, cache, self._window(cache), **self._options())
