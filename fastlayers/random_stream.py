"""Random numbers for forward: another draw for each call, the same ones again from the same seed."""

from __future__ import annotations

import os
import threading

import numpy as np

from fastlayers.checks import uint64

_counting = threading.Lock()


class RandomStream:
    """The random numbers of one layer, from `Layer.add_random_stream`.

    seed    0 … 2⁶⁴ - 1
    calls   how many draws were taken so far

    A draw is a function of (seed, number of the draw), so threads that call one layer at once never share a
    generator. A copy of the stream goes on from the same place. The numbers a seed stands for are those of
    NumPy's Philox as long as NumPy keeps its distributions.
    """

    def __init__(self, seed: int) -> None:
        self.seed = uint64("RandomStream", "seed", seed)
        self.calls = 0

    def next(self) -> tuple[int, int]:
        """(seed, number of this draw): all that is needed to repeat it, for ops such as `ops.dropout`."""
        with _counting:
            counter, self.calls = self.calls, self.calls + 1
        return self.seed, counter

    def generator(self) -> np.random.Generator:
        """A new generator for one forward, which nobody else has."""
        seed, counter = self.next()
        return np.random.Generator(np.random.Philox(key=seed, counter=counter << 128))

    def __repr__(self) -> str:
        return f"<RandomStream seed={self.seed} calls={self.calls}>"


def _new_lock() -> None:
    global _counting
    _counting = threading.Lock()


if hasattr(os, "register_at_fork"):  # another thread may hold it at the moment of a fork
    os.register_at_fork(after_in_child=_new_lock)
