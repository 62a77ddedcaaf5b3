"""Dropout."""

from __future__ import annotations

from typing import Any

from fastlayers import ops
from fastlayers.checks import Array, real, uint64
from fastlayers.layer import Layer
from fastlayers.protocol import Shape


class Dropout(Layer):
    """y = x·keep / (1 - rate) in training, keep 1 with probability 1 - rate, else 0; y = x in inference

    rate   share of the numbers set to zero, in [0, 1)
    seed   0 … 2⁶⁴ - 1; by default from the seed of the `Sequential` around it, or fresh entropy

    The mask is a function of (seed, number of the call, position): see `ops.dropout`. That pair of numbers is
    the cache, so the mask takes no memory.  Srivastava et al., JMLR 15 (2014), in the inverted form.
    """

    n_inputs = 1

    def __init__(self, rate: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.rate = real(self.name, "rate", rate, below=1.0)
        self.seed = None if seed is None else uint64(self.name, "seed", seed)

    def build(self, input_shape: Shape) -> None:
        self.random = self.add_random_stream(self.seed)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def forward(self, x: Array, training: bool = False) -> tuple[Array, tuple[int, int] | None]:
        if not training or self.rate == 0.0:
            return x, None
        seed, counter = self.random.next()
        return ops.dropout(x, self.rate, seed=seed, counter=counter, name=self.name), (seed, counter)

    def backward(self, dy: Array, cache: tuple[int, int] | None) -> Array:
        if cache is None:
            return dy
        seed, counter = cache
        return ops.dropout(dy, self.rate, seed=seed, counter=counter, name=self.name)
