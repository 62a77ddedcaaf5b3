"""2-D convolution (cross-correlation, as in every framework) with stride, padding, dilation and groups.

With C channels, O filters and G groups, filter o sees the C/G channels of its group g = o // (O/G):

    y[n, p, q, o] = b[o] + Σ_ijc x[n, p·sh - top + i·dh, q·sw - left + j·dw, g·C/G + c] · W[i, j, c, o]

where x is zero outside its H × W pixels. The compiled twin has several algorithms for these sums; here there is one,
whatever `algorithm` says.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastlayers.reference.activation import activation as activate
from fastlayers.reference.arrays import (
    Array,
    at_tap,
    crop,
    from_channels_last,
    pad,
    padded_size,
    plain,
    taps,
    to_channels_last,
)
from fastlayers.shapes import Window2D


def _groups(channels: int, filters: int, groups: int) -> Iterator[tuple[slice, slice]]:
    """The input channels and the filters of each group."""
    c, o = channels // groups, filters // groups
    return ((slice(g * c, g * c + c), slice(g * o, g * o + o)) for g in range(groups))


@np.errstate(all="ignore")
def conv2d(
    x: Array,
    kernel: Array,
    bias: Array | None,
    window: Window2D,
    groups: int,
    data_format: str,
    activation: str,
    alpha: float,
    algorithm: str = "auto",
) -> Array:
    """y = activation(x * W + b)

    x (N, H, W, C), W (KH, KW, C/groups, O), b (O,) or None -> y (N, OH, OW, O)
    For channels_first, x (N, C, H, W) -> y (N, O, OH, OW).
    """
    x, kernel = to_channels_last(x, data_format), plain(kernel)
    padded = pad(x, window)
    y = np.zeros((x.shape[0], window.oh, window.ow, kernel.shape[3]), x.dtype)
    for c, o in _groups(x.shape[3], kernel.shape[3], groups):
        for i, j in taps(window):
            y[..., o] += at_tap(padded, window, i, j)[..., c] @ kernel[i, j, :, o]
    if bias is not None:
        y += bias
    return from_channels_last(activate(y, activation, alpha), data_format)


@np.errstate(all="ignore")
def conv2d_backward_input(
    dy: Array, kernel: Array, window: Window2D, groups: int, data_format: str, algorithm: str = "auto"
) -> Array:
    """dx: each dy[n, p, q, o] · W[i, j, c, o] goes to the pixel of x that the tap read.

    dy (N, OH, OW, O), W (KH, KW, C/groups, O) -> dx (N, H, W, C)
    """
    dy, kernel = to_channels_last(dy, data_format), plain(kernel)
    channels = kernel.shape[2] * groups
    padded = np.zeros((dy.shape[0], *padded_size(window), channels), dy.dtype)
    for c, o in _groups(channels, kernel.shape[3], groups):
        for i, j in taps(window):
            at_tap(padded, window, i, j)[..., c] += dy[..., o] @ kernel[i, j, :, o].T
    return from_channels_last(crop(padded, window), data_format)


@np.errstate(all="ignore")
def conv2d_backward_weight(
    x: Array,
    dy: Array,
    window: Window2D,
    groups: int,
    data_format: str,
    with_bias: bool,
    algorithm: str = "auto",
) -> tuple[Array, Array | None]:
    """dW[i, j, c, o] = Σ_npq dy[n, p, q, o] · x[n, p·sh - top + i·dh, q·sw - left + j·dw, g·C/G + c]

    db[o] = Σ_npq dy[n, p, q, o]

    x (N, H, W, C), dy (N, OH, OW, O) -> dW (KH, KW, C/groups, O), db (O,) or None
    """
    x, dy = to_channels_last(x, data_format), to_channels_last(dy, data_format)
    padded = pad(x, window)
    channels, filters = x.shape[3], dy.shape[3]
    dkernel = np.zeros((window.kh, window.kw, channels // groups, filters), x.dtype)
    for c, o in _groups(channels, filters, groups):
        for i, j in taps(window):
            pixels = at_tap(padded, window, i, j)[..., c].reshape(-1, channels // groups)
            dkernel[i, j, :, o] = pixels.T @ dy[..., o].reshape(-1, filters // groups)
    return dkernel, dy.sum(axis=(0, 1, 2)) if with_bias else None
