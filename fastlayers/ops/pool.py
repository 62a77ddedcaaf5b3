"""Maximum and average over windows of an image, and their gradients. Arguments that all functions here share:

    pool_size       size of the window, an int or (rows, columns)
    strides         steps of the window; by default the pool size
    padding         "valid", "same", an int, or ((top, bottom), (left, right)); padding holds no pixels
    dilation_rate   distance between taps, an int or (rows, columns)
    ceil_mode       round output sizes up: a last window may reach beyond the padded input, but must start
                    before the bottom or right padding
    data_format     "channels_last": x (N, H, W, C), y (N, OH, OW, C)
                    "channels_first": x (N, C, H, W), y (N, C, OH, OW)

Raises ValueError for shapes and numbers that do not fit and for windows that read no pixel at all (but for an
average that counts padding, where such a window gives 0); TypeError for arrays that are not float32 or
float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastlayers import shapes
from fastlayers.backend import run
from fastlayers.checks import Array, plain_array, same_floats
from fastlayers.ops.conv import Pair
from fastlayers.ops.geometry import Sliding, expect_shape, remembered


def max_pool2d(
    x: Array,
    pool_size: Pair = 2,
    *,
    strides: Pair | None = None,
    padding: shapes.Padding = "valid",
    dilation_rate: Pair = 1,
    ceil_mode: bool = False,
    data_format: str = "channels_last",
    name: str = "max_pool2d",
) -> Array:
    """y = max over the taps inside x      x (N, H, W, C) -> y (N, OH, OW, C)

    A NaN in a window is its maximum.
    """
    (x,) = same_floats(name, ("x",), x)
    window, _ = geometry(name, x.shape, pool_size, strides, padding, dilation_rate, ceil_mode, data_format, False)
    y: Array = run("max_pool2d", x, window, data_format, False)[0]
    return y


def max_pool2d_with_argmax(
    x: Array,
    pool_size: Pair = 2,
    *,
    strides: Pair | None = None,
    padding: shapes.Padding = "valid",
    dilation_rate: Pair = 1,
    ceil_mode: bool = False,
    data_format: str = "channels_last",
    name: str = "max_pool2d",
) -> tuple[Array, Array]:
    """y as in `max_pool2d`, and argmax, the tap i·kw + j of the first maximum (or of the first NaN).

    argmax has the shape of y; uint8 for windows of at most 256 taps, else int32.
    """
    (x,) = same_floats(name, ("x",), x)
    window, _ = geometry(name, x.shape, pool_size, strides, padding, dilation_rate, ceil_mode, data_format, False)
    result: tuple[Array, Array] = run("max_pool2d", x, window, data_format, True)
    return result


def max_pool2d_backward(
    dy: Array,
    argmax: Array,
    input_shape: Sequence[int],
    pool_size: Pair = 2,
    *,
    strides: Pair | None = None,
    padding: shapes.Padding = "valid",
    dilation_rate: Pair = 1,
    ceil_mode: bool = False,
    data_format: str = "channels_last",
    name: str = "max_pool2d",
) -> Array:
    """dx: each dy goes to the pixel that was its window's maximum.

    dy, argmax (N, OH, OW, C) -> dx of `input_shape`, (N, H, W, C)
    """
    (dy,) = same_floats(name, ("dy",), dy)
    argmax = plain_array(name, "argmax", argmax)
    window, y_shape = geometry(
        name, tuple(input_shape), pool_size, strides, padding, dilation_rate, ceil_mode, data_format, False
    )
    expect_shape(name, "dy", dy, y_shape)
    expect_shape(name, "argmax", argmax, y_shape)
    expected = np.uint8 if window.kh * window.kw <= 256 else np.int32
    if argmax.dtype.type is not expected:
        raise TypeError(f"{name} expects argmax of dtype {np.dtype(expected)}, got {argmax.dtype}")
    dx: Array = run("max_pool2d_backward", dy, argmax, window, data_format)
    return dx


def average_pool2d(
    x: Array,
    pool_size: Pair = 2,
    *,
    strides: Pair | None = None,
    padding: shapes.Padding = "valid",
    dilation_rate: Pair = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    data_format: str = "channels_last",
    name: str = "average_pool2d",
) -> Array:
    """y = (Σ over the taps inside x) / divisor      x (N, H, W, C) -> y (N, OH, OW, C)

    The divisor is the number of taps inside x or, with count_include_pad, inside x and its padding; what
    ceil_mode adds beyond the padding never counts.
    """
    (x,) = same_floats(name, ("x",), x)
    count_include_pad = shapes.check_bool(name, "count_include_pad", count_include_pad)
    window, _ = geometry(
        name, x.shape, pool_size, strides, padding, dilation_rate, ceil_mode, data_format, count_include_pad
    )
    y: Array = run("average_pool2d", x, window, data_format, count_include_pad)
    return y


def average_pool2d_backward(
    dy: Array,
    input_shape: Sequence[int],
    pool_size: Pair = 2,
    *,
    strides: Pair | None = None,
    padding: shapes.Padding = "valid",
    dilation_rate: Pair = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    data_format: str = "channels_last",
    name: str = "average_pool2d",
) -> Array:
    """dx: each pixel gets dy / divisor from every window that read it.

    dy (N, OH, OW, C) -> dx of `input_shape`, (N, H, W, C)
    """
    (dy,) = same_floats(name, ("dy",), dy)
    count_include_pad = shapes.check_bool(name, "count_include_pad", count_include_pad)
    shape = tuple(input_shape)
    window, y_shape = geometry(
        name, shape, pool_size, strides, padding, dilation_rate, ceil_mode, data_format, count_include_pad
    )
    expect_shape(name, "dy", dy, y_shape)
    dx: Array = run("average_pool2d_backward", dy, window, data_format, count_include_pad)
    return dx


@remembered
def geometry(
    name: str,
    x_shape: tuple[int, ...],
    pool_size: Any,
    strides: Any,
    padding: Any,
    dilation_rate: Any,
    ceil_mode: Any,
    data_format: str,
    allow_empty: bool,
) -> Sliding:
    """The window over x, and the shape of y; ValueError and TypeError for whatever does not fit."""
    last = shapes.check_data_format(name, data_format) == "channels_last"
    if len(x_shape) != 4:
        raise ValueError(f"{name} expects x of shape {'(N, H, W, C)' if last else '(N, C, H, W)'}, got {x_shape}")
    window = shapes.pool2d_window(
        name, x_shape, pool_size, strides, padding, dilation_rate, data_format, ceil_mode, allow_empty
    )
    channels = x_shape[3] if last else x_shape[1]
    y_shape = (x_shape[0], *shapes.output_shape(window, channels, data_format))
    shapes.checked_size(name, y_shape, 8)
    return Sliding(window, y_shape)
