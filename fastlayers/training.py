"""What turns a layer into a model: training, prediction, weights in files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlayers import weights
from fastlayers.checks import Array, plain_array
from fastlayers.layer import Layer
from fastlayers.optimizers import Optimizer
from fastlayers.parameter import Parameter
from fastlayers.shapes import check_bool, positive_int

LossFunction = Callable[[Array, ArrayLike], tuple[float, Array]]
Logs = dict[str, float]


class Model(Layer):
    """A layer that can be trained as it stands: subclass it as `Layer`, or use `Sequential`.

    Losses are functions (y_pred, y_true) -> (value, gradient), those of `fastlayers.losses` or your own.
    """

    def train_step(self, x: Array, y: ArrayLike, loss: LossFunction, optimizer: Optimizer) -> tuple[float, Array]:
        """One step on one batch: forward, loss, backward, update -> loss value, outputs before the update."""
        return self._step(x, y, loss, optimizer, None)

    def fit(
        self,
        x: Array,
        y: ArrayLike,
        *,
        loss: LossFunction,
        optimizer: Optimizer,
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = 0,
        validation_data: tuple[Array, ArrayLike] | None = None,
        on_epoch: Callable[[int, Logs], object] | None = None,
    ) -> dict[str, list[float]]:
        """Train on x (N, …) and y (N, …) -> {"loss": [one value an epoch], …}

        "accuracy" joins for losses that know right from wrong, "val_loss" and "val_accuracy" with
        validation_data = (x, y). Loss and accuracy are means over the examples, each taken when its batch was
        trained on. Examples are drawn anew each epoch, in an order that follows from `seed`. After each epoch
        on_epoch(epoch, logs) is called, epochs counted from 0; training ends early when it returns False. The
        result does not depend on the number of threads, to the bit.
        """
        x, targets = self._examples(x, y)
        epochs = positive_int(self.name, "epochs", epochs)
        batch_size = positive_int(self.name, "batch_size", batch_size)
        shuffle = check_bool(self.name, "shuffle", shuffle)
        random = np.random.default_rng(seed)
        parameters: list[Parameter] | None = None
        history: dict[str, list[float]] = {}
        for epoch in range(epochs):
            mean = _Mean(loss)
            order = random.permutation(len(x)) if shuffle else np.arange(len(x))
            for batch in _slices(len(x), batch_size):
                picked = order[batch]
                wanted = targets[picked]
                value, outputs = self._step(x[picked], wanted, loss, optimizer, parameters)
                mean.add(value, outputs, wanted)
                parameters = self.parameters() if parameters is None else parameters
            logs = mean.logs()
            if validation_data is not None:
                validation = self.evaluate(*validation_data, loss, batch_size=batch_size)
                logs.update({f"val_{name}": number for name, number in validation.items()})
            for name, number in logs.items():
                history.setdefault(name, []).append(number)
            if on_epoch is not None and on_epoch(epoch, dict(logs)) is False:
                break
        return history

    def evaluate(self, x: Array, y: ArrayLike, loss: LossFunction, batch_size: int = 256) -> Logs:
        """{"loss": …} over all examples, with "accuracy" for losses that know right from wrong."""
        x, targets = self._examples(x, y)
        mean = _Mean(loss)
        for batch in _slices(len(x), positive_int(self.name, "batch_size", batch_size)):
            outputs = self(x[batch])
            mean.add(loss(outputs, targets[batch])[0], outputs, targets[batch])
        return mean.logs()

    def predict(self, x: Array, batch_size: int = 256) -> Array:
        """model(x), a batch at a time, so that memory stays bounded."""
        x = plain_array(self.name, "x", x)
        batch_size = positive_int(self.name, "batch_size", batch_size)
        if x.ndim == 0 or len(x) <= batch_size:
            y: Array = self(x)
            return y
        first = self(x[:batch_size])
        outputs = np.empty((len(x), *first.shape[1:]), first.dtype)
        outputs[:batch_size] = first
        for batch in _slices(len(x), batch_size):
            if batch.start:
                outputs[batch] = self(x[batch])
        return outputs

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Write all weights to an .npz file, which appears whole or not at all."""
        weights.save_weights(self, path)

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Read all weights from a file that `save_weights` wrote.

        ValueError lists every array that is missing, unexpected or of another shape or dtype; then nothing is
        changed.
        """
        weights.load_weights(self, path)

    def _step(
        self,
        x: Array,
        y: ArrayLike,
        loss: LossFunction,
        optimizer: Optimizer,
        parameters: list[Parameter] | None,
    ) -> tuple[float, Array]:
        if not callable(getattr(optimizer, "step", None)):
            raise TypeError(f"expected an optimizer such as fastlayers.optimizers.SGD(), got {optimizer!r}")
        outputs, cache = self.forward(x, training=True)
        value, dy = loss(outputs, y)
        self._backward_once(dy, cache)
        optimizer.step(self.parameters() if parameters is None else parameters)
        return value, outputs

    def _backward_once(self, dy: Array, cache: Any) -> None:
        """`backward_parameters` with a cache that nobody will use again."""
        self.backward_parameters(dy, cache)

    def _examples(self, x: Array, y: ArrayLike) -> tuple[Array, Array]:
        x, targets = plain_array(self.name, "x", x), np.asarray(y)
        if x.ndim == 0 or targets.ndim == 0 or len(x) != len(targets) or not len(x):
            raise ValueError(
                f"{self.name} expects x and y with the same number of examples, at least one, "
                f"got shapes {x.shape} and {targets.shape}"
            )
        return x, targets


class _Mean:
    """The mean over examples of loss and accuracy, gathered batch by batch."""

    def __init__(self, loss: LossFunction) -> None:
        if not callable(loss):
            raise TypeError(f"expected a loss such as fastlayers.losses.MeanSquaredError(), got {loss!r}")
        self.correct: Callable[[Array, ArrayLike], Array | None] = getattr(loss, "correct", lambda *_: None)
        self.examples = 0
        self.sums: dict[str, float] = {}

    def add(self, loss: float, outputs: Array, targets: Array) -> None:
        self.examples += len(targets)
        self._add("loss", loss, len(targets))
        right = self.correct(outputs, targets)
        if right is not None:
            self._add("accuracy", float(right.mean()), len(targets))

    def _add(self, name: str, value: float, examples: int) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + value * examples

    def logs(self) -> Logs:
        return {name: total / self.examples for name, total in self.sums.items()}


def _slices(n: int, batch_size: int) -> Iterator[slice]:
    return (slice(start, min(start + batch_size, n)) for start in range(0, n, batch_size))
