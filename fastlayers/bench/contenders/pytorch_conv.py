"""PyTorch's convolutions and pools, in both memory formats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fastlayers.bench.contenders import Call, Modes, present
from fastlayers.bench.protocol import Array, Unsupported
from fastlayers.shapes import Window2D

FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
aten = torch.ops.aten


def image(x: Array, memory_format: Any) -> Tensor:
    """(N, H, W, C) -> a tensor (N, C, H, W) in that format"""
    return torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).contiguous(memory_format=memory_format)


def nhwc(y: Tensor) -> Array:
    return np.ascontiguousarray(y.detach().permute(0, 2, 3, 1).numpy())


def oihw(kernel: Array, memory_format: Any) -> Tensor:
    """(KH, KW, C, O) -> (O, C, KH, KW)"""
    return torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()).contiguous(memory_format=memory_format)


def hwio(kernel: Tensor) -> Array:
    return np.ascontiguousarray(kernel.detach().permute(2, 3, 1, 0).numpy())


def vector(bias: Array | None) -> Tensor | None:
    return None if bias is None else torch.from_numpy(bias)


def _in_formats(make: Callable[[Any], Call]) -> Modes:
    return {name: make(memory_format) for name, memory_format in FORMATS.items()}


def _padding(w: Window2D) -> list[int]:
    if w.top != w.bottom or w.left != w.right:
        raise Unsupported("pads both sides alike")
    return [w.top, w.left]


class _Convolution:
    """Forward and gradients of one convolution."""

    def __init__(self, window: list[int], groups: int) -> None:
        w = Window2D(*window)
        self.groups, self.strides, self.padding, self.dilation = groups, [w.sh, w.sw], _padding(w), [w.dh, w.dw]

    def forward(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        return functional.conv2d(x, kernel, bias, self.strides, self.padding, self.dilation, self.groups)

    def backward(self, dy: Tensor, x: Tensor, kernel: Tensor, dx: bool, dw: bool, db: bool) -> Any:
        geometry = (self.strides, self.padding, self.dilation, False, [0, 0], self.groups)
        sizes = [kernel.shape[0]] if db else None
        return aten.convolution_backward(dy, x, kernel, sizes, *geometry, [dx, dw, db])


def conv2d(x: Array, kernel: Array, bias: Array | None, window: list[int], groups: int, **_: Any) -> Modes:
    op = _Convolution(window, groups)

    def make(memory_format: Any) -> Call:
        xs, ws, bs = image(x, memory_format), oihw(kernel, memory_format), vector(bias)
        return Call(lambda: op.forward(xs, ws, bs), lambda y: [nhwc(y)], torch.inference_mode)

    return _in_formats(make)


def conv2d_backward_input(dy: Array, kernel: Array, window: list[int], groups: int, **_: Any) -> Modes:
    w = Window2D(*window)
    x = np.zeros((dy.shape[0], w.h, w.w, kernel.shape[2] * groups), dy.dtype)
    return _gradients(x, dy, kernel, _Convolution(window, groups), (True, False, False))


def conv2d_backward_weight(x: Array, dy: Array, window: list[int], groups: int, with_bias: bool, **_: Any) -> Modes:
    w = Window2D(*window)
    kernel = np.zeros((w.kh, w.kw, x.shape[3] // groups, dy.shape[3]), x.dtype)
    return _gradients(x, dy, kernel, _Convolution(window, groups), (False, True, with_bias))


def _gradients(x: Array, dy: Array, kernel: Array, op: _Convolution, wanted: tuple[bool, bool, bool]) -> Modes:
    def make(memory_format: Any) -> Call:
        arrays = image(dy, memory_format), image(x, memory_format), oihw(kernel, memory_format)
        return Call(lambda: op.backward(*arrays, *wanted), _outputs, torch.inference_mode)

    return _in_formats(make)


def _outputs(gradients: tuple[Tensor | None, ...]) -> list[Array]:
    dx, dw, db = gradients
    return [
        *present(None if dx is None else nhwc(dx), None if dw is None else hwio(dw)),
        *present(None if db is None else db.numpy()),
    ]


def conv2d_together(
    x: Array, kernel: Array, bias: Array | None, dy: Array, window: list[int], groups: int, **_: Any
) -> Modes:
    op = _Convolution(window, groups)

    def make(memory_format: Any) -> Call:
        xs, ws, bs = image(x, memory_format), oihw(kernel, memory_format), vector(bias)
        dys = image(dy, memory_format)

        def run() -> tuple[Tensor, Any]:
            return op.forward(xs, ws, bs), op.backward(dys, xs, ws, True, True, bs is not None)

        return Call(run, lambda result: [nhwc(result[0]), *_outputs(result[1])], torch.inference_mode)

    return _in_formats(make)


class _Pool:
    """A pool's geometry, as torch's functions take it."""

    def __init__(self, window: list[int]) -> None:
        self.window = w = Window2D(*window)
        self.size, self.strides, self.padding, self.dilation = [w.kh, w.kw], [w.sh, w.sw], _padding(w), [w.dh, w.dw]
        self.max = (self.size, self.strides, self.padding, self.dilation, False)

    def indices(self, argmax: Array) -> Array:
        """Taps as torch counts them: places in the input image."""
        w = self.window
        i, j = np.divmod(argmax.astype(np.int64), w.kw)
        rows = np.arange(w.oh).reshape(1, -1, 1, 1) * w.sh - w.top + i * w.dh
        columns = np.arange(w.ow).reshape(1, 1, -1, 1) * w.sw - w.left + j * w.dw
        return np.asarray(rows * w.w + columns)

    def is_global(self) -> bool:
        w = self.window
        return (w.oh, w.ow, w.kh, w.kw) == (1, 1, w.h, w.w)


def max_pool2d(x: Array, window: list[int], **_: Any) -> Modes:
    pool = _Pool(window)

    def make(memory_format: Any) -> Call:
        xs = image(x, memory_format)
        return Call(lambda: functional.max_pool2d(xs, *pool.max), lambda y: [nhwc(y)], torch.inference_mode)

    return _in_formats(make)


def max_pool2d_backward(dy: Array, argmax: Array, x: Array, window: list[int], **_: Any) -> Modes:
    pool = _Pool(window)

    def make(memory_format: Any) -> Call:
        dys, xs, places = (image(array, memory_format) for array in (dy, x, pool.indices(argmax)))
        return Call(
            lambda: aten.max_pool2d_with_indices_backward(dys, xs, *pool.max, places),
            lambda dx: [nhwc(dx)],
            torch.inference_mode,
        )

    return _in_formats(make)


def max_pool2d_together(x: Array, dy: Array, window: list[int], **_: Any) -> Modes:
    pool = _Pool(window)

    def make(memory_format: Any) -> Call:
        xs, dys = image(x, memory_format), image(dy, memory_format)

        def run() -> tuple[Tensor, Tensor]:
            y, places = aten.max_pool2d_with_indices(xs, *pool.max)
            return y, aten.max_pool2d_with_indices_backward(dys, xs, *pool.max, places)

        return Call(run, lambda result: [nhwc(part) for part in result], torch.inference_mode)

    return _in_formats(make)


def average_pool2d(x: Array, window: list[int], count_include_pad: bool, **_: Any) -> Modes:
    pool = _Pool(window)

    def make(memory_format: Any) -> Call:
        xs = image(x, memory_format)
        return Call(lambda: _average(xs, pool, count_include_pad), lambda y: [nhwc(y)], torch.inference_mode)

    def make_mean(memory_format: Any) -> Call:
        xs = image(x, memory_format)
        return Call(lambda: xs.mean((2, 3), keepdim=True), lambda y: [nhwc(y)], torch.inference_mode)

    return _in_formats(make) | _means(pool, make_mean)


def average_pool2d_backward(dy: Array, window: list[int], count_include_pad: bool, **_: Any) -> Modes:
    pool = _Pool(window)
    x = np.zeros((dy.shape[0], window[0], window[1], dy.shape[3]), dy.dtype)

    def make(memory_format: Any) -> Call:
        dys, xs = image(dy, memory_format), image(x, memory_format)
        return Call(
            lambda: _average_backward(dys, xs, pool, count_include_pad), lambda dx: [nhwc(dx)], torch.inference_mode
        )

    def make_mean(memory_format: Any) -> Call:
        dys, pixels = image(dy, memory_format), window[0] * window[1]
        return Call(
            lambda: (dys.expand(-1, -1, window[0], window[1]) / pixels).contiguous(memory_format=memory_format),
            lambda dx: [nhwc(dx)],
            torch.inference_mode,
        )

    return _in_formats(make) | _means(pool, make_mean)


def average_pool2d_together(x: Array, dy: Array, window: list[int], count_include_pad: bool, **_: Any) -> Modes:
    pool = _Pool(window)

    def make(memory_format: Any) -> Call:
        xs, dys = image(x, memory_format), image(dy, memory_format)
        return Call(
            lambda: (
                _average(xs, pool, count_include_pad),
                _average_backward(dys, xs, pool, count_include_pad),
            ),
            lambda result: [nhwc(part) for part in result],
            torch.inference_mode,
        )

    return _in_formats(make)


def _average(x: Tensor, pool: _Pool, count_include_pad: bool) -> Tensor:
    return functional.avg_pool2d(x, pool.size, pool.strides, pool.padding, False, count_include_pad)


def _average_backward(dy: Tensor, x: Tensor, pool: _Pool, count_include_pad: bool) -> Any:
    geometry = (pool.size, pool.strides, pool.padding, False, count_include_pad, None)
    return aten.avg_pool2d_backward(dy, x, *geometry)


def _means(pool: _Pool, make: Callable[[Any], Call]) -> Modes:
    """A pool over the whole image is a mean: two more modes."""
    return {f"mean, {name}": make(layout) for name, layout in FORMATS.items()} if pool.is_global() else {}
