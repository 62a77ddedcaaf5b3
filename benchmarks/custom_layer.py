"""What a call of a custom layer costs beside the NumPy function in it.

    python benchmarks/custom_layer.py

All calls take turns, one by one, so that whatever else the machine does meets them alike; medians are shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np

import fastlayers as fl

ROUNDS = 40_000


class Scale(fl.Layer, registered_name="benchmarks.Scale"):
    """y = gamma · x      x (N, C), gamma (C,) -> y (N, C)"""

    def build(self, input_shape):
        self.gamma = self.add_weight("gamma", input_shape[-1:], initializer="ones")

    def compute_output_shape(self, input_shape):
        return input_shape

    def forward(self, x, training=False):
        return self.gamma.value * x, x

    def backward(self, dy, cache):
        return self.gamma.value * dy


def medians(calls: list[Callable[[], object]]) -> list[float]:
    """Microseconds of each call."""
    clock, rounds = time.perf_counter_ns, range(ROUNDS)
    times: list[list[int]] = [[] for _ in calls]
    turns = list(zip(calls, times, strict=True))
    for _ in rounds:
        for call, taken in turns:
            start = clock()
            call()
            taken.append(clock() - start)
    return [median(taken) / 1000 for taken in times]


def main() -> None:
    x = np.random.default_rng(0).normal(size=(1, 64)).astype("f4")
    layer = Scale()
    layer(x)
    gamma = layer.gamma.value

    def function(x):
        return gamma * x, x

    calls = {
        "the function": lambda: function(x),
        "layer(x)": lambda: layer(x),
        "layer.forward(x)": lambda: layer.forward(x),
        "layer.forward(x, training=True)": lambda: layer.forward(x, training=True),
        "layer.backward(dy, cache)": lambda: layer.backward(x, x),
    }
    bare, *others = medians(list(calls.values()))
    print(f"{'the function':<32} {bare:5.2f} µs")
    for name, taken in zip(list(calls)[1:], others, strict=True):
        print(f"{name:<32} {taken:5.2f} µs, {taken - bare:+5.2f}")


if __name__ == "__main__":
    main()
