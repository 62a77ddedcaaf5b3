"""MyLayer against its NumPy reference: python benchmarks/bench_my_layer.py [ROWS [CHANNELS]]

Both are called in turns, so that what else the machine does meets both; medians are shown.
"""

import sys
import time
from collections.abc import Callable
from statistics import median

import fastlayers as fl
import numpy as np

from my_layer import MyLayer, reference

SECONDS = 2.0  # for each pair


def in_turns(*calls: Callable[[], object]) -> list[float]:
    """The median time of each call, in seconds."""
    times: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times[0]) < 5:
        for call, taken in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
    return [median(taken) for taken in times]


def in_numpy(function: Callable[..., object], *arrays: np.ndarray) -> Callable[[], object]:
    """A call of a function of `reference` that runs in NumPy, whatever is compiled."""

    def call() -> object:
        with fl.use(backend="reference"):
            return function(*arrays)

    return call


def main(rows: int = 4096, channels: int = 64) -> None:
    rng = np.random.default_rng(0)
    x, dy = (rng.normal(size=(rows, channels)).astype("f4") for _ in range(2))
    layer = MyLayer()
    _, cache = layer.forward(x)
    scale = layer.scale.value
    pairs = {
        "forward": (lambda: layer(x), in_numpy(reference.forward, x, scale)),
        "backward": (lambda: layer.backward(dy, cache), in_numpy(reference.backward, dy, x, scale)),
    }
    print(f"x ({rows}, {channels}) float32")
    for name, calls in pairs.items():
        ours, numpy = (1e6 * seconds for seconds in in_turns(*calls))
        print(f"{name:<8} layer {ours:9.1f} µs, NumPy {numpy:9.1f} µs: {numpy / ours:.2f} times as fast")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
