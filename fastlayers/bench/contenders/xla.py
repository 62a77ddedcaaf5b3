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
from fastlayers.bench.contenders.xla_net import convolution, infer, pool, train_step
from fastlayers.bench.protocol import Array, Unsupported
from fastlayers.shapes import Window2D

LAYOUTS = {"NHWC": ((0, 1, 2, 3), (0, 1, 2, 3)), "NCHW": ((0, 3, 1, 2), (0, 2, 3, 1))}  # from ours, and back


class Library:
    """Threads come from the CPUs that the process may run on."""

    def __init__(self, threads: int, dtype: str) -> None:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_enable_x64", dtype == "float64")

    def versions(self) -> dict[str, str]:
        return installed("jax", "jaxlib", "numpy")

    def modes(self, op: str, arguments: Arguments, options: dict[str, Any]) -> Modes:
        return find(OPS, op)(**arguments)


def _call(function: Callable[..., Any], *inputs: Any, outputs: Callable[[list[Array]], list[Array]] = list) -> Call:
    """The compiled function, which returns a tuple, on these inputs."""
    ready = [jnp.asarray(x) for x in inputs]
    compiled = jax.jit(function)
    return Call(
        lambda: jax.block_until_ready(compiled(*ready)),
        lambda results: outputs([np.asarray(y) for y in present(*results)]),
    )


def _in_layouts(
    make: Callable[[str], Callable[..., Any]], images: list[Array], *others: Array | None, image_outputs: int = 1
) -> Modes:
    """make(layout)(*images, *others), whose first `image_outputs` results are images, in both layouts."""

    def mode(layout: str) -> Call:
        axes, back = LAYOUTS[layout]

        def outputs(results: list[Array]) -> list[Array]:
            return [y.transpose(back) for y in results[:image_outputs]] + results[image_outputs:]

        arranged = [np.ascontiguousarray(x.transpose(axes)) for x in images]
        return _call(make(layout), *arranged, *present(*others), outputs=outputs)

    return {layout: mode(layout) for layout in LAYOUTS}


def conv2d(x: Array, kernel: Array, bias: Array | None, window: list[int], groups: int, **_: Any) -> Modes:
    def make(layout: str) -> Callable[..., Any]:
        forward = convolution(layout, window, groups)
        return lambda *inputs: (forward(*inputs),)

    return _in_layouts(make, [x], kernel, bias)


def conv2d_backward_input(dy: Array, kernel: Array, window: list[int], groups: int, **_: Any) -> Modes:
    w = Window2D(*window)

    def make(layout: str) -> Callable[..., Any]:
        forward = convolution(layout, window, groups)
        shape = _image_shape(layout, dy.shape[0], w.h, w.w, kernel.shape[2] * groups)

        def dx(dy: Any, kernel: Any) -> Any:
            return jax.vjp(lambda x: forward(x, kernel), jnp.zeros(shape, dy.dtype))[1](dy)

        return dx

    return _in_layouts(make, [dy], kernel)


def _image_shape(layout: str, n: int, h: int, w: int, c: int) -> tuple[int, ...]:
    return (n, h, w, c) if layout == "NHWC" else (n, c, h, w)


def _sum_to_bias(layout: str, dy: Any) -> Any:
    return dy.sum((0, 1, 2) if layout == "NHWC" else (0, 2, 3))


