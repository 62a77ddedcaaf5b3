"""Whole nets and single layer objects, from shapes/nets.txt and shapes/calls.txt.

A net is a line "[name] input=HxWxC classes batch", with a star at its end where it belongs to the quick subset, and a
line for each layer, with a number before it that says how often it comes:

    conv k o s=1 p=0 f=…        depthwise k s=1 p=0 f=…           max_pool, average_pool k s=k p=0
    dense o f=…                 separable k o s=1 p=0 f=…         flatten, global_average_pool, relu
    residual o s=1              two 3×3 convolutions, around them a shortcut (1×1 where shapes change)

A contender gets the layers in the order in which they run: layer i takes tensors "inputs" and makes tensor i + 1,
tensor 0 being the net's input; weights["i.kernel"] and weights["i.bias"] are its own. A dense layer behind a flatten
knows the shape of the "image", since others flatten in another order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from importlib.resources import files
from typing import Any
from zlib import crc32

import numpy as np

from fastlayers.bench.task import Arguments, Task, around, pair, sizes, words
from fastlayers.shapes import conv2d_window, pool2d_window

Layer = dict[str, Any]
Shape = tuple[int, ...]

LEARNING_RATE, MOMENTUM = 1e-3, 0.9
TOLERANCE = 100.0  # of a training step: a rounding error may flip a maximum, or the sign of a ReLU's input


class Net:
    """Layers with their shapes worked out, weights to begin with, and what a pass costs."""

    def __init__(self, header: str, lines: list[str]) -> None:
        (name, *star), options = words(header)
        self.name, self.quick = name.strip("[]"), bool(star)
        self.input, self.batch = sizes(options["input"]), int(options.get("batch", "1"))
        self.classes = int(options.get("classes", "0"))
        self.layers: list[Layer] = []
        self.weights: dict[str, Shape] = {}
        self.flops: list[float] = []  # of one example, for each layer that has weights
        self.shapes: list[Shape] = [self.input]  # of the tensors
        for line in lines:
            (*times, kind), layer_options = words(line)
            for _ in range(int(times[0]) if times else 1):
                self._add_line(kind, layer_options)

    def _add_line(self, kind: str, options: dict[str, str]) -> None:
        """The layers that one line stands for."""
        last, channels = len(self.layers), str(self.shapes[-1][-1])
        if kind in ("depthwise", "separable"):
            self._add("conv", None, **{**options, "o": channels, "g": channels})
            if kind == "separable":
                self._add("conv", None, **{key: value for key, value in options.items() if key in ("o", "f")})
        elif kind == "residual":
            stride, filters = options.get("s", "1"), options["o"]
            self._add("conv", k="3", o=filters, s=stride, p="1", f="relu")
            around = self._add("conv", k="3", o=filters, p="1")
            through = (stride, filters) == ("1", channels)
            shortcut = last if through else self._add("conv", [last], k="1", o=filters, s=stride)
            self._add("add", [around, shortcut])
            self._add("relu")
        else:
            self._add(kind, None, **options)

    def _add(self, kind: str, inputs: list[int] | None = None, k: str = "1", o: str = "0", s: str = "", p: str = "0",
             g: str = "1", f: str | None = None) -> int:  # fmt: skip
        """Add one layer, by default on the last tensor -> the number of the tensor it makes."""
        inputs = [len(self.layers)] if inputs is None else inputs
        shape = self.shapes[inputs[0]]
        layer: Layer = {"kind": kind, "inputs": inputs, "channels": shape[-1]}
        after = shape
        if kind == "conv":
            window = conv2d_window(self.name, shape, pair(k), pair(s or "1"), around(p))
            kernel = (window.kh, window.kw, shape[2] // int(g), int(o))
            layer |= {"window": window, "filters": int(o), "groups": int(g), "activation": f}
            after = (window.oh, window.ow, int(o))
            self._weigh(kernel, 2.0 * window.oh * window.ow * math.prod(kernel))
        elif kind == "dense":
            before = self.layers[inputs[0] - 1] if inputs[0] else {}
            layer |= {
                "units": int(o),
                "activation": f,
                "image": before.get("image") if before.get("kind") == "flatten" else None,
            }
            after = (int(o),)
            self._weigh((shape[0], int(o)), 2.0 * shape[0] * int(o))
        elif kind in ("max_pool", "average_pool"):
            layer["window"] = window = pool2d_window(self.name, shape, pair(k), pair(s or k), around(p))
            after = (window.oh, window.ow, shape[2])
        elif kind == "flatten":
            layer["image"], after = list(shape), (math.prod(shape),)
        elif kind == "global_average_pool":
            after = shape[2:]
        elif kind not in ("relu", "add"):
            raise ValueError(f"{self.name} has a layer of unknown kind {kind!r}")
        self.layers.append(layer)
        self.shapes.append(after)
        return len(self.layers)

    @property
    def output(self) -> Shape:
        return self.shapes[-1]

    def _weigh(self, kernel: Shape, flops: float) -> None:
        index = len(self.layers)
        self.weights[f"{index}.kernel"], self.weights[f"{index}.bias"] = kernel, kernel[-1:]
        self.flops.append(flops)

    def inference_flops(self) -> float:
        return sum(self.flops)

    def training_flops(self) -> float:
        """Forward, dx and dW of each layer; the first one needs no dx."""
        return self.batch * (3 * sum(self.flops) - self.flops[0])

    def arguments(self, batch: int, dtype: str) -> Arguments:
        rng = np.random.default_rng(crc32(self.name.encode()))
        return {
            "layers": self.layers,
            "x": np.asarray(rng.standard_normal((batch, *self.input)), dtype),
            "weights": {name: _first_weights(rng, shape, dtype) for name, shape in self.weights.items()},
        }

    def training_arguments(self, dtype: str) -> Arguments:
        labels = np.random.default_rng(self.batch).integers(0, self.classes, self.batch)
        rates = {"learning_rate": LEARNING_RATE, "momentum": MOMENTUM}
        return self.arguments(self.batch, dtype) | {"labels": labels} | rates


def _first_weights(rng: np.random.Generator, shape: Shape, dtype: str) -> Any:
    """He's normal distribution for kernels, zeros for biases."""
    if len(shape) == 1:
        return np.zeros(shape, dtype)
    return np.asarray(rng.standard_normal(shape) * math.sqrt(2 / math.prod(shape[:-1])), dtype)


def read(file: str) -> list[Net]:
    """The nets of one file."""
    text = (files("fastlayers.bench") / "shapes" / f"{file}.txt").read_text()
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("["):
            found.append((line, []))
        elif line.strip() and not line.startswith("#"):
            found[-1][1].append(line)
    return [Net(header, lines) for header, lines in found]


def tasks() -> Iterator[Task]:
    nets = read("nets")
    for net in nets:
        shape = f"batch {net.batch}, {_size(net)}"
        flops = net.training_flops()
        make = net.training_arguments
        yield Task("training", net.name, "", "step", "train_step", shape, make, flops, 0, net.quick, {}, TOLERANCE)
    for net in nets:
        make = partial(net.arguments, 1)
        flops = net.inference_flops()
        yield Task("inference", net.name, "", "forward", "infer", f"batch 1, {_size(net)}", make, flops, 0, net.quick)
    for net in read("calls"):
        shape = f"1x{'x'.join(map(str, net.input))}"
        make = partial(net.arguments, 1)
        yield Task("call", net.name, "", "forward", "call_layer", shape, make, 0, 0, net.quick)


def _size(net: Net) -> str:
    return f"{sum(map(math.prod, net.weights.values())):,} weights"
