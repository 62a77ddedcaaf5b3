"""NumPy with its BLAS: matrix products, and element-wise steps in place where NumPy allows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastlayers.bench.contenders import Arguments, Call, Modes, find, installed, present
from fastlayers.bench.protocol import Array, Unsupported


class Library:
    """Threads come from the environment of the process."""

    def __init__(self, threads: int, dtype: str) -> None:
        pass

    def versions(self) -> dict[str, str]:
        build: Any = np.show_config(mode="dicts")
        blas = build["Build Dependencies"]["blas"]
        return installed("numpy") | {"BLAS": f"{blas.get('name')} {blas.get('version')}"}

    def modes(self, op: str, arguments: Arguments, options: dict[str, Any]) -> Modes:
        return {"": find(OPS, op)(**arguments)}


def dense(x: Array, kernel: Array, bias: Array | None, **_: Any) -> Call:
    return Call(lambda: _affine(x, kernel, bias), lambda y: [y])


def _affine(x: Array, kernel: Array, bias: Array | None) -> Array:
    y: Array = x @ kernel
    if bias is not None:
        y += bias
    return y


def dense_backward_input(dy: Array, kernel: Array, **_: Any) -> Call:
    return Call(lambda: dy @ kernel.T, lambda dx: [dx])


def dense_backward_weight(x: Array, dy: Array, with_bias: bool, **_: Any) -> Call:
    return Call(lambda: _weight_gradients(x, dy, with_bias), lambda gradients: present(*gradients))


def _weight_gradients(x: Array, dy: Array, with_bias: bool) -> tuple[Array, Array | None]:
    """One example needs no matrix product, for which BLAS takes four times as long."""
    return (x.T * dy if len(x) == 1 else x.T @ dy), (dy.sum(axis=0) if with_bias else None)


def dense_together(x: Array, kernel: Array, bias: Array | None, dy: Array, **_: Any) -> Call:
    def run() -> tuple[Any, ...]:
        return _affine(x, kernel, bias), dy @ kernel.T, *_weight_gradients(x, dy, bias is not None)

    return Call(run, lambda results: present(*results))


def activation(x: Array, name: str, **_: Any) -> Call:
    if name == "relu":
        return Call(lambda: np.maximum(x, 0), lambda y: [y])
    if name == "tanh":
        return Call(lambda: np.tanh(x), lambda y: [y])
    raise Unsupported(f"has no {name}")


def activation_backward(dy: Array, r: Array, name: str, **_: Any) -> Call:
    if name == "relu":
        return Call(lambda: dy * (r > 0), lambda dx: [dx])
    if name == "tanh":
        return Call(lambda: dy * (1 - r * r), lambda dx: [dx])
    raise Unsupported(f"has no {name}")


def softmax(x: Array) -> Call:
    return Call(lambda: _softmax(x)[0], lambda y: [y])


def _softmax(x: Array) -> tuple[Array, Array]:
    """softmax(x), and the logarithm of each row's sum after its maximum was taken off."""
    y = x - x.max(axis=1, keepdims=True)
    np.exp(y, out=y)
    total = y.sum(axis=1, keepdims=True)
    y /= total
    return y, np.log(total[:, 0])


def sparse_categorical_crossentropy(y: Array, labels: Array, from_logits: bool) -> Call:
    if not from_logits:
        raise Unsupported("takes logits")
    return Call(lambda: _crossentropy(y, labels), lambda result: [np.array([result[0]], y.dtype), result[1]])


def _crossentropy(y: Array, labels: Array) -> tuple[float, Array]:
    """The mean loss and its gradient."""
    rows = np.arange(len(y))
    p, log_total = _softmax(y)
    loss = float(np.mean(log_total + y.max(axis=1) - y[rows, labels]))
    p[rows, labels] -= 1
    p /= len(y)
    return loss, p


