"""2-D convolution, y = activation(x * W + b), and its gradients.

    y[n, p, q, o] = b[o] + Σ_ijc x[n, p·sh - top + i·dh, q·sw - left + j·dw, g·C/G + c] · W[i, j, c, o]

with zero outside of x, for filter o of group g = o // (O/G). Arguments that all functions here share:

    strides         steps of the window, an int or (rows, columns)
    padding         "valid", "same", an int, or ((top, bottom), (left, right))
    dilation_rate   distance between taps, an int or (rows, columns)
    groups          number of groups G: filters of one see the channels of that group only
    data_format     "channels_last": x (N, H, W, C), y (N, OH, OW, O)
                    "channels_first": x (N, C, H, W), y (N, O, OH, OW)
    algorithm       "auto", or one of `algorithm_names()` where it applies: how the sums are formed, and how precisely

Raises ValueError for shapes and numbers that do not fit, TypeError for arrays not float32 or float64
throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastlayers import shapes
from fastlayers._kernels import conv as kernels
from fastlayers.backend import run
from fastlayers.checks import Array, same_floats
from fastlayers.ops.activation import elementwise
from fastlayers.ops.geometry import Sliding, expect_shape, remembered
from fastlayers.settings import current

Pair = int | tuple[int, int]


def conv2d(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    strides: Pair = 1,
    padding: shapes.Padding = "valid",
    dilation_rate: Pair = 1,
    groups: int = 1,
    data_format: str = "channels_last",
    activation: str | None = None,
    negative_slope: float = 0.2,
    alpha: float = 1.0,
    algorithm: str = "auto",
    name: str = "conv2d",
) -> Array:
    """y = activation(x * W + b)

    x (N, H, W, C), W (KH, KW, C/groups, O), b (O,) or None -> y (N, OH, OW, O)
    """
    x, kernel, bias = same_floats(name, ("x", "kernel", "bias"), x, kernel, bias)
    window, _ = geometry(name, x.shape, kernel.shape, strides, padding, dilation_rate, groups, data_format)
    if bias is not None and bias.shape != kernel.shape[3:]:
        expect_shape(name, "bias", bias, kernel.shape[3:])
    function, slope = elementwise(name, activation, negative_slope, alpha)
    y: Array = run("conv2d", x, kernel, bias, window, groups, data_format, function, slope, asked_for(algorithm))
    return y


def conv2d_backward_input(
    dy: Array,
    kernel: Array,
    input_shape: Sequence[int],
    *,
    strides: Pair = 1,
    padding: shapes.Padding = "valid",
    dilation_rate: Pair = 1,
    groups: int = 1,
    data_format: str = "channels_last",
    algorithm: str = "auto",
    name: str = "conv2d",
) -> Array:
    """dx: each dy[n, p, q, o]·W[i, j, c, o] goes to the pixel of x that the tap read.

    dy (N, OH, OW, O), W (KH, KW, C/groups, O) -> dx of `input_shape`, (N, H, W, C)
    """
    dy, kernel = same_floats(name, ("dy", "kernel"), dy, kernel)
    window, y_shape = geometry(
        name, tuple(input_shape), kernel.shape, strides, padding, dilation_rate, groups, data_format
    )
    expect_shape(name, "dy", dy, y_shape)
    dx: Array = run("conv2d_backward_input", dy, kernel, window, groups, data_format, asked_for(algorithm))
    return dx


def conv2d_backward_weight(
    x: Array,
    dy: Array,
    kernel_size: Pair,
    *,
    strides: Pair = 1,
    padding: shapes.Padding = "valid",
    dilation_rate: Pair = 1,
    groups: int = 1,
    data_format: str = "channels_last",
    with_bias: bool = True,
    algorithm: str = "auto",
    name: str = "conv2d",
) -> tuple[Array, Array | None]:
    """dW: for each tap and pair of channels, Σ over examples and pixels of x·dy; db = Σ dy

    x (N, H, W, C), dy (N, OH, OW, O) -> dW (KH, KW, C/groups, O), db (O,), or None without bias
    """
    x, dy = same_floats(name, ("x", "dy"), x, dy)
    window, y_shape = _weight_geometry(
        name, x.shape, dy.shape, kernel_size, strides, padding, dilation_rate, groups, data_format
    )
    expect_shape(name, "dy", dy, y_shape)
    wish = asked_for(algorithm)
    result: tuple[Any, Any] = run("conv2d_backward_weight", x, dy, window, groups, data_format, with_bias, wish)
    return result


def algorithm_names() -> list[str]:
    """The algorithms that `algorithm` may name, in the order in which "auto" considers them."""
    return list(kernels.ALGORITHMS)


def check_algorithm(name: str, algorithm: str) -> str:
    if algorithm not in ("auto", *kernels.ALGORITHMS):
        raise ValueError(f"{name} expects algorithm to be auto, {', '.join(kernels.ALGORITHMS)}, got {algorithm!r}")
    return algorithm


def chosen_algorithms(
    window: shapes.Window2D, batch: int, channels: int, filters: int, groups: int, dtype: str, algorithm: str
) -> dict[str, str]:
    """Which algorithm each pass of such a convolution takes, under the present settings: pass -> name."""
    wish = asked_for(algorithm)
    return {
        which: kernels.algorithm(
            window, batch, channels, filters, groups, dtype == "float64", which, wish, current().isa
        )
        for which in kernels.PASSES
    }


def workspaces(
    window: shapes.Window2D,
    batch: int,
    channels: int,
    filters: int,
    groups: int,
    data_format: str,
    dtype: str,
    algorithm: str,
) -> dict[str, int]:
    """The bytes of scratch that each pass of such a convolution takes, under the present settings: pass -> bytes."""
    wish, settings = asked_for(algorithm), current()
    double = dtype == "float64"
    pixels = window.h * window.w * channels + window.oh * window.ow * filters
    copies = batch * pixels * (8 if double else 4) if data_format == "channels_first" else 0  # of x and y, or theirs
    problem = (window, batch, channels, filters, groups, double)
    return {
        which: copies + kernels.workspace(*problem, which, wish, settings.isa, settings.threads)
        for which in kernels.PASSES
    }


def asked_for(algorithm: str) -> str:
    """What the kernels are asked for: "auto" keeps to the precise sums where the settings say so."""
    return "precise" if algorithm == "auto" and current().precision == "high" else algorithm


@remembered
def geometry(
    name: str,
    x_shape: tuple[int, ...],
    kernel_shape: tuple[int, ...],
    strides: Any,
    padding: Any,
    dilation_rate: Any,
    groups: Any,
    data_format: str,
) -> Sliding:
    """The window over x, and the shape of y; ValueError and TypeError for whatever does not fit."""
    if len(kernel_shape) != 4 or 0 in kernel_shape:
        expected = "a kernel of shape (KH, KW, C/groups, O), none of them 0"
        raise ValueError(f"{name} expects {expected}, got {kernel_shape}")
    kh, kw, channels, filters = kernel_shape
    groups = shapes.positive_int(name, "groups", groups)
    _check_image(name, x_shape, channels * groups, data_format)
    shapes.check_groups(name, channels * groups, filters, groups)
    window = shapes.conv2d_window(name, x_shape, (kh, kw), strides, padding, dilation_rate, data_format)
    y_shape = (x_shape[0], *shapes.output_shape(window, filters, data_format))
    shapes.checked_size(name, y_shape, 8)
    return Sliding(window, y_shape)


@remembered
def _weight_geometry(
    name: str, x_shape: tuple[int, ...], dy_shape: tuple[int, ...], kernel_size: Any, *rest: Any
) -> Sliding:
    """As `geometry`, where the kernel is what we are looking for: its shape from those of x and dy."""
    groups, data_format = rest[-2:]
    axis = -1 if shapes.check_data_format(name, data_format) == "channels_last" else 1
    if len(dy_shape) != 4 or dy_shape[axis] == 0:
        raise ValueError(f"{name} expects dy of rank 4 with at least one filter, got shape {dy_shape}")
    if len(x_shape) != 4:
        raise ValueError(f"{name} expects x of rank 4, got shape {x_shape}")
    channels, filters = x_shape[axis], dy_shape[axis]
    shapes.check_groups(name, channels, filters, groups)
    size = shapes.positive_pair(name, "kernel_size", kernel_size)
    return geometry(name, x_shape, (*size, channels // groups, filters), *rest)


def _check_image(name: str, shape: tuple[int, ...], channels: int, data_format: str) -> None:
    last = shapes.check_data_format(name, data_format) == "channels_last"
    if len(shape) != 4 or shape[-1 if last else 1] != channels:
        expected = f"(N, H, W, {channels})" if last else f"(N, {channels}, H, W)"
        raise ValueError(f"{name} expects x of shape {expected}, got {shape}")
