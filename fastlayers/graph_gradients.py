"""Gradients on their way down through a graph."""

from __future__ import annotations

from typing import Any

from fastlayers import ops
from fastlayers.graph_plan import Place


class Gradients:
    """The gradient of each tensor, while something is still to be added to it or it waits to be used."""

    def __init__(self, blank: tuple[None, ...]) -> None:
        self.of: list[Any] = list(blank)

    def take(self, number: int) -> Any:
        gradient, self.of[number] = self.of[number], None
        return gradient

    def add(self, place: Place, gradient: Any, who: str) -> None:
        """Add what `who`'s backward returned for the tensors at `place`; None adds nothing."""
        if isinstance(place, int):
            self._add(place, gradient, who)
            return
        if gradient is None:
            return
        if type(gradient) is not tuple or len(gradient) != len(place):
            got = f"a tuple of {len(gradient)}" if isinstance(gradient, tuple) else type(gradient).__name__
            raise TypeError(f"{who}.backward must return a tuple of {len(place)} dx, one for each input, got {got}")
        for number, part in zip(place, gradient, strict=True):
            self._add(number, part, who)

    def _add(self, number: int, gradient: Any, who: str) -> None:
        present = self.of[number]
        if present is None:
            self.of[number] = gradient
        elif gradient is not None:
            if present.shape != gradient.shape or present.dtype != gradient.dtype:
                raise ValueError(
                    f"the backward of {who} returned dx of shape {gradient.shape} {gradient.dtype} for a tensor "
                    f"whose gradient is {present.shape} {present.dtype} where else it is used"
                )
            self.of[number] = ops.add(present, gradient, name=who)
