"""JAX: every op under jit, compiled by XLA for the CPU.

Modes of images are the layouts ("NHWC", "NCHW"). Gradients are those of jax.vjp inside the compiled function, which
drops the forward pass where nothing needs it. A call ends when its results are ready.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fastlayers.bench.contenders import Arguments, Call, Modes, find, installed, present
from fastlayers.bench.contenders import xla_conv as conv
from fastlayers.bench.contenders.xla_net import call, infer, train_step
from fastlayers.bench.protocol import Array, Unsupported


class Library:
    """Threads come from the CPUs that the process may run on."""

    def __init__(self, threads: int, dtype: str) -> None:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_enable_x64", dtype == "float64")

    def versions(self) -> dict[str, str]:
        return installed("jax", "jaxlib", "numpy")

    def modes(self, op: str, arguments: Arguments, options: dict[str, Any]) -> Modes:
        return find(OPS, op)(**arguments)


def _affine(x: Any, kernel: Any, bias: Any = None) -> Any:
    y = x @ kernel
    return y if bias is None else y + bias


def dense(x: Array, kernel: Array, bias: Array | None, **_: Any) -> Modes:
    return {"": call(lambda *inputs: (_affine(*inputs),), x, kernel, *present(bias))}


def dense_backward_input(dy: Array, kernel: Array, **_: Any) -> Modes:
    return {"": call(lambda dy, kernel: (dy @ kernel.T,), dy, kernel)}


def dense_backward_weight(x: Array, dy: Array, with_bias: bool, **_: Any) -> Modes:
    return {"": call(lambda x, dy: (x.T @ dy, dy.sum(0) if with_bias else None), x, dy)}


def dense_together(x: Array, kernel: Array, bias: Array | None, dy: Array, **_: Any) -> Modes:
    def everything(dy: Any, *inputs: Any) -> Any:
        y, backward = jax.vjp(_affine, *inputs)
        return (y, *backward(dy))

    return {"": call(everything, dy, x, kernel, *present(bias))}


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "silu": jax.nn.silu,
}
GRADIENTS: dict[str, Callable[[Any, Any], Any]] = {
    "relu": lambda dy, y: jnp.where(y > 0, dy, 0),
    "sigmoid": lambda dy, y: dy * y * (1 - y),
    "tanh": lambda dy, y: dy * (1 - y * y),
    "gelu": lambda dy, x: jax.vjp(FUNCTIONS["gelu"], x)[1](dy)[0],
    "silu": lambda dy, x: jax.vjp(FUNCTIONS["silu"], x)[1](dy)[0],
}


def activation(x: Array, name: str, **_: Any) -> Modes:
    if name not in FUNCTIONS:
        raise Unsupported(f"has no {name}")
    return {"": call(lambda x: (FUNCTIONS[name](x),), x)}


def activation_backward(dy: Array, r: Array, name: str, **_: Any) -> Modes:
    if name not in GRADIENTS:
        raise Unsupported(f"has no {name}")
    return {"": call(lambda dy, r: (GRADIENTS[name](dy, r),), dy, r)}


def softmax(x: Array) -> Modes:
    return {"": call(lambda x: (jax.nn.softmax(x),), x)}


def sparse_categorical_crossentropy(y: Array, labels: Array, from_logits: bool) -> Modes:
    if not from_logits:
        raise Unsupported("takes logits")

    def loss(y: Any, labels: Any) -> Any:
        log_p = jax.nn.log_softmax(y)
        return -jnp.take_along_axis(log_p, labels[:, None], 1).mean()

    return {"": call(jax.value_and_grad(loss), y, labels, outputs=lambda results: [results[0].reshape(1), results[1]])}


def _updating(step: Callable[..., Any], state: list[Array], grad: Array) -> Modes:
    """state = step(*state, grad) again and again, in the same memory; the first of the state is the output."""
    compiled = jax.jit(step, donate_argnums=tuple(range(len(state))))
    now = [jnp.array(x) for x in state]
    gradient = jnp.asarray(grad)

    def run() -> None:
        now[:] = jax.block_until_ready(compiled(*now, gradient))

    return {"": Call(run, lambda _: [np.array(now[0])])}


def sgd_update(
    value: Array,
    grad: Array,
    velocity: Array,
    learning_rate: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> Modes:
    if nesterov or weight_decay:
        raise Unsupported("does plain momentum only")

    def step(value: Any, velocity: Any, grad: Any) -> Any:
        velocity = momentum * velocity - learning_rate * grad
        return value + velocity, velocity

    return _updating(step, [value, velocity], grad)


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
) -> Modes:
    alpha = learning_rate * (1 - beta_2**step) ** 0.5 / (1 - beta_1**step)

    def update(value: Any, m: Any, v: Any, grad: Any) -> Any:
        m = m + (grad - m) * (1 - beta_1)
        v = v + (grad * grad - v) * (1 - beta_2)
        return value - alpha * m / (jnp.sqrt(v) + epsilon), m, v

    return _updating(update, [value, m, v], grad)


OPS: dict[str, Callable[..., Modes]] = {
    function.__name__: function
    for function in (
        conv.conv2d,
        conv.conv2d_backward_input,
        conv.conv2d_backward_weight,
        conv.conv2d_together,
        dense,
        dense_backward_input,
        dense_backward_weight,
        dense_together,
        conv.max_pool2d,
        conv.max_pool2d_backward,
        conv.max_pool2d_together,
        conv.average_pool2d,
        conv.average_pool2d_backward,
        conv.average_pool2d_together,
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
