"""Cases and error bounds of losses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastlayers.cases.activation import ULPS, softmax_bound
from fastlayers.cases.table import Arguments, Array, Data, OpCases, Rng, size, sometimes
from fastlayers.reference.activation import activation, softmax
from fastlayers.reference.loss import EPSILON


@dataclass(frozen=True)
class LossCase:
    """A loss over y of some shape, logits times `scale` or probabilities."""

    shape: tuple[int, ...]
    from_logits: bool = True
    scale: float = 2.0


ROWS = {
    "one": LossCase((1, 1)),
    "empty batch": LossCase((0, 5)),
    "digits": LossCase((32, 10)),
    "digits, probabilities": LossCase((32, 10), False),
    "two classes": LossCase((17, 2)),
    "two classes, probabilities": LossCase((17, 2), False),
    "imagenet": LossCase((5, 1000)),
    "imagenet, probabilities": LossCase((5, 1000), False),
    "many": LossCase((1031, 3)),
    "many, probabilities": LossCase((1031, 3), False),
    "large logits": LossCase((9, 33), True, 300.0),
    "several blocks": LossCase((131, 157)),
}
ANY_RANK = {
    "scalar": LossCase(()),
    "vector": LossCase((71,)),
    "image, probabilities": LossCase((2, 9, 11, 3), False),
    "empty": LossCase((2, 0, 3), False),
}


def draw(rng: Rng) -> LossCase:
    shape = (size(rng, 1, 2, 7, 16, 33, 64, 200), size(rng))
    return LossCase(shape, sometimes(rng, 0.5), float(rng.choice([0.1, 2.0, 20.0])))


def draw_any_rank(rng: Rng) -> LossCase:
    shape = tuple(size(rng) for _ in range(size(rng, 0, 1, 2, 3)))
    return LossCase(shape, sometimes(rng, 0.5), float(rng.choice([0.1, 2.0, 20.0])))


def predictions(case: LossCase, data: Data) -> Array:
    if case.from_logits:
        return np.asarray(data.array(*case.shape) * data.dtype.type(case.scale))
    return data.uniform(*case.shape)


def sparse_arguments(case: LossCase, data: Data) -> Arguments:
    labels = data.rng.integers(0, case.shape[1], case.shape[0])
    return predictions(case, data), labels, case.from_logits


def dense_arguments(case: LossCase, data: Data) -> Arguments:
    return predictions(case, data), data.uniform(*case.shape), case.from_logits


def error_arguments(case: LossCase, data: Data) -> Arguments:
    return data.array(*case.shape), data.array(*case.shape)


def mean_bound(terms: Array, eps: float, count: int) -> float:
    """The bound of Σ terms / count: each of these positive terms is off by eps, and the sum is in double."""
    return float(terms.sum() * (eps + terms.size * 2.0**-52) / count)


def categorical_bounds(args: Arguments, results: list[Any], eps: float) -> list[Any]:
    """The bounds of -Σ t·log p and of its gradient, row by row."""
    y, t, from_logits = args
    count, classes = max(y.shape[0], 1), y.shape[1]
    if not from_logits:
        return _probability_bounds(y, t, count, results[1], eps)
    p = softmax(y)
    shift = abs(y - y.max(axis=-1, keepdims=True, initial=-np.inf))
    loss = mean_bound(t * (shift + math.log(classes) + classes + ULPS), eps, count)
    positive = p * t.sum(axis=-1, keepdims=True) + t
    dy = softmax_bound(y, p, eps) * t.sum(axis=-1, keepdims=True) + (classes + ULPS) * eps * positive
    return [loss, dy / count]


def sparse_bounds(args: Arguments, results: list[Any], eps: float) -> list[Any]:
    y, labels, from_logits = args
    return categorical_bounds((y, np.eye(y.shape[1])[labels], from_logits), results, eps)


def _probability_bounds(p: Array, t: Array, count: int, dy: Array, eps: float) -> list[Any]:
    """-t·log p, p clipped: 1 - EPSILON is itself rounded, hence the 1."""
    log = abs(np.log(np.clip(p, EPSILON, 1 - EPSILON)))
    return [mean_bound(t * (log + 1), ULPS * eps, count), ULPS * eps * abs(dy)]


def binary_bounds(args: Arguments, results: list[Any], eps: float) -> list[Any]:
    y, t, from_logits = args
    count = max(y.size, 1)
    if from_logits:
        loss = mean_bound(abs(y) * (1 + t) + 1, ULPS * eps, count)
        return [loss, ULPS * eps * (activation(y, "sigmoid", 0.0) + t) / count]
    p = np.clip(y, EPSILON, 1 - EPSILON)
    loss = mean_bound(t * (abs(np.log(p)) + 1) + (1 - t) * (abs(np.log1p(-p)) + 1), ULPS * eps, count)
    kept = (y >= EPSILON) & (y <= 1 - EPSILON)
    return [loss, ULPS * eps * np.where(kept, (p + t) / (p * (1 - p)), 0) / count]


def error_bounds(args: Arguments, results: list[Any], eps: float) -> list[Any]:
    y, t = args
    return [mean_bound((y - t) ** 2, ULPS * eps, max(y.size, 1)), ULPS * eps * abs(results[1])]


RETURNS = ("loss", "dy")
TABLE = {
    "sparse_categorical_crossentropy": OpCases(ROWS, draw, sparse_arguments, RETURNS, sparse_bounds),
    "categorical_crossentropy": OpCases(ROWS, draw, dense_arguments, RETURNS, categorical_bounds),
    "binary_crossentropy": OpCases(ROWS | ANY_RANK, draw_any_rank, dense_arguments, RETURNS, binary_bounds),
    "mean_squared_error": OpCases(ROWS | ANY_RANK, draw_any_rank, error_arguments, RETURNS, error_bounds),
}
