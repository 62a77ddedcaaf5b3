"""Whole nets in PyTorch: nn.Module, autograd and torch.optim, as a user writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fastlayers.bench.contenders import Arguments, Call, Modes
from fastlayers.bench.contenders.pytorch_conv import FORMATS, hwio, image, nhwc, oihw
from fastlayers.bench.protocol import Array
from fastlayers.shapes import Window2D

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


class Net:
    """The modules of a net in one memory format, and its weights by our names, in our layouts."""

    def __init__(self, layers: list[Arguments], weights: dict[str, Array], memory_format: Any) -> None:
        self.layers = layers
        self.made = [_module(**layer) for layer in layers]
        steps = [_activated(module, layer.get("activation")) for module, layer in zip(self.made, layers, strict=True)]
        chain = all(layer["inputs"] == [index] for index, layer in enumerate(layers))
        module = nn.Sequential(*steps) if chain else _Graph(steps, [layer["inputs"] for layer in layers])
        dtype = torch.from_numpy(next(iter(weights.values()))).dtype if weights else None
        self.module = module.to(dtype=dtype, memory_format=memory_format)
        with torch.no_grad():
            for name, value in weights.items():
                self._parameter(name).copy_(self._to_torch(name, value))

    def values(self, names: list[str]) -> list[Array]:
        return [self._from_torch(name, self._parameter(name).detach()) for name in names]

    def _parameter(self, name: str) -> Tensor:
        index, what = name.split(".")
        parameter: Tensor = getattr(self.made[int(index)], "weight" if what == "kernel" else "bias")
        return parameter

    def _image(self, name: str) -> list[int] | None:
        image: list[int] | None = self.layers[int(name.split(".")[0])]["image"]
        return image

    def _to_torch(self, name: str, value: Array) -> Tensor:
        if value.ndim == 4:
            return oihw(value, torch.contiguous_format)
        kernel = torch.from_numpy(value)
        if value.ndim == 2 and (image := self._image(name)):  # rows in the order (H, W, C) -> (C, H, W)
            kernel = kernel.reshape(*image, -1).permute(2, 0, 1, 3).reshape(value.shape)
        return kernel.t() if value.ndim == 2 else kernel

    def _from_torch(self, name: str, value: Tensor) -> Array:
        if value.ndim == 4:
            return hwio(value)
        kernel = value.t() if value.ndim == 2 else value
        if value.ndim == 2 and (image := self._image(name)):
            h, w, c = image
            kernel = kernel.reshape(c, h, w, -1).permute(1, 2, 0, 3).reshape(kernel.shape)
        return np.array(kernel.numpy())


class _Graph(nn.Module):  # type: ignore[misc]
    """Modules that take tensors by number, and each make the next."""

    def __init__(self, steps: list[nn.Module], inputs: list[list[int]]) -> None:
        super().__init__()
        self.steps, self.inputs = nn.ModuleList(steps), inputs

    def forward(self, x: Tensor) -> Tensor:
        tensors = [x]
        for step, numbers in zip(self.steps, self.inputs, strict=True):
            tensors.append(step(*(tensors[number] for number in numbers)))
        return tensors[-1]


class _Add(nn.Module):  # type: ignore[misc]
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


def _activated(module: nn.Module, activation: str | None) -> nn.Module:
    return nn.Sequential(module, ACTIVATIONS[activation]()) if activation else module


def _module(kind: str, channels: int, **options: Any) -> nn.Module:
    """The module of one layer for so many channels."""
    if kind == "conv":
        return nn.Conv2d(channels, options["filters"], *_geometry(options["window"]), groups=options["groups"])
    if kind == "dense":
        return nn.Linear(channels, options["units"])
    if kind in ("max_pool", "average_pool"):
        return (nn.MaxPool2d if kind == "max_pool" else nn.AvgPool2d)(*_geometry(options["window"]))
    if kind == "global_average_pool":
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return {"flatten": nn.Flatten, "relu": ACTIVATIONS["relu"], "add": _Add}[kind]()


def _geometry(window: list[int]) -> tuple[tuple[int, int], ...]:
    """Window, strides and padding."""
    w = Window2D(*window)
    return (w.kh, w.kw), (w.sh, w.sw), (w.top, w.left)


def inputs(x: Array, memory_format: Any) -> Tensor:
    return image(x, memory_format) if x.ndim == 4 else torch.from_numpy(x)


def formats(x: Array) -> dict[str, Any]:
    """Memory formats worth trying for inputs like x."""
    return FORMATS if x.ndim == 4 else {"contiguous": torch.contiguous_format}


def outputs(y: Tensor) -> list[Array]:
    return [nhwc(y) if y.ndim == 4 else y.detach().numpy()]


def infer(layers: list[Arguments], x: Array, weights: dict[str, Array]) -> Modes:
    return {name: _inference(layers, x, weights, layout, lambda m: m) for name, layout in formats(x).items()}


def call_layer(layers: list[Arguments], x: Array, weights: dict[str, Array]) -> Modes:
    return infer(layers, x, weights)


def _inference(
    layers: list[Arguments],
    x: Array,
    weights: dict[str, Array],
    memory_format: Any,
    prepare: Callable[[nn.Module], Callable[..., Any]],
) -> Call:
    made = Net(layers, weights, memory_format)
    module = made.module if len(layers) > 1 else made.made[0]  # one layer is called without a model around it
    net, xs = prepare(module.eval()), inputs(x, memory_format)
    return Call(lambda: net(xs), outputs, torch.inference_mode)


def compiled_infer(layers: list[Arguments], x: Array, weights: dict[str, Array]) -> Modes:
    name, layout = next(iter(formats(x).items()))  # the compiler chooses layouts inside by itself
    return {name: _inference(layers, x, weights, layout, compiled)}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    quick: Callable[..., Any] = torch.compile(function, dynamic=False)
    return quick


def train_step(layers: list[Arguments], x: Array, labels: Array, weights: dict[str, Array], **rates: float) -> Modes:
    def make(layout: Any, implementation: str) -> Call:
        return _training(layers, x, labels, weights, layout, lambda f: f, implementation, **rates)

    return {
        f"{name}, {implementation}": make(layout, implementation)
        for name, layout in formats(x).items()
        for implementation in ("foreach", "fused")
    }


def compiled_train_step(
    layers: list[Arguments], x: Array, labels: Array, weights: dict[str, Array], **rates: float
) -> Modes:
    name, layout = next(iter(formats(x).items()))
    return {name: _training(layers, x, labels, weights, layout, compiled, "fused", **rates)}


def _training(
    layers: list[Arguments],
    x: Array,
    labels: Array,
    weights: dict[str, Array],
    memory_format: Any,
    prepare: Callable[[Callable[..., Any]], Callable[..., Any]],
    implementation: str,
    learning_rate: float,
    momentum: float,
) -> Call:
    net = Net(layers, weights, memory_format)
    module, xs, wanted = net.module.train(), inputs(x, memory_format), torch.from_numpy(labels)
    optimizer = torch.optim.SGD(module.parameters(), learning_rate, momentum, **{implementation: True})
    loss_of = prepare(lambda: functional.cross_entropy(module(xs), wanted))

    def run() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return float(loss)

    def moved(loss: float) -> list[Array]:
        after = net.values(list(weights))
        first = np.array([loss], x.dtype)
        return [first, *(now - before for now, before in zip(after, weights.values(), strict=True))]

    return Call(run, moved)