def sgd_update(
    value: Array,
    grad: Array,
    velocity: Array,
    learning_rate: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> Call:
    if nesterov or weight_decay:
        raise Unsupported("does plain momentum only")
    scratch = np.empty_like(value)

    def run() -> None:
        np.multiply(velocity, momentum, out=velocity)
        np.multiply(grad, learning_rate, out=scratch)
        np.subtract(velocity, scratch, out=velocity)
        np.add(value, velocity, out=value)

    return Call(run, lambda _: [value.copy()])


def adam_update(
    value: Array,
    grad: Array,
    m: Array,
    v: Array,
    step: int,
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    **_: Any,
) -> Call:
    alpha = learning_rate * (1 - beta_2**step) ** 0.5 / (1 - beta_1**step)
    scratch = np.empty_like(value)

    def run() -> None:
        np.subtract(grad, m, out=scratch)
        np.multiply(scratch, 1 - beta_1, out=scratch)
        np.add(m, scratch, out=m)
        np.multiply(grad, grad, out=scratch)
        np.subtract(scratch, v, out=scratch)
        np.multiply(scratch, 1 - beta_2, out=scratch)
        np.add(v, scratch, out=v)
        np.sqrt(v, out=scratch)
        np.add(scratch, epsilon, out=scratch)
        np.divide(m, scratch, out=scratch)
        np.multiply(scratch, alpha, out=scratch)
        np.subtract(value, scratch, out=value)

    return Call(run, lambda _: [value.copy()])


class _Mlp:
    """Dense layers with ReLU between them."""

    def __init__(self, layers: list[Arguments], weights: dict[str, Array]) -> None:
        others = {layer["kind"] for layer in layers} - {"dense", "relu", "flatten"}
        if others:
            raise Unsupported(f"has no {', '.join(sorted(others))}")
        self.layers, self.weights = layers, weights

    def forward(self, x: Array) -> list[Array]:
        """The input of every layer, and the output of the last."""
        values = [x]
        for index, layer in enumerate(self.layers):
            values.append(self._forward_layer(index, layer, values[-1]))
        return values

    def _forward_layer(self, index: int, layer: Arguments, x: Array) -> Array:
        if layer["kind"] == "relu":
            return np.maximum(x, 0)
        if layer["kind"] == "flatten":
            return x.reshape(len(x), -1)
        y = _affine(x, self.weights[f"{index}.kernel"], self.weights[f"{index}.bias"])
        if layer["activation"]:
            find({"relu": lambda z: np.maximum(z, 0, out=z)}, layer["activation"])(y)
        return y

    def backward(self, values: list[Array], dy: Array) -> dict[str, Array]:
        """The gradients of the weights."""
        gradients: dict[str, Array] = {}
        for index in reversed(range(len(self.layers))):
            x, y, layer = values[index], values[index + 1], self.layers[index]
            if layer["kind"] == "flatten":
                return gradients
            if layer["kind"] == "relu" or layer["activation"]:
                dy = dy * (y > 0)
            if layer["kind"] == "dense":
                gradients[f"{index}.kernel"], gradients[f"{index}.bias"] = x.T @ dy, dy.sum(axis=0)
                if index:
                    dy = dy @ self.weights[f"{index}.kernel"].T
        return gradients


def infer(layers: list[Arguments], x: Array, weights: dict[str, Array]) -> Call:
    net = _Mlp(layers, weights)
    return Call(lambda: net.forward(x)[-1], lambda y: [y])


def train_step(
    layers: list[Arguments],
    x: Array,
    labels: Array,
    weights: dict[str, Array],
    learning_rate: float,
    momentum: float,
) -> Call:
    before = {name: value.copy() for name, value in weights.items()}
    velocity = {name: np.zeros_like(value) for name, value in weights.items()}
    net = _Mlp(layers, weights)

    def run() -> float:
        values = net.forward(x)
        loss, dy = _crossentropy(values[-1], labels)
        for name, gradient in net.backward(values, dy).items():
            velocity[name] *= momentum
            gradient *= learning_rate
            velocity[name] -= gradient
            weights[name] += velocity[name]
        return loss

    def outputs(loss: float) -> list[Array]:
        return [np.array([loss], x.dtype), *(weights[name] - before[name] for name in before)]

    return Call(run, outputs)


OPS: dict[str, Callable[..., Call]] = {
    function.__name__: function
    for function in (
        dense,
        dense_backward_input,
        dense_backward_weight,
        dense_together,
        activation,
        activation_backward,
        softmax,
        sparse_categorical_crossentropy,
        sgd_update,
        adam_update,
        infer,
        train_step,
    )
} | {"call_layer": infer}