def conv2d_backward_weight(x: Array, dy: Array, window: list[int], groups: int, with_bias: bool, **_: Any) -> Modes:
    w = Window2D(*window)
    shape = (w.kh, w.kw, x.shape[3] // groups, dy.shape[3])

    def make(layout: str) -> Callable[..., Any]:
        forward = convolution(layout, window, groups)

        def gradients(x: Any, dy: Any) -> Any:
            dw = jax.vjp(lambda kernel: forward(x, kernel), jnp.zeros(shape, x.dtype))[1](dy)
            return (*dw, _sum_to_bias(layout, dy)) if with_bias else dw

        return gradients

    return _in_layouts(make, [x, dy], image_outputs=0)


def conv2d_together(
    x: Array, kernel: Array, bias: Array | None, dy: Array, window: list[int], groups: int, **_: Any
) -> Modes:
    def make(layout: str) -> Callable[..., Any]:
        forward = convolution(layout, window, groups)

        def everything(x: Any, dy: Any, *weights: Any) -> Any:
            y, backward = jax.vjp(forward, x, *weights)
            return (y, *backward(dy))

        return everything

    return _in_layouts(make, [x, dy], kernel, bias, image_outputs=2)


def max_pool2d(x: Array, window: list[int], **_: Any) -> Modes:
    def make(layout: str) -> Callable[..., Any]:
        return lambda x: (pool(layout, window, "max")(x),)

    return _in_layouts(make, [x])


def max_pool2d_backward(dy: Array, x: Array, window: list[int], **_: Any) -> Modes:
    return _pool_gradient(x, dy, window, "max")


def average_pool2d_backward(dy: Array, window: list[int], count_include_pad: bool, **_: Any) -> Modes:
    x = np.zeros((dy.shape[0], window[0], window[1], dy.shape[3]), dy.dtype)
    return _pool_gradient(x, dy, window, _average(window, count_include_pad))


def _pool_gradient(x: Array, dy: Array, window: list[int], kind: str) -> Modes:
    def make(layout: str) -> Callable[..., Any]:
        return lambda x, dy: jax.vjp(pool(layout, window, kind), x)[1](dy)

    return _in_layouts(make, [x, dy])


def max_pool2d_together(x: Array, dy: Array, window: list[int], **_: Any) -> Modes:
    return _pool_together(x, dy, window, "max")


def average_pool2d_together(x: Array, dy: Array, window: list[int], count_include_pad: bool, **_: Any) -> Modes:
    return _pool_together(x, dy, window, _average(window, count_include_pad))


def _pool_together(x: Array, dy: Array, window: list[int], kind: str) -> Modes:
    def make(layout: str) -> Callable[..., Any]:
        def both(x: Any, dy: Any) -> Any:
            y, backward = jax.vjp(pool(layout, window, kind), x)
            return (y, *backward(dy))

        return both

    return _in_layouts(make, [x, dy], image_outputs=2)


def average_pool2d(x: Array, window: list[int], count_include_pad: bool, **_: Any) -> Modes:
    def make(layout: str) -> Callable[..., Any]:
        return lambda x: (pool(layout, window, _average(window, count_include_pad))(x),)

    return _in_layouts(make, [x])


def _average(window: list[int], count_include_pad: bool) -> str:
    return "average with padding" if count_include_pad else "average"


def _affine(x: Any, kernel: Any, bias: Any = None) -> Any:
    y = x @ kernel
    return y if bias is None else y + bias


def dense(x: Array, kernel: Array, bias: Array | None, **_: Any) -> Modes:
    return {"": _call(lambda *inputs: (_affine(*inputs),), x, kernel, *present(bias))}


def dense_backward_input(dy: Array, kernel: Array, **_: Any) -> Modes:
    return {"": _call(lambda dy, kernel: (dy @ kernel.T,), dy, kernel)}


def dense_backward_weight(x: Array, dy: Array, with_bias: bool, **_: Any) -> Modes:
    return {"": _call(lambda x, dy: (x.T @ dy, dy.sum(0) if with_bias else None), x, dy)}


def dense_together(x: Array, kernel: Array, bias: Array | None, dy: Array, **_: Any) -> Modes:
    def everything(dy: Any, *inputs: Any) -> Any:
        y, backward = jax.vjp(_affine, *inputs)
        return (y, *backward(dy))

    return {"": _call(everything, dy, x, kernel, *present(bias))}


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
    return {"": _call(lambda x: (FUNCTIONS[name](x),), x)}


def activation_backward(dy: Array, r: Array, name: str, **_: Any) -> Modes:
    if name not in GRADIENTS:
        raise Unsupported(f"has no {name}")
    return {"": _call(lambda dy, r: (GRADIENTS[name](dy, r),), dy, r)}


def softmax(x: Array) -> Modes:
    return {"": _call(lambda x: (jax.nn.softmax(x),), x)}


def sparse_categorical_crossentropy(y: Array, labels: Array, from_logits: bool) -> Modes:
    if not from_logits:
        raise Unsupported("takes logits")

    def loss(y: Any, labels: Any) -> Any:
        log_p = jax.nn.log_softmax(y)
        return -jnp.take_along_axis(log_p, labels[:, None], 1).mean()

    return {"": _call(jax.value_and_grad(loss), y, labels, outputs=lambda results: [results[0].reshape(1), results[1]])}


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
        train_step,
    )
} | {"call_layer": infer}
