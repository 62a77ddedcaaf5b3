"""Losses: value, gradient = loss(y_pred, y_true).

The value is a float and the gradient an array like y_pred, ready for `model.backward`. Reductions:
"sum_over_batch_size", the mean over all positions of y_pred (all its axes but the last), or "sum", the sum
over them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlayers import ops
from fastlayers.checks import Array, native_dtype, real
from fastlayers.layer import snake_case
from fastlayers.registry import Configurable
from fastlayers.shapes import check_bool

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

REDUCTIONS = ("sum_over_batch_size", "sum")


class Loss(Configurable):
    """value, gradient = loss(y_pred, y_true); define `mean`, and `correct` where there is right and wrong."""

    _kind = "losses."
    reduction = "sum_over_batch_size"

    def __init__(self, reduction: str = "sum_over_batch_size", name: str | None = None) -> None:
        self.name = name or snake_case(type(self).__name__)
        if reduction not in REDUCTIONS:
            raise ValueError(f"{self.name} expects reduction to be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
        self.reduction = reduction

    def __call__(self, y_pred: Array, y_true: ArrayLike) -> tuple[float, Array]:
        if isinstance(y_pred, np.ndarray) and y_pred.dtype.kind in "iub":  # as it is with labels first
            expected = "y_pred, its first argument, of dtype float32 or float64"
            raise TypeError(f"{self.name} expects {expected}, got {y_pred.dtype}")
        value, gradient = self.mean(y_pred, y_true)
        if self.reduction == "sum":
            positions = math.prod(gradient.shape[:-1]) if gradient.ndim > 1 else gradient.size
            gradient *= gradient.dtype.type(positions)
            value *= positions
        return value, gradient

    def mean(self, y_pred: Array, y_true: ArrayLike) -> tuple[float, Array]:
        """The mean loss and its gradient."""
        raise NotImplementedError(f"{type(self).__name__} does not define mean(self, y_pred, y_true)")

    def correct(self, y_pred: Array, y_true: ArrayLike) -> Array | None:
        """Whether each prediction is right (the accuracy is the mean); None where that has no meaning."""
        return None


class SparseCategoricalCrossentropy(Loss):
    """-log p[label], p = softmax(y_pred) from logits, else y_pred      y_pred (N, …, C), labels (N, …)

    Labels are whole numbers in 0 … C - 1; ValueError names the first one that is not.
    """

    def __init__(
        self, from_logits: bool = False, reduction: str = "sum_over_batch_size", name: str | None = None
    ) -> None:
        super().__init__(reduction, name)
        self.from_logits = check_bool(self.name, "from_logits", from_logits)

    def mean(self, y_pred: Array, y_true: ArrayLike) -> tuple[float, Array]:
        return ops.sparse_categorical_crossentropy(y_pred, y_true, from_logits=self.from_logits, name=self.name)

    def correct(self, y_pred: Array, y_true: ArrayLike) -> Array:
        return np.asarray(y_pred.argmax(axis=-1) == np.asarray(y_true))


class CategoricalCrossentropy(Loss):
    """-Σ_c t·log p, p = softmax(y_pred) from logits, else y_pred      y_pred, targets (N, …, C)

    label_smoothing s takes targets t to t·(1 - s) + s / C.
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self.from_logits = check_bool(self.name, "from_logits", from_logits)
        self.label_smoothing = real(self.name, "label_smoothing", label_smoothing, below=1.0)

    def mean(self, y_pred: Array, y_true: ArrayLike) -> tuple[float, Array]:
        targets = _targets(self.name, y_pred, y_true)
        if self.label_smoothing:
            targets = targets * (1 - self.label_smoothing) + self.label_smoothing / targets.shape[-1]
        return ops.categorical_crossentropy(y_pred, targets, from_logits=self.from_logits, name=self.name)

    def correct(self, y_pred: Array, y_true: ArrayLike) -> Array:
        return np.asarray(y_pred.argmax(axis=-1) == np.asarray(y_true).argmax(axis=-1))


class BinaryCrossentropy(Loss):
    """-t·log p - (1 - t)·log(1 - p), p = sigmoid(y_pred) from logits, else y_pred

    y_pred and targets have any one shape.     label_smoothing s takes targets t to t·(1 - s) + s / 2.
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self.from_logits = check_bool(self.name, "from_logits", from_logits)
        self.label_smoothing = real(self.name, "label_smoothing", label_smoothing, below=1.0)

    def mean(self, y_pred: Array, y_true: ArrayLike) -> tuple[float, Array]:
        targets = _targets(self.name, y_pred, y_true)
        if self.label_smoothing:
            targets = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        return ops.binary_crossentropy(y_pred, targets, from_logits=self.from_logits, name=self.name)

    def correct(self, y_pred: Array, y_true: ArrayLike) -> Array:
        return np.asarray((y_pred > (0.0 if self.from_logits else 0.5)) == (np.asarray(y_true) > 0.5))


class MeanSquaredError(Loss):
    """(y_pred - y_true)², averaged over the last axis      y_pred, y_true any one shape"""

    def mean(self, y_pred: Array, y_true: ArrayLike) -> tuple[float, Array]:
        return ops.mean_squared_error(y_pred, _targets(self.name, y_pred, y_true), name=self.name)


def _targets(name: str, y_pred: Any, y_true: ArrayLike) -> Array:
    """Targets in the dtype of the predictions; they have no gradient, so nothing is lost by rounding them."""
    targets = np.asarray(y_true)
    if targets.dtype.kind not in "iubf":
        raise TypeError(f"{name} expects targets to be numbers, got dtype {targets.dtype}")
    return targets.astype(native_dtype(y_pred), copy=False) if isinstance(y_pred, np.ndarray) else targets
