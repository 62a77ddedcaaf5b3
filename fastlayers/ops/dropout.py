"""Dropout with random numbers that are a function of their position."""

from __future__ import annotations

from fastlayers.backend import run
from fastlayers.checks import Array, real, same_floats, uint64


def dropout(x: Array, rate: float, *, seed: int, counter: int = 0, name: str = "dropout") -> Array:
    """y = x·keep / (1 - rate), keep = (u >= rate)      x (any shape) -> y

    u is uniform in [0, 1): Philox2x32-10 (Salmon et al., SC'11) of the position in x, keyed by seed and
    counter. One (seed, counter) gives one mask, on every machine, so the gradient is the same function: dx =
    dropout(dy, …). seed and counter lie in 0 … 2⁶⁴ - 1.
    """
    (x,) = same_floats(name, ("x",), x)
    rate = real(name, "rate", rate, below=1.0)
    y: Array = run("dropout", x, rate, uint64(name, "seed", seed), uint64(name, "counter", counter))
    return y
