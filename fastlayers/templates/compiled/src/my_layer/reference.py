"""What the layer computes, in NumPy: forward, and backward under it.

Each has a compiled twin in `_kernels`, with the same arguments and results. It runs once it has agreed with the
function here on this machine, for arguments of that kind; else the function here does.
"""

from __future__ import annotations

from typing import Any

import fastlayers as fl
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@fl.compiled_twin("my_layer._kernels:forward")
def forward(x: Array, scale: Array) -> Array:
    """y = scale · x / (1 + |x|)      x (rows, C), scale (C,) -> y (rows, C)"""
    return scale * x / (1 + np.abs(x))


@fl.compiled_twin("my_layer._kernels:backward")
def backward(dy: Array, x: Array, scale: Array) -> tuple[Array, Array]:
    """dx = dy · scale / (1 + |x|)²      dscale = Σ over rows of dy · x / (1 + |x|)

    since the slope of x / (1 + |x|) is 1 / (1 + |x|)². dy and x (rows, C), scale (C,) -> dx (rows, C), dscale (C,)
    """
    d = 1 + np.abs(x)
    dscale = np.sum(dy * x / d, axis=0, dtype=np.float64).astype(x.dtype)
    return dy * scale / (d * d), dscale
