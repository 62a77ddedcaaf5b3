"""What the reference ops share: plain arrays, image layouts and the pixels that a tap reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlayers.shapes import Window2D

Array = NDArray[Any]


def plain(x: Array) -> Array:
    """x as a C-contiguous array in native byte order: x itself where it is one, else a copy."""
    return np.asarray(x, dtype=x.dtype.newbyteorder("="), order="C")


def to_channels_last(x: Array, data_format: str) -> Array:
    """x (N, H, W, C) or, for channels_first, (N, C, H, W) -> (N, H, W, C)"""
    return plain(x if data_format == "channels_last" else np.moveaxis(x, 1, 3))


def from_channels_last(y: Array, data_format: str) -> Array:
    """The inverse of `to_channels_last`."""
    return plain(y if data_format == "channels_last" else np.moveaxis(y, 3, 1))


def pad(x: Array, window: Window2D, value: float = 0.0) -> Array:
    """x (N, H, W, C) surrounded by `value`, as far out as any tap of the window reaches."""
    n, _, _, c = x.shape
    padded = np.full((n, *padded_size(window), c), value, x.dtype)
    crop(padded, window)[...] = x
    return padded


def padded_size(window: Window2D) -> tuple[int, int]:
    """Rows and columns of the padded image; ceil_mode may take them beyond bottom and right."""
    rows = (window.oh - 1) * window.sh + (window.kh - 1) * window.dh + 1
    columns = (window.ow - 1) * window.sw + (window.kw - 1) * window.dw + 1
    return (
        max(rows, window.top + window.h + window.bottom),
        max(columns, window.left + window.w + window.right),
    )


def crop(padded: Array, window: Window2D) -> Array:
    """The view of a padded image that is the image itself."""
    return padded[:, window.top : window.top + window.h, window.left : window.left + window.w]


def taps(window: Window2D) -> Iterator[tuple[int, int]]:
    """(i, j) of every tap, row by row."""
    return ((i, j) for i in range(window.kh) for j in range(window.kw))


def at_tap(padded: Array, window: Window2D, i: int, j: int) -> Array:
    """The view (N, OH, OW, C) of a padded image that holds what tap (i, j) reads for each output pixel."""
    top, left = i * window.dh, j * window.dw
    bottom = top + (window.oh - 1) * window.sh + 1
    right = left + (window.ow - 1) * window.sw + 1
    return padded[:, top : bottom : window.sh, left : right : window.sw]
