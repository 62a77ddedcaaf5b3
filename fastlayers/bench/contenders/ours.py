"""fastlayers: its public functions and layers, as a user calls them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

import fastlayers as fl
from fastlayers import ops
from fastlayers.bench.contenders import Arguments, Call, Modes, find, installed, present
from fastlayers.bench.protocol import Array, Unsupported
from fastlayers.shapes import Window2D


class Library:
    """One mode for every op: there is nothing to choose."""

    def __init__(self, threads: int, dtype: str) -> None:
        self.dtype = dtype

    def versions(self) -> dict[str, str]:
        return {"fastlayers": fl.__version__} | installed("numpy")

    def modes(self, op: str, arguments: Arguments, options: dict[str, Any]) -> Modes:
        call = find(OPS, op)(self.dtype, **arguments)
        return {"": call._replace(scope=_scope(options))}


def _scope(options: dict[str, Any]) -> Callable[[], AbstractContextManager[Any]]:
    """fl.use with these options, if this version has them."""
    if not options:
        return nullcontext
    unknown = set(options) - set(inspect.signature(fl.use).parameters)
    if unknown:
        raise Unsupported(f"this fastlayers has no fl.use({', '.join(sorted(unknown))}=…)")
    return lambda: fl.use(**options)


def _geometry(window: list[int]) -> dict[str, Any]:
    w = Window2D(*window)
    return {
        "strides": (w.sh, w.sw),
        "padding": ((w.top, w.bottom), (w.left, w.right)),
        "dilation_rate": (w.dh, w.dw),
    }


def _size(window: list[int]) -> tuple[int, int]:
    w = Window2D(*window)
    return w.kh, w.kw


def conv2d(dtype: str, x: Array, kernel: Array, bias: Array | None, window: list[int], groups: int, **_: Any) -> Call:
    geometry = _geometry(window)
    return Call(lambda: ops.conv2d(x, kernel, bias, groups=groups, **geometry), lambda y: [y])


def conv2d_backward_input(dtype: str, dy: Array, kernel: Array, window: list[int], groups: int, **_: Any) -> Call:
    geometry, w = _geometry(window), Window2D(*window)
    shape = (dy.shape[0], w.h, w.w, kernel.shape[2] * groups)
    return Call(lambda: ops.conv2d_backward_input(dy, kernel, shape, groups=groups, **geometry), lambda dx: [dx])


def conv2d_backward_weight(
    dtype: str, x: Array, dy: Array, window: list[int], groups: int, with_bias: bool, **_: Any
) -> Call:
    geometry, size = _geometry(window), _size(window)
    return Call(
        lambda: ops.conv2d_backward_weight(x, dy, size, groups=groups, with_bias=with_bias, **geometry),
        lambda gradients: present(*gradients),
    )


def conv2d_together(dtype: str, bias: Array | None, **arguments: Any) -> Call:
    steps = [
        conv2d(dtype, bias=bias, **arguments),
        conv2d_backward_input(dtype, **arguments),
        conv2d_backward_weight(dtype, with_bias=bias is not None, **arguments),
    ]
    return _all(steps)


def _all(steps: list[Call]) -> Call:
    def outputs(results: list[Any]) -> list[Array]:
        return [array for step, result in zip(steps, results, strict=True) for array in step.outputs(result)]

    return Call(lambda: [step.run() for step in steps], outputs)


def dense(dtype: str, x: Array, kernel: Array, bias: Array | None, **_: Any) -> Call:
    return Call(lambda: ops.dense(x, kernel, bias), lambda y: [y])


def dense_backward_input(dtype: str, dy: Array, kernel: Array, **_: Any) -> Call:
    return Call(lambda: ops.dense_backward_input(dy, kernel), lambda dx: [dx])


def dense_backward_weight(dtype: str, x: Array, dy: Array, with_bias: bool, **_: Any) -> Call:
    return Call(lambda: ops.dense_backward_weight(x, dy, with_bias=with_bias), lambda gradients: present(*gradients))


def dense_together(dtype: str, bias: Array | None, **arguments: Any) -> Call:
    steps = [
        dense(dtype, bias=bias, **arguments),
        dense_backward_input(dtype, **arguments),
        dense_backward_weight(dtype, with_bias=bias is not None, **arguments),
    ]
    return _all(steps)


def max_pool2d(dtype: str, x: Array, window: list[int], **_: Any) -> Call:
    size, geometry = _size(window), _geometry(window)
    return Call(lambda: ops.max_pool2d(x, size, **geometry), lambda y: [y])


def max_pool2d_backward(dtype: str, dy: Array, argmax: Array, window: list[int], **_: Any) -> Call:
    size, geometry = _size(window), _geometry(window)
    shape = _pool_input(dy, window)
    return Call(lambda: ops.max_pool2d_backward(dy, argmax, shape, size, **geometry), lambda dx: [dx])


def max_pool2d_together(dtype: str, x: Array, dy: Array, window: list[int], **_: Any) -> Call:
    size, geometry = _size(window), _geometry(window)

    def run() -> tuple[Array, Array]:
        y, argmax = ops.max_pool2d_with_argmax(x, size, **geometry)
        return y, ops.max_pool2d_backward(dy, argmax, x.shape, size, **geometry)

    return Call(run, list)


def average_pool2d(dtype: str, x: Array, window: list[int], count_include_pad: bool, **_: Any) -> Call:
    size, geometry = _size(window), _geometry(window)
    return Call(lambda: ops.average_pool2d(x, size, count_include_pad=count_include_pad, **geometry), lambda y: [y])


def average_pool2d_backward(dtype: str, dy: Array, window: list[int], count_include_pad: bool, **_: Any) -> Call:
    size, geometry = _size(window), _geometry(window)
    shape = _pool_input(dy, window)
    return Call(
        lambda: ops.average_pool2d_backward(dy, shape, size, count_include_pad=count_include_pad, **geometry),
        lambda dx: [dx],
    )


def average_pool2d_together(dtype: str, x: Array, **arguments: Any) -> Call:
    return _all([average_pool2d(dtype, x, **arguments), average_pool2d_backward(dtype, **arguments)])


def _pool_input(dy: Array, window: list[int]) -> tuple[int, ...]:
    return (dy.shape[0], window[0], window[1], dy.shape[3])


def activation(dtype: str, x: Array, name: str, **_: Any) -> Call:
    return Call(lambda: ops.activation(x, name), lambda y: [y])


def activation_backward(dtype: str, dy: Array, r: Array, name: str, **_: Any) -> Call:
    return Call(lambda: ops.activation_backward(dy, r, name), lambda dx: [dx])


def softmax(dtype: str, x: Array) -> Call:
    return Call(lambda: ops.softmax(x), lambda y: [y])


def sparse_categorical_crossentropy(dtype: str, y: Array, labels: Array, from_logits: bool) -> Call:
    return Call(
        lambda: ops.sparse_categorical_crossentropy(y, labels, from_logits=from_logits),
        lambda result: [np.array([result[0]], dtype), result[1]],
    )


def sgd_update(dtype: str, value: Array, grad: Array, velocity: Array | None, **rates: Any) -> Call:
    return Call(lambda: ops.sgd_update(value, grad, velocity, **rates), lambda _: [value.copy()])


def adam_update(dtype: str, value: Array, grad: Array, m: Array, v: Array, **rates: Any) -> Call:
    return Call(lambda: ops.adam_update(value, grad, m, v, **rates), lambda _: [value.copy()])


def infer(dtype: str, layers: list[Arguments], x: Array, weights: dict[str, Array]) -> Call:
    net, _ = model(dtype, layers, x, weights)
    return Call(lambda: net(x), lambda y: [y])


def call_layer(dtype: str, layers: list[Arguments], x: Array, weights: dict[str, Array]) -> Call:
    """One layer object by itself, without a model around it."""
    _, (layer,) = model(dtype, layers, x, weights)
    return Call(lambda: layer(x), lambda y: [y])


def train_step(
    dtype: str,
    layers: list[Arguments],
    x: Array,
    labels: Array,
    weights: dict[str, Array],
    learning_rate: float,
    momentum: float,
) -> Call:
    net, made = model(dtype, layers, x, weights)
    loss = fl.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = fl.optimizers.SGD(learning_rate, momentum)

    def outputs(step: tuple[float, Array]) -> list[Array]:
        moved = [_weight(made, name) - before for name, before in weights.items()]
        return [np.array([step[0]], dtype), *moved]

    return Call(lambda: net.train_step(x, labels, loss, optimizer), outputs)


def model(dtype: str, layers: list[Arguments], x: Array, weights: dict[str, Array]) -> tuple[fl.Model, list[fl.Layer]]:
    """The net of these layers: a Sequential where each takes what the one before it made, else a graph."""
    made = [LAYERS[layer["kind"]](**layer) for layer in layers]
    net: fl.Model
    if all(layer["inputs"] == [index] for index, layer in enumerate(layers)):
        net = fl.Sequential(made, input_shape=x.shape[1:], dtype=dtype)
    else:
        tensors: list[Any] = [fl.Input(x.shape[1:], dtype=dtype)]
        for spec, layer in zip(layers, made, strict=True):
            inputs = [tensors[number] for number in spec["inputs"]]
            tensors.append(layer(tuple(inputs) if len(inputs) > 1 else inputs[0]))
        net = fl.Model(tensors[0], tensors[-1])
    for name, value in weights.items():
        _weight(made, name)[...] = value
    return net, made


def _weight(layers: list[fl.Layer], name: str) -> Array:
    index, what = name.split(".")
    value: Array = getattr(layers[int(index)], what).value
    return value


LAYERS: dict[str, Callable[..., fl.Layer]] = {
    "conv": lambda filters, window, groups, activation, **_: fl.Conv2D(
        filters, _size(window), groups=groups, activation=activation, **_geometry(window)
    ),
    "dense": lambda units, activation, **_: fl.Dense(units, activation),
    "max_pool": lambda window, **_: fl.MaxPooling2D(_size(window), **_geometry(window)),
    "average_pool": lambda window, **_: fl.AveragePooling2D(_size(window), **_geometry(window)),
    "global_average_pool": lambda **_: fl.GlobalAveragePooling2D(),
    "flatten": lambda **_: fl.Flatten(),
    "relu": lambda **_: fl.ReLU(),
    "add": lambda **_: fl.Add(),
}

OPS: dict[str, Callable[..., Call]] = {
    op.__name__: op
    for op in (
        conv2d,
        conv2d_backward_input,
        conv2d_backward_weight,
        conv2d_together,
        dense,
        dense_backward_input,
        dense_backward_weight,
        dense_together,
        max_pool2d,
        max_pool2d_backward,
        max_pool2d_together,
        average_pool2d,
        average_pool2d_backward,
        average_pool2d_together,
        activation,
        activation_backward,
        softmax,
        sparse_categorical_crossentropy,
        sgd_update,
        adam_update,
        infer,
        call_layer,
        train_step,
    )
}
