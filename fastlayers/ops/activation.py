"""Activation functions over arrays of any shape, and softmax along one axis."""

from __future__ import annotations

import numpy as np

from fastlayers.backend import run
from fastlayers.checks import Array, axis_number, real, same_floats
from fastlayers.ops.geometry import expect_shape, rows

# name -> what backward works from: the output y or the input x
BACKWARD_FROM = {
    "linear": "y",
    "relu": "y",
    "leaky_relu": "y",
    "elu": "y",
    "gelu": "x",
    "silu": "x",
    "sigmoid": "y",
    "tanh": "y",
    "softplus": "y",
}
ELEMENTWISE = tuple(BACKWARD_FROM)
# what `elementwise` returns for the functions that have no number
_PLAIN = {name: (name, 0.0) for name in ELEMENTWISE if name not in ("leaky_relu", "elu")}
# function -> itself and its number by default, as the kernels take them
BY_DEFAULT = _PLAIN | {"leaky_relu": ("leaky_relu", 0.2), "elu": ("elu", 1.0)}


def elementwise(name: str, activation: str | None, negative_slope: float, alpha: float) -> tuple[str, float]:
    """(function, its one number) as the kernels take them; ValueError for a name that is not in the table."""
    if activation is None:
        return "linear", 0.0
    if type(activation) is str and activation in _PLAIN:
        return _PLAIN[activation]
    function = check_name(name, activation, ELEMENTWISE)
    if function == "leaky_relu":
        return function, real(name, "negative_slope", negative_slope)
    return function, real(name, "alpha", alpha)


def check_name(name: str, activation: object, names: tuple[str, ...]) -> str:
    """`activation` if it is one of `names`; ValueError, for what is no string TypeError."""
    if isinstance(activation, str):
        if activation in names:
            return activation
        raise ValueError(f"{name} expects activation to be one of {', '.join(names)}, got {activation!r}")
    raise TypeError(f"{name} expects activation to be None or one of {', '.join(names)}, got {activation!r}")


def activation(
    x: Array,
    activation: str | None,
    *,
    negative_slope: float = 0.2,
    alpha: float = 1.0,
    name: str = "activation",
) -> Array:
    """y = f(x), element by element      x (any shape) -> y

    relu         max(x, 0)                                        sigmoid    1 / (1 + exp(-x))
    leaky_relu   x > 0: x, else negative_slope·x                  tanh       tanh(x)
    elu          x > 0: x, else alpha·(exp(x) - 1)                softplus   log(1 + exp(x))
    gelu         x·Φ(x), Φ the normal distribution                silu       x·sigmoid(x)
    linear       x                                                None       linear

    NaN stays NaN in all of them. negative_slope and alpha are finite and >= 0.
    """
    (x,) = same_floats(name, ("x",), x)
    y: Array = run("activation", x, *elementwise(name, activation, negative_slope, alpha))
    return y


def activation_backward(
    dy: Array,
    r: Array,
    activation: str | None,
    *,
    negative_slope: float = 0.2,
    alpha: float = 1.0,
    name: str = "activation",
) -> Array:
    """dx = dy · f'(x)      dy, r (any one shape) -> dx

    r is the output y of `ops.activation`; for gelu and silu, which cannot be inverted, its input x.
    """
    dy, r = same_floats(name, ("dy", "r"), dy, r)
    expect_shape(name, "dy", dy, r.shape)
    dx: Array = run("activation_backward", dy, r, *elementwise(name, activation, negative_slope, alpha))
    return dx


def relu(x: Array) -> Array:
    """y = max(x, 0)"""
    return activation(x, "relu", name="relu")


def leaky_relu(x: Array, negative_slope: float = 0.2) -> Array:
    """y = x where x > 0, else negative_slope·x"""
    return activation(x, "leaky_relu", negative_slope=negative_slope, name="leaky_relu")


def elu(x: Array, alpha: float = 1.0) -> Array:
    """y = x where x > 0, else alpha·(exp(x) - 1)"""
    return activation(x, "elu", alpha=alpha, name="elu")


def gelu(x: Array) -> Array:
    """y = x·Φ(x), Φ the distribution function of N(0, 1); exact, without the tanh approximation"""
    return activation(x, "gelu", name="gelu")


def silu(x: Array) -> Array:
    """y = x / (1 + exp(-x))"""
    return activation(x, "silu", name="silu")


def sigmoid(x: Array) -> Array:
    """y = 1 / (1 + exp(-x))"""
    return activation(x, "sigmoid", name="sigmoid")


def tanh(x: Array) -> Array:
    """y = tanh(x)"""
    return activation(x, "tanh", name="tanh")


def softplus(x: Array) -> Array:
    """y = log(1 + exp(x))"""
    return activation(x, "softplus", name="softplus")


def softmax(x: Array, axis: int = -1, *, name: str = "softmax") -> Array:
    """y = exp(x - max x) / Σ exp(x - max x) along one axis      x (any shape of rank >= 1) -> y"""
    (x,) = same_floats(name, ("x",), x)
    _check_axis(name, x, axis)
    return _from_rows(run("softmax", _to_rows(x, axis)), x, axis)


def softmax_backward(dy: Array, y: Array, axis: int = -1, *, name: str = "softmax") -> Array:
    """dx = y·(dy - Σ dy·y) along one axis      dy, y (any one shape) -> dx"""
    dy, y = same_floats(name, ("dy", "y"), dy, y)
    _check_axis(name, y, axis)
    expect_shape(name, "dy", dy, y.shape)
    return _from_rows(run("softmax_backward", _to_rows(dy, axis), _to_rows(y, axis)), y, axis)


def _check_axis(name: str, x: Array, axis: int) -> None:
    if not -x.ndim <= axis_number(name, axis) < x.ndim:
        raise ValueError(f"{name} expects axis to be one of the {x.ndim} axes of x {x.shape}, got {axis}")


def _to_rows(x: Array, axis: int) -> Array:
    """x with `axis` moved last, as (M, C)"""
    return rows(x if axis in (-1, x.ndim - 1) else np.moveaxis(x, axis, -1))


def _from_rows(y: Array, like: Array, axis: int) -> Array:
    """The inverse of `_to_rows` for an array shaped like `like`."""
    if axis in (-1, like.ndim - 1):
        return y.reshape(like.shape)
    shape = np.moveaxis(like, axis, -1).shape
    return np.ascontiguousarray(np.moveaxis(y.reshape(shape), -1, axis))
