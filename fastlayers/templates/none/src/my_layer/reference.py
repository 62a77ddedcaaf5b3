"""What the layer computes, in NumPy: forward, and backward under it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def forward(x: Array, scale: Array) -> Array:
    """y = scale · x / (1 + |x|)      x (rows, C), scale (C,) -> y (rows, C)"""
    return scale * x / (1 + np.abs(x))


def backward(dy: Array, x: Array, scale: Array) -> tuple[Array, Array]:
    """dx = dy · scale / (1 + |x|)²      dscale = Σ over rows of dy · x / (1 + |x|)

    since the slope of x / (1 + |x|) is 1 / (1 + |x|)². dy and x (rows, C), scale (C,) -> dx (rows, C), dscale (C,)
    """
    d = 1 + np.abs(x)
    dscale = np.sum(dy * x / d, axis=0, dtype=np.float64).astype(x.dtype)
    return dy * scale / (d * d), dscale
