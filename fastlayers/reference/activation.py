"""Activation functions, element by element, and softmax over the last axis.

`activation_backward` takes what forward left behind: y, the output, from which most derivatives are
cheapest; for gelu and silu, which can't be inverted, x.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from fastlayers.reference.arrays import Array, plain

_erfc = np.frompyfunc(math.erfc, 1, 1)  # in double precision, whatever the dtype


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def _normal_cdf(x: Array) -> Array:
    """Φ(x) = erfc(-x/√2) / 2, which keeps its relative accuracy for negative x."""
    return np.asarray(_erfc(x / -math.sqrt(2)), x.dtype) / 2


def _normal_pdf(x: Array) -> Array:
    return np.asarray(np.exp(-x * x / 2) / math.sqrt(2 * math.pi))


def _finite(x: Array) -> Array:
    """x with the largest numbers for its infinities: a limit 0·∞ that is 0 comes out as 0."""
    return np.clip(x, np.finfo(x.dtype).min, np.finfo(x.dtype).max)


def _gelu_slope(x: Array) -> Array:
    x = _finite(x)
    return np.asarray(_normal_cdf(x) + x * _normal_pdf(x))


def _silu_slope(x: Array) -> Array:
    x = _finite(x)
    s = _sigmoid(x)
    return np.asarray(s * (1 + x * (1 - s)))


# name -> y from x and alpha
FORWARD: dict[str, Callable[[Array, float], Array]] = {
    "linear": lambda x, alpha: x.copy(),
    "relu": lambda x, alpha: np.where(x <= 0, x.dtype.type(0), x),
    "leaky_relu": lambda x, alpha: np.where(x <= 0, alpha * x, x),
    "elu": lambda x, alpha: np.where(x <= 0, alpha * np.expm1(x), x),
    "gelu": lambda x, alpha: np.where(x < 0, _finite(x), x) * _normal_cdf(x),
    "silu": lambda x, alpha: np.where(x < 0, _finite(x), x) * _sigmoid(x),
    "sigmoid": lambda x, alpha: _sigmoid(x),
    "tanh": lambda x, alpha: np.tanh(x),
    "softplus": lambda x, alpha: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
}

# name -> dx from dy, r (y, or x for gelu and silu) and alpha
BACKWARD: dict[str, Callable[[Array, Array, float], Array]] = {
    "linear": lambda dy, y, alpha: dy.copy(),
    "relu": lambda dy, y, alpha: np.where(y <= 0, dy.dtype.type(0), dy),
    "leaky_relu": lambda dy, y, alpha: np.where(y <= 0, alpha * dy, dy),
    "elu": lambda dy, y, alpha: np.where(y <= 0, dy * (y + alpha), dy),
    "gelu": lambda dy, x, alpha: dy * _gelu_slope(x),
    "silu": lambda dy, x, alpha: dy * _silu_slope(x),
    "sigmoid": lambda dy, y, alpha: dy * (y * (1 - y)),
    "tanh": lambda dy, y, alpha: dy * (1 - y * y),
    "softplus": lambda dy, y, alpha: dy * -np.expm1(-y),
}


@np.errstate(all="ignore")
def activation(x: Array, name: str, alpha: float) -> Array:
    """y = f(x), elementwise      x (any shape) -> y

    relu         max(x, 0)                               sigmoid    1 / (1 + exp(-x))
    leaky_relu   x > 0: x, else alpha·x   (alpha >= 0)   tanh       tanh(x)
    elu          x > 0: x, else alpha·(exp(x) - 1)       softplus   log(1 + exp(x))
    gelu         x·Φ(x), Φ the normal distribution       silu       x·sigmoid(x)
    linear       x

    NaN goes through all of them; at ±∞ each takes its limit. gelu: Hendrycks and Gimpel, arXiv:1606.08415,
    without the tanh approximation.
    """
    x = plain(x)
    return np.asarray(FORWARD[name](x, alpha), x.dtype)


@np.errstate(all="ignore")
def activation_backward(dy: Array, r: Array, name: str, alpha: float) -> Array:
    """dx = dy·f'(x)      dy, r (any one shape) -> dx      r = y; for gelu and silu r = x

    relu         y > 0: dy, else 0                       sigmoid    dy·y·(1 - y)
    leaky_relu   y > 0: dy, else dy·alpha                tanh       dy·(1 - y²)
    elu          y > 0: dy, else dy·(y + alpha)          softplus   dy·(1 - exp(-y))
    gelu         dy·(Φ(x) + x·φ(x))                      silu       dy·s·(1 + x·(1 - s)), s = sigmoid(x)
    linear       dy

    Where y is NaN the three with a kink give dy.
    """
    dy = plain(dy)
    return np.asarray(BACKWARD[name](dy, plain(r), alpha), dy.dtype)


@np.errstate(all="ignore")
def softmax(x: Array) -> Array:
    """y = exp(x - max x) / Σ exp(x - max x) over the last axis      x (M, C) -> y (M, C)"""
    x = plain(x)
    e = np.exp(x - x.max(axis=-1, keepdims=True, initial=-np.inf))
    return plain(e / e.sum(axis=-1, keepdims=True))


@np.errstate(all="ignore")
def softmax_backward(dy: Array, y: Array) -> Array:
    """dx = y·(dy - Σ dy·y) over the last axis      dy, y (M, C) -> dx (M, C)"""
    dy, y = plain(dy), plain(y)
    return plain(y * (dy - (dy * y).sum(axis=-1, keepdims=True)))
