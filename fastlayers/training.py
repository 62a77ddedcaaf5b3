"""What turns a layer into a model: training, prediction, weights in files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fastlayers import saving
from fastlayers.layer import Layer
from fastlayers.optimizers import Optimizer
from fastlayers.parameter import Parameter
from fastlayers.several import (
    Arrays,
    Losses,
    LossFunction,
    Mean,
    Outputs,
    checked_inputs,
    checked_targets,
    examples,
    one_loss,
    parts,
    pick,
)
from fastlayers.shapes import check_bool, positive_int

Logs = dict[str, float]


class Model(Layer):
    """A layer that can be trained as it stands: subclass it as `Layer`, use `Sequential`, or make a graph:

        fl.Model(inputs, outputs)       a `Graph` of the layers between these symbols; see `fastlayers.graph`

    Losses are functions (y_pred, y_true) -> (value, gradient), those of `fastlayers.losses` or your own.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is Model and (args or "inputs" in kwargs or "outputs" in kwargs):
            from fastlayers.graph import Graph  # not above: a graph is a model

            return super().__new__(Graph, *args, **kwargs)
        return super().__new__(cls, *args, **kwargs)

    def train_step(
        self,
        x: Arrays,
        y: Any,
        loss: Losses,
        optimizer: Optimizer,
        loss_weights: Sequence[float] | None = None,
    ) -> tuple[float, Arrays]:
        """One step on one batch: forward, loss, backward, update -> loss value, outputs before the update."""
        return self._step(x, y, one_loss(loss, loss_weights), optimizer, None)

    def fit(
        self,
        x: Arrays,
        y: Any,
        *,
        loss: Losses,
        optimizer: Optimizer,
        loss_weights: Sequence[float] | None = None,
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = 0,
        validation_data: tuple[Arrays, Any] | None = None,
        on_epoch: Callable[[int, Logs], object] | None = None,
    ) -> dict[str, list[float]]:
        """Train on x (N, …) and y (N, …) -> {"loss": [one value an epoch], …}

        "accuracy" joins for losses that know right from wrong, "val_loss" and "val_accuracy" with
        validation_data = (x, y). Loss and accuracy are means over the examples, each taken when its batch was
        trained on. Examples are drawn anew each epoch, in an order that follows from `seed`. After each epoch
        on_epoch(epoch, logs) is called, epochs counted from 0; training ends early when it returns False. The
        result does not depend on the number of threads, to the bit.

        Several inputs are a tuple x, several outputs have a tuple y and a tuple of losses, None for an output
        without one. "loss" is then their sum, weighted by loss_weights, and "NAME_loss" and "NAME_accuracy" are
        those of each output.
        """
        x, targets = self._examples(x, y)
        loss = one_loss(loss, loss_weights)
        epochs = positive_int(self.name, "epochs", epochs)
        batch_size = positive_int(self.name, "batch_size", batch_size)
        shuffle = check_bool(self.name, "shuffle", shuffle)
        random = np.random.default_rng(seed)
        n = examples(x)
        parameters: list[Parameter] | None = None
        history: dict[str, list[float]] = {}
        for epoch in range(epochs):
            mean = Mean(loss, self.output_names)
            order = random.permutation(n) if shuffle else np.arange(n)
            for batch in _slices(n, batch_size):
                picked = order[batch]
                wanted = pick(targets, picked)
                value, outputs = self._step(pick(x, picked), wanted, loss, optimizer, parameters)
                mean.add(value, outputs, wanted)
                parameters = self.parameters() if parameters is None else parameters
            logs = mean.logs()
            if validation_data is not None:
                validation = self._evaluate(*validation_data, loss, batch_size)
                logs.update({f"val_{name}": number for name, number in validation.items()})
            for name, number in logs.items():
                history.setdefault(name, []).append(number)
            if on_epoch is not None and on_epoch(epoch, dict(logs)) is False:
                break
        return history

    def evaluate(
        self,
        x: Arrays,
        y: Any,
        loss: Losses,
        batch_size: int = 256,
        loss_weights: Sequence[float] | None = None,
    ) -> Logs:
        """{"loss": …} over all examples, with "accuracy" for losses that know right from wrong; see `fit`."""
        return self._evaluate(x, y, one_loss(loss, loss_weights), batch_size)

    def _evaluate(self, x: Arrays, y: Any, loss: LossFunction, batch_size: int) -> Logs:
        x, targets = self._examples(x, y)
        mean = Mean(loss, self.output_names)
        for batch in _slices(examples(x), positive_int(self.name, "batch_size", batch_size)):
            outputs, wanted = self(pick(x, batch)), pick(targets, batch)
            mean.add(loss(outputs, wanted)[0], outputs, wanted)
        return mean.logs()

    def predict(self, x: Arrays, batch_size: int = 256) -> Arrays:
        """model(x), a batch at a time, so that memory stays bounded."""
        x = checked_inputs(self.name, x)
        batch_size = positive_int(self.name, "batch_size", batch_size)
        if any(part.ndim == 0 for part in parts(x)) or examples(x) <= batch_size:
            return self(x)
        first = self(pick(x, slice(batch_size)))
        outputs = Outputs(examples(x), first)
        outputs.put(slice(batch_size), first)
        for batch in _slices(examples(x), batch_size):
            if batch.start:
                outputs.put(batch, self(pick(x, batch)))
        return outputs.result()

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, as far as they have any, for the losses of each."""
        return ()

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Write all weights to a safetensors file, which appears whole or not at all. `fl.save` writes the model."""
        saving.save_weights(self, path)

    def load_weights(self, path: str | os.PathLike[str], strict: bool = True) -> saving.WeightsReport:
        """Read the weights from a file of `save_weights` or `fl.save`, or another safetensors file, by their names.

        ValueError lists every array that is missing, unexpected or of another shape or dtype. With strict=False
        those that fit are read and the report that is returned lists the others. After an error nothing is
        changed.
        """
        return saving.load_weights(self, path, strict)

    def _step(
        self,
        x: Arrays,
        y: Any,
        loss: LossFunction,
        optimizer: Optimizer,
        parameters: list[Parameter] | None,
    ) -> tuple[float, Arrays]:
        if not callable(getattr(optimizer, "step", None)):
            raise TypeError(f"expected an optimizer such as fastlayers.optimizers.SGD(), got {optimizer!r}")
        outputs, cache = self.forward(x, training=True)
        value, dy = loss(outputs, y)
        self._backward_once(dy, cache)
        optimizer.step(self.parameters() if parameters is None else parameters)
        return value, outputs

    def _backward_once(self, dy: Arrays, cache: Any) -> None:
        """`backward_parameters` with a cache that nobody will use again."""
        self._weights_only(dy, cache)

    def _examples(self, x: Any, y: Any) -> tuple[Arrays, Arrays]:
        inputs, targets = checked_inputs(self.name, x), checked_targets(y)
        arrays = (*parts(inputs), *parts(targets))
        lengths = {len(array) if array.ndim else 0 for array in arrays}
        if len(lengths) != 1 or lengths == {0}:
            raise ValueError(
                f"{self.name} expects x and y with the same number of examples, at least one, "
                f"got shapes {_shapes(inputs)} and {_shapes(targets)}"
            )
        return inputs, targets


def _shapes(arrays: Arrays) -> str:
    return ", ".join(str(array.shape) for array in parts(arrays))


def _slices(n: int, batch_size: int) -> Iterator[slice]:
    return (slice(start, min(start + batch_size, n)) for start in range(0, n, batch_size))
