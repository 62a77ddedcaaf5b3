"""Dense layers: y = activation(x · W + b)."""

from __future__ import annotations

import numpy as np

from fastlayers.reference.activation import activation as activate
from fastlayers.reference.arrays import Array, plain


@np.errstate(all="ignore")
def dense(x: Array, kernel: Array, bias: Array | None, activation: str, alpha: float) -> Array:
    """y = activation(x · W + b)      x (N, I), W (I, O), b (O,) or None -> y (N, O)"""
    y = plain(x) @ plain(kernel)
    if bias is not None:
        y += bias
    return activate(y, activation, alpha)


@np.errstate(all="ignore")
def dense_backward_input(dy: Array, kernel: Array) -> Array:
    """dx = dy · Wᵀ      dy (N, O), W (I, O) -> dx (N, I)"""
    return plain(plain(dy) @ plain(kernel).T)


@np.errstate(all="ignore")
def dense_backward_weight(x: Array, dy: Array, with_bias: bool) -> tuple[Array, Array | None]:
    """dW = xᵀ · dy, db = Σₙ dy      x (N, I), dy (N, O) -> dW (I, O), db (O,) or None"""
    x, dy = plain(x), plain(dy)
    return plain(x.T @ dy), dy.sum(axis=0) if with_bias else None
