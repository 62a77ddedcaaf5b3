"""Layers with a sliding window."""

from __future__ import annotations

from typing import Any

from fastlayers.layer import Layer
from fastlayers.ops.geometry import Sliding
from fastlayers.protocol import Shape

_MOST = 256  # shapes that one layer remembers


class Windowed(Layer):
    """A layer that works out its window once for each shape of x, not in each call."""

    _slidings: dict[Shape, Sliding]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._slidings = {}

    def _resolve(self, x_shape: Shape) -> Sliding:
        """The window over batches of this shape; ValueError for one that does not fit."""
        raise NotImplementedError

    def _sliding(self, x_shape: Shape) -> Sliding:
        """As `_resolve`, remembered."""
        found = self._slidings.get(x_shape)
        if found is None:
            found = self._resolve(x_shape)
            if len(self._slidings) >= _MOST:
                self._slidings.clear()
            self._slidings[x_shape] = found
        return found
