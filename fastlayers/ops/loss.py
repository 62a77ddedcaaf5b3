"""Losses over a batch, each with its gradient: (value, dy).

Values are means, over the positions of y (all axes but the last) for the categorical losses, over all
elements for the others; sums are in double precision. An empty batch has the value 0. Probabilities are
clipped to [1e-7, 1 - 1e-7], with gradient 0 where one was. Raises ValueError for shapes and labels that do
not fit, TypeError for arrays that are not float32 or float64 throughout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastlayers._kernels.runtime import all_below
from fastlayers.backend import run
from fastlayers.checks import Array, same_floats
from fastlayers.ops.geometry import expect_shape, rows
from fastlayers.shapes import check_bool

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def sparse_categorical_crossentropy(
    y: Array, labels: ArrayLike, *, from_logits: bool = False, name: str = "sparse_categorical_crossentropy"
) -> tuple[float, Array]:
    """value = -mean(log p[label]), p = softmax(y) from logits, else y

    y (N, …, C), labels (N, …) -> value, dy (N, …, C)
    Labels are whole numbers in 0 … C - 1.
    """
    (y,) = same_floats(name, ("y",), y)
    if y.ndim < 2:
        raise ValueError(f"{name} expects y of shape (N, …, C), got {y.shape}")
    indices = class_indices(name, labels, y.shape).reshape(-1)
    return _run("sparse_categorical_crossentropy", y, rows(y), indices, check_bool(name, "from_logits", from_logits))


def categorical_crossentropy(
    y: Array, targets: Array, *, from_logits: bool = False, name: str = "categorical_crossentropy"
) -> tuple[float, Array]:
    """value = -mean(Σ_c t·log p), p = softmax(y) from logits, else y      y, t (N, …, C) -> value, dy"""
    y, targets = _pair(name, y, targets)
    if y.ndim < 2:
        raise ValueError(f"{name} expects y of shape (N, …, C), got {y.shape}")
    from_logits = check_bool(name, "from_logits", from_logits)
    return _run("categorical_crossentropy", y, rows(y), rows(targets), from_logits)


def binary_crossentropy(
    y: Array, targets: Array, *, from_logits: bool = False, name: str = "binary_crossentropy"
) -> tuple[float, Array]:
    """value = -mean(t·log p + (1 - t)·log(1 - p)), p = sigmoid(y) from logits, else y

    y, t (any one shape) -> value, dy
    """
    y, targets = _pair(name, y, targets)
    return _run("binary_crossentropy", y, y, targets, check_bool(name, "from_logits", from_logits))


def mean_squared_error(y: Array, targets: Array, *, name: str = "mean_squared_error") -> tuple[float, Array]:
    """value = mean((y - t)²)      y, t any one shape -> value, dy"""
    y, targets = _pair(name, y, targets)
    return _run("mean_squared_error", y, y, targets)


def class_indices(name: str, labels: ArrayLike, y_shape: tuple[int, ...]) -> Array:
    """Labels for y (N, …, C) as int64; an error names the first that is no whole number in 0 … C - 1."""
    array = np.asarray(labels)
    if array.shape != y_shape[:-1]:
        hint = ": for one-hot targets use CategoricalCrossentropy" if array.shape == y_shape else ""
        raise ValueError(f"{name} expects labels of shape {y_shape[:-1]}, got {array.shape}{hint}")
    if array.dtype.kind not in "iubf":
        raise TypeError(f"{name} expects labels to be whole numbers, got dtype {array.dtype}")
    if array.dtype.kind == "f":
        _refuse(name, array, array != np.floor(array), "whole numbers")
    usual = array.dtype == np.int64 and array.flags.carray
    if not usual or not all_below(array.reshape(-1), y_shape[-1]):
        _refuse(name, array, (array < 0) | (array >= y_shape[-1]), f"in 0 … {y_shape[-1] - 1}")
    return array.astype(np.int64, copy=False)


def _refuse(name: str, labels: Array, bad: Array, expected: str) -> None:
    """ValueError naming the first bad label, if there is one."""
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        where = index[0] if len(index) == 1 else index
        raise ValueError(f"{name} expects labels to be {expected}, got {labels[index]} at index {where}")


def _pair(name: str, y: Array, targets: Array) -> tuple[Array, ...]:
    pair = same_floats(name, ("y", "targets"), y, targets)
    expect_shape(name, "targets", pair[1], pair[0].shape)
    return pair


def _run(op: str, y: Array, *args: Any) -> tuple[float, Array]:
    value, dy = run(op, *args)
    return value, dy.reshape(y.shape)
