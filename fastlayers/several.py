"""Models with several inputs or outputs: tuples of arrays taken batch by batch, a loss for each output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlayers.checks import Array, plain_array, real

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Arrays = Any  # an array, or a tuple of arrays
LossFunction = Callable[[Any, Any], tuple[float, Any]]
Losses = LossFunction | Sequence[LossFunction | None]


def parts(value: Any) -> tuple[Any, ...]:
    return value if type(value) is tuple else (value,)


def examples(value: Arrays) -> int:
    """The length of the batch axis."""
    return len(parts(value)[0])


def pick(value: Arrays, which: Any) -> Arrays:
    """The examples `which` of an array or of each array in a tuple."""
    return tuple(part[which] for part in value) if type(value) is tuple else value[which]


def checked_inputs(who: str, x: Any) -> Arrays:
    """x as plain arrays, one or a tuple of them; TypeError for all else."""
    return tuple(plain_array(who, "x", part) for part in x) if type(x) is tuple else plain_array(who, "x", x)


def checked_targets(y: Any) -> Arrays:
    """y as an array, or as a tuple of arrays where it is a tuple of things with an axis."""
    several = type(y) is tuple and bool(y) and all(np.ndim(part) for part in y)
    return tuple(np.asarray(part) for part in y) if several else np.asarray(y)


class Outputs:
    """Room for the outputs of n examples, filled batch by batch."""

    def __init__(self, n: int, first: Arrays) -> None:
        self._several = type(first) is tuple
        self._all = tuple(np.empty((n, *part.shape[1:]), part.dtype) for part in parts(first))

    def put(self, batch: slice, outputs: Arrays) -> None:
        for whole, part in zip(self._all, parts(outputs), strict=True):
            whole[batch] = part

    def result(self) -> Arrays:
        return self._all if self._several else self._all[0]


class Total(float):
    """A loss that is a sum, with the values that were added."""

    parts: tuple[float | None, ...]


class LossPerOutput:
    """Σ weight·loss(y_pred, y_true) over the outputs; one whose loss is None has no part in it."""

    def __init__(self, losses: Sequence[Any], weights: Sequence[float] | None) -> None:
        self.losses = tuple(check_loss(loss) if loss is not None else None for loss in losses)
        if weights is not None and len(weights) != len(self.losses):
            raise ValueError(f"expected loss_weights for {len(self.losses)} losses, got {len(weights)}")
        given = (1.0,) * len(self.losses) if weights is None else weights
        self.weights = tuple(real("loss_weights", "each weight", weight) for weight in given)

    def __call__(self, y_pred: Any, y_true: Any) -> tuple[float, Any]:
        for what, value in (("outputs", y_pred), ("targets", y_true)):
            if type(value) is not tuple or len(value) != len(self.losses):
                got = f"a tuple of {len(value)}" if type(value) is tuple else type(value).__name__
                raise TypeError(f"expected a tuple of {len(self.losses)} {what}, one for each loss, got {got}")
        values: list[float | None] = []
        gradients: list[Any] = []
        for loss, weight, pred, true in zip(self.losses, self.weights, y_pred, y_true, strict=True):
            value, gradient = (None, None) if loss is None else loss(pred, true)
            values.append(value)
            gradients.append(gradient if gradient is None or weight == 1.0 else gradient * gradient.dtype.type(weight))
        known = [value * weight for value, weight in zip(values, self.weights, strict=True) if value is not None]
        total = Total(sum(known))
        total.parts = tuple(values)
        return total, tuple(gradients)


def check_loss(loss: Any) -> LossFunction:
    if not callable(loss):
        raise TypeError(f"expected a loss such as fastlayers.losses.MeanSquaredError(), got {loss!r}")
    found: LossFunction = loss
    return found


def one_loss(loss: Losses, weights: Sequence[float] | None) -> LossFunction:
    """A loss for the whole model out of one, or out of one for each output."""
    if isinstance(loss, (tuple, list)):
        return LossPerOutput(loss, weights)
    if weights is not None:
        raise ValueError("expected loss_weights together with a tuple of losses, one for each output")
    return check_loss(loss)


class Mean:
    """The means over examples of loss and accuracy, gathered batch by batch."""

    def __init__(self, loss: LossFunction, output_names: Sequence[str]) -> None:
        self._loss = loss
        self._names = output_names
        self._examples = 0
        self._sums: dict[str, float] = {}

    def add(self, loss: float, outputs: Arrays, targets: Arrays) -> None:
        n = examples(targets)
        self._examples += n
        self._add("loss", loss, n)
        if isinstance(self._loss, LossPerOutput) and isinstance(loss, Total):
            names = [*self._names, *(f"output_{k}" for k in range(len(self._names), len(outputs)))]
            for name, function, value, pred, true in zip(
                names[: len(outputs)], self._loss.losses, loss.parts, outputs, targets, strict=True
            ):
                if value is not None:
                    self._add(f"{name}_loss", value, n)
                    self._add_accuracy(f"{name}_accuracy", function, pred, true)
        else:
            self._add_accuracy("accuracy", self._loss, outputs, targets)

    def _add_accuracy(self, name: str, loss: Any, outputs: Array, targets: ArrayLike) -> None:
        correct = getattr(loss, "correct", None)
        right = None if correct is None else correct(outputs, targets)
        if right is not None:
            self._add(name, float(right.mean()), examples(targets))

    def _add(self, name: str, value: float, n: int) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + value * n

    def logs(self) -> dict[str, float]:
        return {name: total / self._examples for name, total in self._sums.items()}
