"""Losses: the mean over the batch (or over all elements), and its gradient in the same breath.

All sums are in double precision or better, whatever the dtype of y; the gradient comes back in the dtype of
y. An empty batch has loss 0. Probabilities (from_logits=False) are clipped to [EPSILON, 1 - EPSILON] and
are not renormalised; where one was clipped its gradient is 0.
"""

from __future__ import annotations

import numpy as np

from fastlayers.reference.activation import activation, softmax
from fastlayers.reference.arrays import Array, plain

EPSILON = 1e-7


def _wide(x: Array) -> Array:
    return plain(x).astype(np.result_type(x.dtype, np.float64))


def _log_softmax(x: Array) -> Array:
    shifted = x - x.max(axis=-1, keepdims=True, initial=-np.inf)
    return plain(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _clip(p: Array) -> tuple[Array, Array]:
    """p within [EPSILON, 1 - EPSILON], and where it was there already (or is NaN)."""
    clipped = np.clip(p, EPSILON, 1 - EPSILON)
    return clipped, (clipped == p) | np.isnan(p)


def _mean(losses: Array, dy: Array, count: int, dtype: np.dtype) -> tuple[float, Array]:
    """Σ losses / count, and dy / count in the dtype asked for."""
    return float(losses.sum() / max(count, 1)), (dy / max(count, 1)).astype(dtype)


@np.errstate(all="ignore")
def sparse_categorical_crossentropy(y: Array, labels: Array, from_logits: bool) -> tuple[float, Array]:
    """loss = -1/M Σₘ log p[m, labels[m]], p = softmax(y) or y itself

    y (M, C), labels (M,) -> loss, dy (M, C)

    dy = (p - one_hot) / M from logits, -one_hot / (p·M) from probabilities. Labels lie in 0 … C - 1.
    """
    one_hot = np.zeros(y.shape, bool)
    one_hot[np.arange(y.shape[0]), plain(labels)] = True
    logits = _wide(y)
    if from_logits:
        return _mean(-_log_softmax(logits)[one_hot], softmax(logits) - one_hot, y.shape[0], plain(y).dtype)
    p, kept = _clip(logits)
    dy = np.where(one_hot & kept, -1 / p, 0)
    return _mean(-np.log(p[one_hot]), dy, y.shape[0], plain(y).dtype)


@np.errstate(all="ignore")
def categorical_crossentropy(y: Array, targets: Array, from_logits: bool) -> tuple[float, Array]:
    """loss = -1/M Σₘ Σ_c t·log p, p = softmax(y) or y itself      y, t (M, C) -> loss, dy (M, C)

    dy = (p·Σ_c t - t) / M from logits, -t / (p·M) from probabilities.
    """
    logits, t = _wide(y), _wide(targets)
    if from_logits:
        losses, dy = -t * _log_softmax(logits), softmax(logits) * t.sum(axis=-1, keepdims=True) - t
    else:
        p, kept = _clip(logits)
        losses, dy = -t * np.log(p), np.where(kept, -t / p, 0)
    return _mean(losses, dy, y.shape[0], plain(y).dtype)


@np.errstate(all="ignore")
def binary_crossentropy(y: Array, targets: Array, from_logits: bool) -> tuple[float, Array]:
    """loss = -mean(t·log p + (1 - t)·log(1 - p)), p = sigmoid(y) or y itself

    y, t (any one shape) -> loss, dy (that shape)

    From logits: max(y, 0) - y·t + log(1 + exp(-|y|)), dy = (p - t) / size; from probabilities
    dy = (p - t) / (p·(1 - p)·size).
    """
    logits, t = _wide(y), _wide(targets)
    if from_logits:
        losses = np.maximum(logits, 0) - logits * t + np.log1p(np.exp(-np.abs(logits)))
        dy = activation(logits, "sigmoid", 0.0) - t
    else:
        p, kept = _clip(logits)
        losses = -(t * np.log(p) + (1 - t) * np.log1p(-p))
        dy = np.where(kept, (p - t) / (p * (1 - p)), 0)
    return _mean(losses, dy, y.size, plain(y).dtype)


@np.errstate(all="ignore")
def mean_squared_error(y: Array, targets: Array) -> tuple[float, Array]:
    """loss = mean((y - t)²), dy = 2·(y - t) / size      y, t (any one shape) -> loss, dy"""
    difference = _wide(y) - _wide(targets)
    return _mean(difference**2, 2 * difference, y.size, plain(y).dtype)
