"""A place where gradients are taken: a layer in one state, x and dy; y around it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from fastlayers.checking.copies import clone
from fastlayers.checking.numeric import Line, Verdict
from fastlayers.checking.subject import Subject, backward, collect, restore, state
from fastlayers.checking.values import copied, is_float, labels, like, parts, typical, vector
from fastlayers.checks import Array
from fastlayers.layer import Layer


class Point:
    """x and dy for a layer in float64, and what backward makes of them.

    A target is the name of what a gradient is taken for: "dx" or "dx[0]", …, or the path of a weight. Random
    numbers are the same in every forward here: a layer that draws some is copied before each.

    beside   move x a little away from what was drawn
    """

    def __init__(self, subject: Subject, training: bool, draw: int, beside: bool = False) -> None:
        self.subject, self.training, self.draw = subject, training, draw
        self.replays = subject.drifts(training)
        self.layer = subject.fresh("float64")
        self.x = subject.x("float64", draw)
        if beside:
            rng = np.random.default_rng(draw)
            moved = [0.1 * typical(part) * rng.uniform(-1, 1, part.shape) for part in parts(self.x)]
            arrays = [part + d if is_float(part) else part for part, d in zip(parts(self.x), moved, strict=True)]
            self.x = like(self.x, arrays)
        self.trace = subject.step(clone(self.layer), self.x, training, draw)
        self.dy = subject.dy(self.layer, self.trace.y, draw)
        self._places = {label: place for place, label in enumerate(labels("dx", self.x))}
        arrays = parts(self.x)
        self.inputs = {label: arrays[i] for label, i in self._places.items() if is_float(arrays[i])}
        self.weights = {name: p for name, p in self.layer.named_parameters().items() if p.trainable}
        self._state = state(self.layer)
        self._dy = vector(self.dy)
        self._moves = any(not p.trainable for p in self.layer.parameters())

    @cached_property
    def analytic(self) -> dict[str, Array]:
        """The gradients that backward gives."""
        return self._named(self.trace.dx) | self.trace.gradients

    @cached_property
    def center(self) -> Array:
        return self._y(self.x)

    def value(self, target: str) -> Array:
        return self.inputs[target] if target in self.inputs else self._state[target]

    def size(self, target: str) -> float:
        """The size of a typical entry."""
        return typical(self.value(target))

    def along(self, target: str, direction: Array) -> Verdict:
        """Whether the slope of dy·y along a direction is that of the gradient."""
        products = self.analytic[target] * direction
        line = Line(self._y_along(target, direction), self.center, self._dy)
        return line.compare(float(products.sum()), float(np.linalg.norm(products)), self.subject.tolerance)

    def at_entry(self, target: str, index: tuple[int, ...]) -> Verdict:
        """As `along`, for one entry of the gradient."""
        direction = np.zeros(self.value(target).shape)
        direction[index] = self.size(target)
        return self.along(target, direction)

    def backward(self, dy: Any, between: Callable[[Layer], None] | None = None) -> dict[str, Array]:
        """What backward makes of another dy; `between` may change the layer after forward."""
        layer = clone(self.layer)
        _, cache = layer.forward(copied(self.x), training=self.training)
        if between is not None:
            between(layer)
        dx = backward(layer, self.x, copied(dy), cache)
        return self._named(dx) | collect(layer)

    def _named(self, dx: Any) -> dict[str, Array]:
        return {label: parts(dx)[self._places[label]] for label in self.inputs}

    def _y_along(self, target: str, direction: Array) -> Callable[[float], Array]:
        if target not in self.inputs:
            return lambda t: self._y_with(target, self._state[target] + t * direction)
        place = self._places[target]

        def moved(t: float) -> Array:
            arrays = parts(self.x)
            arrays[place] = arrays[place] + t * direction
            return self._y(like(self.x, arrays))

        return moved

    def _y_with(self, weight: str, value: Array) -> Array:
        self.weights[weight].value[...] = value
        try:
            return self._y(self.x)
        finally:
            self.weights[weight].value[...] = self._state[weight]

    def _y(self, x: Any) -> Array:
        layer = clone(self.layer) if self.replays else self.layer
        y = vector(layer.forward(copied(x), training=self.training)[0])
        if self._moves and not self.replays:
            restore(self.layer, self._state)
        return y
