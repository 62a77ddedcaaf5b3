"""The reference ops against recorded results of PyTorch and of the ONNX node tests (see tests/recorded)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from recorded_cases import Recorded, read

from fastlayers.reference import activation, conv, dense, loss, optimizer, pool
from fastlayers.shapes import Window2D, conv2d_window, pool2d_window

Array = np.ndarray[Any, Any]


def cases(family: str) -> Any:
    return pytest.mark.parametrize("case", read(family), ids=lambda case: case.name)


def double(case: Recorded) -> dict[str, Array]:
    return {name: x.astype(np.float64) if x.dtype.kind == "f" else x for name, x in case.arrays.items()}


def close(actual: Array, expected: Array, eps: float = 1e-13) -> None:
    """Sums differ in their last bits only: PyTorch's are in double precision, those of ONNX in single."""
    np.testing.assert_allclose(
        actual,
        expected,
        rtol=100 * eps,
        atol=eps * np.abs(expected).max(initial=0, where=np.isfinite(expected)),
    )


def hwio(W: Array) -> Array:
    return W.transpose(2, 3, 1, 0)


def nhwc(x: Array) -> Array:
    return x.transpose(0, 2, 3, 1)


@cases("torch_conv")
def test_torch_convolution(case: Recorded) -> None:
    a = double(case)
    g = case.attributes
    window = conv2d_window(
        "conv",
        a["x"].shape,
        a["W"].shape[2:],
        g["strides"],
        g["padding"],
        g["dilation_rate"],
        "channels_first",
    )
    W, b, groups = hwio(a["W"]), a["b"], g["groups"]
    for form, data_format in ((np.asarray, "channels_first"), (nhwc, "channels_last")):
        x, dy = form(a["x"]), form(a["dy"])
        close(conv.conv2d(x, W, b, window, groups, data_format, "linear", 0.0), form(a["y"]))
        close(conv.conv2d_backward_input(dy, W, window, groups, data_format), form(a["dx"]))
        dW, db = conv.conv2d_backward_weight(x, dy, window, groups, data_format, True)
        close(dW, hwio(a["dW"]))
        close(db, a["db"])


def tap_positions(argmax: Array, window: Window2D) -> Array:
    """The flat position in H × W of each maximum, from its tap; argmax (N, C, OH, OW)."""
    y, x = np.mgrid[: window.oh, : window.ow]
    i, j = np.divmod(argmax.astype(int), window.kw)
    row = y * window.sh - window.top + i * window.dh
    return row * window.w + x * window.sw - window.left + j * window.dw


@cases("torch_max_pool")
def test_torch_maximum(case: Recorded) -> None:
    a = double(case)
    window = pool2d_window("pool", a["x"].shape, **case.attributes, data_format="channels_first")
    y, argmax = pool.max_pool2d(a["x"], window, "channels_first", True)
    assert np.array_equal(y, a["y"], equal_nan=True)
    if "index" in a:
        assert np.array_equal(tap_positions(argmax, window), a["index"])
    close(pool.max_pool2d_backward(a["dy"], argmax, window, "channels_first"), a["dx"])
    y, argmax = pool.max_pool2d(nhwc(a["x"]), window, "channels_last", True)
    assert np.array_equal(y, nhwc(a["y"]), equal_nan=True)
    close(pool.max_pool2d_backward(nhwc(a["dy"]), argmax, window, "channels_last"), nhwc(a["dx"]))


@cases("torch_average_pool")
def test_torch_average(case: Recorded) -> None:
    a = double(case)
    attributes = dict(case.attributes)
    counted = attributes.pop("count_include_pad")
    window = pool2d_window("pool", a["x"].shape, **attributes, data_format="channels_first")
    close(pool.average_pool2d(a["x"], window, "channels_first", counted), a["y"])
    close(pool.average_pool2d_backward(a["dy"], window, "channels_first", counted), a["dx"])
    close(pool.average_pool2d(nhwc(a["x"]), window, "channels_last", counted), nhwc(a["y"]))
    close(pool.average_pool2d_backward(nhwc(a["dy"]), window, "channels_last", counted), nhwc(a["dx"]))


@cases("torch_activation")
def test_torch_activation(case: Recorded) -> None:
    a = double(case)
    name, alpha = case.attributes["name"], case.attributes.get("alpha", 0.0)
    if name == "softmax":
        close(activation.softmax(a["x"]), a["y"])
        close(activation.softmax_backward(a["dy"], a["y"]), a["dx"])
        return
    y = activation.activation(a["x"], name, alpha)
    np.testing.assert_allclose(y, a["y"], rtol=1e-13, atol=1e-15 if name == "gelu" else 0)  # 1 + erf cancels
    dx = activation.activation_backward(a["dy"], a["x"] if name in ("gelu", "silu") else y, name, alpha)
    known = ~np.isnan(a["x"]) if name == "leaky_relu" else slice(None)
    close(dx[known], a["dx"][known], 1e-15)


