"""Maximum and average over the pixels of a window, channel by channel.

Taps are numbered row by row, t = i·kw + j. Padding holds no pixels: a maximum never sees it, an average
counts it in its divisor or not. Windows without any pixel are refused by `shapes.pool2d_window` where they
have no meaning.
"""

from __future__ import annotations

import numpy as np

from fastlayers.reference.arrays import (
    Array,
    at_tap,
    crop,
    from_channels_last,
    pad,
    padded_size,
    taps,
    to_channels_last,
)
from fastlayers.shapes import Window2D


@np.errstate(all="ignore")
def max_pool2d(x: Array, window: Window2D, data_format: str, with_argmax: bool) -> tuple[Array, Array | None]:
    """y = max over the taps inside x; argmax = the number of the first tap that holds it.

    The first NaN of a window wins over everything. x (N, H, W, C) -> y, argmax (N, OH, OW, C); argmax is
    uint8 for at most 256 taps, else int32, and None unless asked for.
    """
    x = to_channels_last(x, data_format)
    padded, inside = pad(x, window), pad(np.ones(x.shape, bool), window)
    y = np.zeros((x.shape[0], window.oh, window.ow, x.shape[3]), x.dtype)
    argmax = np.zeros(y.shape, np.uint8 if window.kh * window.kw <= 256 else np.int32)
    found = np.zeros(y.shape, bool)
    for t, (i, j) in enumerate(taps(window)):
        value = at_tap(padded, window, i, j)
        better = ~found | (value > y) | (np.isnan(value) & ~np.isnan(y))
        better &= at_tap(inside, window, i, j)
        y, argmax = np.where(better, value, y), np.where(better, argmax.dtype.type(t), argmax)
        found |= better
    indices = from_channels_last(argmax, data_format) if with_argmax else None
    return from_channels_last(y, data_format), indices


@np.errstate(all="ignore")
def max_pool2d_backward(dy: Array, argmax: Array, window: Window2D, data_format: str) -> Array:
    """dx: each dy goes to the pixel that was its window's maximum.

    dy, argmax (N, OH, OW, C) -> dx (N, H, W, C)
    """
    dy, argmax = to_channels_last(dy, data_format), to_channels_last(argmax, data_format)
    padded = np.zeros((dy.shape[0], *padded_size(window), dy.shape[3]), dy.dtype)
    for t, (i, j) in enumerate(taps(window)):
        at_tap(padded, window, i, j)[...] += np.where(argmax == t, dy, dy.dtype.type(0))
    return from_channels_last(crop(padded, window), data_format)


def divisors(window: Window2D, count_include_pad: bool) -> Array:
    """(1, OH, OW, 1): how many taps of each window lie inside the input or, if padding counts, inside the
    padded input, top + h + bottom by left + w + right. What ceil_mode adds beyond that never counts.
    """
    counted = np.zeros((1, *padded_size(window), 1), np.int64)
    if count_include_pad:
        counted[:, : window.top + window.h + window.bottom, : window.left + window.w + window.right] = 1
    else:
        crop(counted, window)[...] = 1
    count: Array = np.zeros((1, window.oh, window.ow, 1), np.int64)
    for i, j in taps(window):
        count += at_tap(counted, window, i, j)
    return count


@np.errstate(all="ignore")
def average_pool2d(x: Array, window: Window2D, data_format: str, count_include_pad: bool) -> Array:
    """y = (Σ over the taps inside x) / divisor      x (N, H, W, C) -> y (N, OH, OW, C); see `divisors`"""
    x = to_channels_last(x, data_format)
    padded = pad(x, window)
    y = np.zeros((x.shape[0], window.oh, window.ow, x.shape[3]), x.dtype)
    for i, j in taps(window):
        y += at_tap(padded, window, i, j)
    return from_channels_last(y / divisors(window, count_include_pad).astype(x.dtype), data_format)


@np.errstate(all="ignore")
def average_pool2d_backward(dy: Array, window: Window2D, data_format: str, count_include_pad: bool) -> Array:
    """dx: each pixel gets dy / divisor from every window that read it.

    dy (N, OH, OW, C) -> dx (N, H, W, C)
    """
    dy = to_channels_last(dy, data_format)
    share = dy / divisors(window, count_include_pad).astype(dy.dtype)
    padded = np.zeros((dy.shape[0], *padded_size(window), dy.shape[3]), dy.dtype)
    for i, j in taps(window):
        at_tap(padded, window, i, j)[...] += share
    return from_channels_last(crop(padded, window), data_format)
