"""y = activation(x · W + b), and its gradients."""

from __future__ import annotations

from typing import Any

from fastlayers.backend import run
from fastlayers.checks import Array, same_floats
from fastlayers.ops.activation import elementwise
from fastlayers.ops.geometry import expect_shape, rows


def dense(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    activation: str | None = None,
    negative_slope: float = 0.2,
    alpha: float = 1.0,
    name: str = "dense",
) -> Array:
    """y = activation(x · W + b)      x (N, …, I), W (I, O), b (O,) or None -> y (N, …, O)

    `activation` is one of those of `ops.activation`. Raises ValueError for shapes that do not fit, TypeError
    for arrays that are not float32 or float64 throughout.
    """
    x, kernel, bias = same_floats(name, ("x", "kernel", "bias"), x, kernel, bias)
    inputs, units = _kernel_shape(name, kernel)
    shape = x.shape
    if len(shape) < 2 or shape[-1] != inputs:
        raise ValueError(f"{name} expects x of shape (N, …, {inputs}), got {shape}")
    if bias is not None and bias.shape != (units,):
        expect_shape(name, "bias", bias, (units,))
    function, slope = elementwise(name, activation, negative_slope, alpha)
    if len(shape) == 2:
        y: Array = run("dense", x, kernel, bias, function, slope)
        return y
    y = run("dense", rows(x), kernel, bias, function, slope)
    return y.reshape(*shape[:-1], units)


def dense_backward_input(dy: Array, kernel: Array, *, name: str = "dense") -> Array:
    """dx = dy · Wᵀ      dy (N, …, O), W (I, O) -> dx (N, …, I)"""
    dy, kernel = same_floats(name, ("dy", "kernel"), dy, kernel)
    inputs, units = _kernel_shape(name, kernel)
    if dy.ndim < 2 or dy.shape[-1] != units:
        raise ValueError(f"{name} expects dy of shape (N, …, {units}), got {dy.shape}")
    dx: Array = run("dense_backward_input", rows(dy), kernel)
    return dx if dy.ndim == 2 else dx.reshape(*dy.shape[:-1], inputs)


def dense_backward_weight(
    x: Array, dy: Array, *, with_bias: bool = True, name: str = "dense"
) -> tuple[Array, Array | None]:
    """dW = xᵀ · dy, db = Σ dy      x (N, …, I), dy (N, …, O) -> dW (I, O), db (O,), or None without bias"""
    x, dy = same_floats(name, ("x", "dy"), x, dy)
    if x.ndim < 2:
        raise ValueError(f"{name} expects x of shape (N, …, I), got {x.shape}")
    if dy.ndim != x.ndim or dy.shape[:-1] != x.shape[:-1]:
        leading = ", ".join(map(str, x.shape[:-1]))
        raise ValueError(f"{name} expects dy of shape ({leading}, O), got {dy.shape}")
    result: tuple[Any, Any] = run("dense_backward_weight", rows(x), rows(dy), with_bias)
    return result


def _kernel_shape(name: str, kernel: Array) -> tuple[int, int]:
    shape = kernel.shape
    if len(shape) != 2:
        raise ValueError(f"{name} expects a kernel of shape (I, O), got {shape}")
    return shape