@cases("torch_loss")
def test_torch_loss(case: Recorded) -> None:
    a = double(case)
    op, from_logits = case.attributes["op"], case.attributes["from_logits"]
    flags = () if op == "mean_squared_error" else (from_logits,)
    value, dy = getattr(loss, op)(a["y"], a["targets"], *flags)
    assert value == pytest.approx(float(a["loss"]), rel=1e-12)
    close(dy, a["dy"])


@cases("torch_optimizer")
def test_torch_optimizer(case: Recorded) -> None:
    a, options = double(case), case.attributes
    value, slots = a["value"].copy(), [np.zeros_like(a["value"]) for _ in range(2)]
    for t, (grad, expected) in enumerate(zip(a["grads"], a["values"], strict=True), 1):
        if options["rule"] == "adam":
            beta_1, beta_2 = options.get("betas", (0.9, 0.999))
            epsilon = options["eps"] * math.sqrt(1 - beta_2**t)
            rates = (options["lr"], beta_1, beta_2, epsilon, options["weight_decay"])
            optimizer.adam_update(value, grad, *slots, t, *rates)
        else:
            momentum, nesterov = options.get("momentum", 0.0), options.get("nesterov", False)
            velocity = slots[0] if momentum else None
            optimizer.sgd_update(value, grad, velocity, options["lr"], momentum, nesterov, 0.0)
        close(value, expected)


def padding_of(case: Recorded, size: tuple[int, ...]) -> Any:
    """ONNX's automatic padding in our words: SAME_LOWER is "same" with the odd pixel before."""
    name, strides = case.attributes["auto_pad"], case.attributes["strides"]
    if name == "NOTSET":
        return case.attributes["padding"]
    if name == "SAME_UPPER":
        return "same"
    assert name == "SAME_LOWER"
    same = conv2d_window("conv", (*size, 1), case.attributes["kernel_size"], strides, "same")
    return ((same.bottom, same.top), (same.right, same.left))


@cases("onnx_conv")
def test_onnx_convolution(case: Recorded) -> None:
    a, g = double(case), case.attributes
    padding = padding_of(case, a["x"].shape[2:])
    geometry = (g["kernel_size"], g["strides"], padding, g["dilation_rate"], "channels_first")
    window = conv2d_window("conv", a["x"].shape, *geometry)
    y = conv.conv2d(a["x"], hwio(a["W"]), a.get("b"), window, g["groups"], "channels_first", "linear", 0.0)
    close(y, a["y"], 1e-7)


@cases("onnx_pool")
def test_onnx_pool(case: Recorded) -> None:
    a, g = double(case), case.attributes
    padding = padding_of(case, a["x"].shape[2:])
    geometry = (g["kernel_size"], g["strides"], padding, g["dilation_rate"], "channels_first", g["ceil_mode"])
    window = pool2d_window("pool", a["x"].shape, *geometry)
    if g["op"] == "AveragePool":
        y = pool.average_pool2d(a["x"], window, "channels_first", g["count_include_pad"])
        four_digits = case.name == "test_averagepool_2d_ceil_last_window_starts_on_pad"  # so its result is written
        np.testing.assert_allclose(y, a["y"], rtol=1e-6, atol=5e-5 if four_digits else 1e-7)
        return
    y, argmax = pool.max_pool2d(a["x"], window, "channels_first", True)
    assert np.array_equal(y, a["y"])
    if "index" in a:
        assert np.array_equal(tap_positions(argmax, window), a["index"])


@cases("onnx_dense")
def test_onnx_dense(case: Recorded) -> None:
    a = double(case)
    close(dense.dense(a["x"], a["W"], a.get("b"), "linear", 0.0), a["y"], 1e-7)


OUR_NAMES = {"LeakyRelu": "leaky_relu", "Swish": "silu"}


@cases("onnx_activation")
def test_onnx_activation(case: Recorded) -> None:
    a, op = double(case), case.attributes["op"]
    if op == "Softmax":
        y = activation.softmax(a["x"])
    else:
        y = activation.activation(a["x"], OUR_NAMES.get(op, op.lower()), case.attributes["alpha"])
    close(y, a["y"], 1e-7)


@cases("onnx_loss")
def test_onnx_loss(case: Recorded) -> None:
    a = double(case)
    value, _ = loss.sparse_categorical_crossentropy(a["y"], a["labels"], True)
    assert value == pytest.approx(float(a["loss"]), rel=1e-6)
