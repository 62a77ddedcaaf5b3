"""What all of JAX's ops are made with, and whole nets: pure functions of weights and images, compiled as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fastlayers.bench.contenders import Arguments, Call, Modes, present
from fastlayers.bench.protocol import Array
from fastlayers.shapes import Window2D


def call(function: Callable[..., Any], *inputs: Any, outputs: Callable[[list[Array]], list[Array]] = list) -> Call:
    """The compiled function, which returns a tuple, on these inputs."""
    ready = [jnp.asarray(x) for x in inputs]
    compiled = jax.jit(function)
    return Call(
        lambda: jax.block_until_ready(compiled(*ready)),
        lambda results: outputs([np.asarray(y) for y in present(*results)]),
    )


def convolution(layout: str, window: list[int], groups: int) -> Callable[..., Any]:
    """y = f(x, kernel, bias or nothing), images in `layout`"""
    w = Window2D(*window)

    def forward(x: Any, kernel: Any, bias: Any = None) -> Any:
        y = lax.conv_general_dilated(
            x,
            kernel,
            (w.sh, w.sw),
            ((w.top, w.bottom), (w.left, w.right)),
            rhs_dilation=(w.dh, w.dw),
            dimension_numbers=(layout, "HWIO", layout),
            feature_group_count=groups,
        )
        return y if bias is None else y + bias.reshape((-1, 1, 1) if layout == "NCHW" else (-1,))

    return forward


def pool(layout: str, window: list[int], kind: str) -> Callable[[Any], Any]:
    """y = f(x); kind is "max", "average" or "average with padding" (which counts)"""
    w = Window2D(*window)

    def spread(rows: Any, columns: Any, rest: Any) -> tuple[Any, ...]:
        return (rest, rows, columns, rest) if layout == "NHWC" else (rest, rest, rows, columns)

    size, strides = spread(w.kh, w.kw, 1), spread(w.sh, w.sw, 1)
    padding = spread((w.top, w.bottom), (w.left, w.right), (0, 0))

    def reduce(x: Any, start: Any, operation: Callable[..., Any]) -> Any:
        return lax.reduce_window(x, start, operation, size, strides, padding)

    def forward(x: Any) -> Any:
        if kind == "max":
            return reduce(x, -jnp.inf, lax.max)
        total = reduce(x, 0.0, lax.add)
        if kind == "average with padding":
            return total / (w.kh * w.kw)
        ones = jnp.ones([n if axis in _pixels(layout) else 1 for axis, n in enumerate(x.shape)], x.dtype)
        return total / reduce(ones, 0.0, lax.add)

    return forward


def _pixels(layout: str) -> tuple[int, int]:
    return (1, 2) if layout == "NHWC" else (2, 3)


def _apply(layers: list[Arguments], weights: dict[str, Any], x: Any) -> Any:
    """The net's output for images (N, H, W, C)."""
    tensors = [x]
    for index, layer in enumerate(layers):
        given = [tensors[number] for number in layer["inputs"]]
        tensors.append(_layer(given, weights.get(f"{index}.kernel"), weights.get(f"{index}.bias"), **layer))
    return tensors[-1]


def _layer(given: list[Any], kernel: Any, bias: Any, kind: str, activation: str | None = None, **options: Any) -> Any:
    x = given[0]
    if kind == "conv":
        x = convolution("NHWC", options["window"], options["groups"])(x, kernel, bias)
    elif kind == "dense":
        x = x @ kernel + bias
    elif kind in ("max_pool", "average_pool"):
        x = pool("NHWC", options["window"], kind.removesuffix("_pool"))(x)
    elif kind == "global_average_pool":
        x = x.mean((1, 2))
    elif kind == "flatten":
        x = x.reshape(len(x), -1)
    elif kind == "relu":
        x = jax.nn.relu(x)
    elif kind == "add":
        x = x + given[1]
    return x if activation is None else {"relu": jax.nn.relu, "tanh": jnp.tanh}[activation](x)


def infer(layers: list[Arguments], x: Array, weights: dict[str, Array]) -> Modes:
    net = jax.jit(lambda weights, x: _apply(layers, weights, x))
    ready, xs = {name: jnp.asarray(value) for name, value in weights.items()}, jnp.asarray(x)
    return {"": Call(lambda: jax.block_until_ready(net(ready, xs)), lambda y: [np.asarray(y)])}


def train_step(
    layers: list[Arguments],
    x: Array,
    labels: Array,
    weights: dict[str, Array],
    learning_rate: float,
    momentum: float,
) -> Modes:
    def loss_of(weights: dict[str, Any], x: Any, labels: Any) -> Any:
        log_p = jax.nn.log_softmax(_apply(layers, weights, x))
        return -jnp.take_along_axis(log_p, labels[:, None], 1).mean()

    def step(weights: dict[str, Any], velocity: dict[str, Any], x: Any, labels: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(weights, x, labels)
        velocity = {name: momentum * v - learning_rate * gradients[name] for name, v in velocity.items()}
        return {name: value + velocity[name] for name, value in weights.items()}, velocity, loss

    compiled = jax.jit(step, donate_argnums=(0, 1))
    now = {name: jnp.array(value) for name, value in weights.items()}
    velocity = {name: jnp.zeros_like(value) for name, value in weights.items()}
    xs, wanted = jnp.asarray(x), jnp.asarray(labels)

    def run() -> Any:
        nonlocal now, velocity
        now, velocity, loss = jax.block_until_ready(compiled(now, velocity, xs, wanted))
        return loss

    def outputs(loss: Any) -> list[Array]:
        moved = [np.asarray(now[name]) - before for name, before in weights.items()]
        return [np.asarray(loss).reshape(1), *moved]

    return {"": Call(run, outputs)}
