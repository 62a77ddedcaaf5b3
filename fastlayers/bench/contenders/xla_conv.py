"""JAX's convolutions and pools, in both layouts of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fastlayers.bench.contenders import Call, Modes, present
from fastlayers.bench.contenders.xla_net import call, convolution, pool
from fastlayers.bench.protocol import Array
from fastlayers.shapes import Window2D

LAYOUTS = {"NHWC": ((0, 1, 2, 3), (0, 1, 2, 3)), "NCHW": ((0, 3, 1, 2), (0, 2, 3, 1))}  # from ours, and back


def _in_layouts(
    make: Callable[[str], Callable[..., Any]], images: list[Array], *others: Array | None, image_outputs: int = 1
) -> Modes:
    """make(layout)(*images, *others), whose first `image_outputs` results are images, in both layouts."""

    def mode(layout: str) -> Call:
        axes, back = LAYOUTS[layout]

        def outputs(results: list[Array]) -> list[Array]:
            return [y.transpose(back) for y in results[:image_outputs]] + results[image_outputs:]

        arranged = [np.ascontiguousarray(x.transpose(axes)) for x in images]
        return call(make(layout), *arranged, *present(*others), outputs=outputs)

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
