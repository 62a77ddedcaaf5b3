"""The reference ops against numeric gradients, the adjoint identity and their written semantics."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastlayers.reference import activation, conv, dense, dropout, loss, optimizer, pool
from fastlayers.shapes import Window2D, conv2d_window, pool2d_window

Array = np.ndarray[Any, Any]
rng = np.random.default_rng(5)
START = rng.bit_generator.state


@pytest.fixture(autouse=True)
def _same_numbers_for_each_test_whatever_ran_before() -> None:
    rng.bit_generator.state = START


def normal(*shape: int) -> Array:
    return rng.standard_normal(shape)


def close(actual: Array, expected: Array, scale: float = 1e-12) -> None:
    np.testing.assert_allclose(actual, expected, rtol=scale, atol=scale * np.abs(expected).max(initial=0))


def check_gradient(f: Callable[[Array], float], x: Array, gradient: Array) -> None:
    """gradient = ∂f/∂x, by central differences along random directions, and along each axis of a small x."""
    assert gradient.shape == x.shape
    directions = [normal(*x.shape) for _ in range(4)]
    if x.size <= 60:
        directions += list(np.eye(x.size).reshape(-1, *x.shape))
    for direction in directions:
        step = 1e-5
        numeric = (f(x + step * direction) - f(x - step * direction)) / (2 * step)
        assert numeric == pytest.approx(np.vdot(gradient, direction), rel=1e-6, abs=2e-8)


# kernel, strides, padding, dilation, channels, filters, groups over 6 × 7 pixels
CONVOLUTIONS = {
    "same": ((3, 3), (1, 1), "same", (1, 1), 2, 3, 1),
    "valid": ((2, 3), (1, 2), "valid", (1, 1), 3, 2, 1),
    "asymmetric": ((3, 2), (2, 1), ((0, 3), (2, 1)), (1, 1), 1, 2, 1),
    "dilated": ((2, 3), (1, 2), ((1, 0), (2, 3)), (3, 2), 2, 1, 1),
    "grouped": ((3, 2), (2, 2), ((1, 1), (0, 1)), (2, 1), 4, 6, 2),
    "depthwise": ((2, 2), (1, 1), ((2, 0), (0, 2)), (1, 3), 3, 3, 3),
    "pointwise": ((1, 1), (2, 3), "valid", (1, 1), 3, 2, 1),
    "padding_only_windows": ((1, 2), (1, 1), ((2, 1), (3, 2)), (1, 1), 2, 2, 1),
}
FORMATS = ["channels_last", "channels_first"]


def image(n: int, h: int, w: int, c: int, data_format: str) -> Array:
    return normal(n, h, w, c) if data_format == "channels_last" else normal(n, c, h, w)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_gradients_and_adjoints(name: str, data_format: str) -> None:
    size, strides, padding, dilation, c, o, groups = CONVOLUTIONS[name]
    x, W, b = image(2, 6, 7, c, data_format), normal(*size, c // groups, o), normal(o)
    window = conv2d_window("conv", x.shape, size, strides, padding, dilation, data_format)
    rest = (window, groups, data_format)
    y = conv.conv2d(x, W, b, *rest, "linear", 0.0)
    dy = normal(*y.shape)
    dx = conv.conv2d_backward_input(dy, W, *rest)
    dW, db = conv.conv2d_backward_weight(x, dy, *rest, True)
    assert db is not None
    assert conv.conv2d_backward_weight(x, dy, *rest, False)[1] is None
    check_gradient(lambda x: np.vdot(dy, conv.conv2d(x, W, b, *rest, "linear", 0.0)), x, dx)
    check_gradient(lambda W: np.vdot(dy, conv.conv2d(x, W, b, *rest, "linear", 0.0)), W, dW)
    check_gradient(lambda b: np.vdot(dy, conv.conv2d(x, W, b, *rest, "linear", 0.0)), b, db)
    # linear in x and in W: <dy, conv(x, W)> = <dx, x> = <dW, W>
    product = np.vdot(dy, conv.conv2d(x, W, None, *rest, "linear", 0.0))
    assert product == pytest.approx(np.vdot(dx, x), rel=1e-11, abs=1e-11)
    assert product == pytest.approx(np.vdot(dW, W), rel=1e-11, abs=1e-11)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_pixel_by_pixel(name: str) -> None:
    size, strides, padding, dilation, c, o, groups = CONVOLUTIONS[name]
    x, W, b = normal(1, 6, 7, c), normal(*size, c // groups, o), normal(o)
    w = conv2d_window("conv", x.shape, size, strides, padding, dilation)
    expected = np.tile(b, (1, w.oh, w.ow, 1))
    for p, q, f in np.ndindex(w.oh, w.ow, o):
        for i, j, k in np.ndindex(w.kh, w.kw, c // groups):
            row, column = p * w.sh - w.top + i * w.dh, q * w.sw - w.left + j * w.dw
            if 0 <= row < w.h and 0 <= column < w.w:
                channel = f // (o // groups) * (c // groups) + k
                expected[0, p, q, f] += x[0, row, column, channel] * W[i, j, k, f]
    close(conv.conv2d(x, W, b, w, groups, "channels_last", "linear", 0.0), expected)


def test_dense_gradients() -> None:
    x, W, b, dy = normal(3, 5), normal(5, 4), normal(4), normal(3, 4)
    dW, db = dense.dense_backward_weight(x, dy, True)
    assert db is not None
    assert dense.dense_backward_weight(x, dy, False)[1] is None
    check_gradient(lambda x: np.vdot(dy, dense.dense(x, W, b, "linear", 0.0)), x, dense.dense_backward_input(dy, W))
    check_gradient(lambda W: np.vdot(dy, dense.dense(x, W, b, "linear", 0.0)), W, dW)
    check_gradient(lambda b: np.vdot(dy, dense.dense(x, W, b, "linear", 0.0)), b, db)
    close(dense.dense(x, W, None, "tanh", 0.0), np.tanh(x @ W))


# pool, strides, padding, dilation, ceil_mode over 6 × 7 pixels
POOLS = {
    "plain": ((2, 2), (2, 2), "valid", (1, 1), False),
    "overlapping": ((3, 2), (1, 2), "same", (1, 1), False),
    "asymmetric": ((3, 3), (2, 2), ((0, 2), (2, 1)), (1, 1), False),
    "dilated": ((2, 3), (2, 1), ((1, 1), (1, 2)), (3, 2), False),
    "ceil": ((2, 3), (3, 2), ((1, 0), (0, 1)), (1, 1), True),
    "ceil_beyond": ((3, 3), (4, 3), "valid", (1, 1), True),
    "whole": ((6, 7), (1, 1), "valid", (1, 1), False),
}


def pool_window(name: str, shape: tuple[int, ...], data_format: str = "channels_last") -> Window2D:
    size, strides, padding, dilation, ceil_mode = POOLS[name]
    return pool2d_window("pool", shape, size, strides, padding, dilation, data_format, ceil_mode)


def windows(x: Array, w: Window2D) -> Any:
    """(position, {tap: value}) of every window of x (N, H, W, C), pixels inside x only."""
    for n, p, q, c in np.ndindex(x.shape[0], w.oh, w.ow, x.shape[3]):
        pixels = {}
        for i, j in np.ndindex(w.kh, w.kw):
            row, column = p * w.sh - w.top + i * w.dh, q * w.sw - w.left + j * w.dw
            if 0 <= row < w.h and 0 <= column < w.w:
                pixels[i * w.kw + j] = x[n, row, column, c]
        yield (n, p, q, c), pixels


@pytest.mark.parametrize("name", POOLS)
def test_maximum_pixel_by_pixel(name: str) -> None:
    x = rng.integers(-2, 3, (2, 6, 7, 2)).astype(np.float64)  # full of ties
    x[rng.random(x.shape) < 0.2] = -np.inf
    x[rng.random(x.shape) < 0.05] = np.nan
    w = pool_window(name, x.shape)
    y, argmax = pool.max_pool2d(x, w, "channels_last", True)
    assert argmax is not None
    for at, pixels in windows(x, w):
        nans = [t for t, value in pixels.items() if math.isnan(value)]
        best = nans[0] if nans else max(pixels, key=lambda t: (pixels[t], -t))
        assert argmax[at] == best
        assert np.array_equal(y[at], pixels[best], equal_nan=True)


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("name", POOLS)
def test_average_pixel_by_pixel(name: str, counted: bool) -> None:
    x = normal(2, 6, 7, 2)
    w = pool_window(name, x.shape)
    y = pool.average_pool2d(x, w, "channels_last", counted)
    for at, pixels in windows(x, w):
        rows = [at[1] * w.sh + i * w.dh < w.top + w.h + w.bottom for i in range(w.kh)]
        columns = [at[2] * w.sw + j * w.dw < w.left + w.w + w.right for j in range(w.kw)]
        divisor = sum(rows) * sum(columns) if counted else len(pixels)
        assert y[at] == pytest.approx(sum(pixels.values()) / divisor, rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("name", POOLS)
def test_pool_gradients(name: str, data_format: str) -> None:
    x = rng.permutation(84).astype(np.float64).reshape(image(2, 6, 7, 1, data_format).shape)  # no ties, so no kinks
    window = pool_window(name, x.shape, data_format)
    y, argmax = pool.max_pool2d(x, window, data_format, True)
    assert argmax is not None
    assert pool.max_pool2d(x, window, data_format, False)[1] is None
    dy = normal(*y.shape)
    dx = pool.max_pool2d_backward(dy, argmax, window, data_format)
    check_gradient(lambda x: np.vdot(dy, pool.max_pool2d(x, window, data_format, False)[0]), x, dx)
    for counted in (True, False):
        dx = pool.average_pool2d_backward(dy, window, data_format, counted)
        check_gradient(lambda x, c=counted: np.vdot(dy, pool.average_pool2d(x, window, data_format, c)), x, dx)


def test_argmax_grows_with_its_window() -> None:
    for size, dtype in (((16, 16), np.uint8), ((1, 257), np.int32)):
        window = pool2d_window("pool", (16, 257, 1), size)
        assert pool.max_pool2d(np.zeros((1, 16, 257, 1)), window, "channels_last", True)[1].dtype == dtype


def test_an_empty_window_averages_to_zero_when_padding_counts() -> None:
    window = pool2d_window("pool", (3, 3, 1), 2, padding=2, allow_empty=True)
    y = pool.average_pool2d(np.ones((1, 3, 3, 1)), window, "channels_last", True)[0, :, :, 0]
    assert np.array_equal(y, [[0, 0, 0], [0, 1, 0.5], [0, 0.5, 0.25]])


@pytest.mark.parametrize(("name", "alpha"), [(n, 0.3) for n in activation.FORWARD])
def test_activation_gradients(name: str, alpha: float) -> None:
    x, dy = 2 * normal(3, 4), normal(3, 4)
    y = activation.activation(x, name, alpha)
    dx = activation.activation_backward(dy, x if name in ("gelu", "silu") else y, name, alpha)
    check_gradient(lambda x: np.vdot(dy, activation.activation(x, name, alpha)), x, dx)


def test_softmax_gradient_and_shift() -> None:
    x, dy = 2 * normal(3, 5), normal(3, 5)
    y = activation.softmax(x)
    check_gradient(lambda x: np.vdot(dy, activation.softmax(x)), x, activation.softmax_backward(dy, y))
    close(activation.softmax(x + 1e4), y, 1e-10)
    assert activation.softmax(np.zeros((2, 0))).shape == (2, 0)


SLOPES_AT_INFINITY = {"linear": [1, 1], "leaky_relu": [1, 0.5], "sigmoid": [0, 0], "tanh": [0, 0]}


@pytest.mark.parametrize("name", activation.FORWARD)
def test_activations_keep_nan_and_survive_extremes(name: str) -> None:
    for dtype in (np.float32, np.float64, np.longdouble):
        limits = np.finfo(dtype)
        x = np.array([np.nan, np.inf, -np.inf, limits.max, limits.min, 0.0, limits.smallest_subnormal], dtype)
        y = activation.activation(x, name, 0.5)
        assert y.dtype == dtype
        assert np.isnan(y[0])
        assert not np.isnan(y[1:]).any()
        dx = activation.activation_backward(np.ones_like(x), x if name in ("gelu", "silu") else y, name, 0.5)
        assert not np.isnan(dx[1:]).any()
        assert list(dx[1:3]) == SLOPES_AT_INFINITY.get(name, [1, 0])


def probabilities(*shape: int) -> Array:
    return rng.uniform(0.05, 0.95, shape)


LABELS, SOFT, BITS, TARGETS = rng.integers(0, 4, 5), probabilities(5, 4), probabilities(2, 3, 4), normal(3, 5)

# shape of y, loss of (y, from_logits)
LOSSES: dict[str, tuple[tuple[int, ...], Callable[[Array, bool], tuple[float, Array]]]] = {
    "sparse": ((5, 4), lambda y, logits: loss.sparse_categorical_crossentropy(y, LABELS, logits)),
    "soft": ((5, 4), lambda y, logits: loss.categorical_crossentropy(y, SOFT, logits)),
    "binary": ((2, 3, 4), lambda y, logits: loss.binary_crossentropy(y, BITS, logits)),
    "squares": ((3, 5), lambda y, logits: loss.mean_squared_error(y, TARGETS)),
}


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("name", LOSSES)
def test_loss_gradients(name: str, from_logits: bool) -> None:
    shape, f = LOSSES[name]
    y = 3 * normal(*shape) if from_logits else probabilities(*shape)
    value, dy = f(y, from_logits)
    assert type(value) is float
    check_gradient(lambda y: f(y, from_logits)[0], y, dy)


def test_clipped_probabilities_have_no_gradient() -> None:
    p = np.array([[0.0, 1.0, 1e-8, 1 - 1e-8, 0.5]])
    t = np.array([[1.0, 0.0, 1.0, 0.0, 1.0]])
    for value, dy in (loss.binary_crossentropy(p, t, False), loss.categorical_crossentropy(p, t, False)):
        assert math.isfinite(value)
        assert np.array_equal(dy[0, :4], np.zeros(4))
        assert dy[0, 4] < 0
    assert loss.sparse_categorical_crossentropy(p, np.array([2]), False)[0] == pytest.approx(-math.log(1e-7))


def test_an_empty_batch_has_loss_zero() -> None:
    y, t = np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)
    for value, dy in (
        loss.sparse_categorical_crossentropy(y, np.zeros(0, np.int64), True),
        loss.categorical_crossentropy(y, t, False),
        loss.binary_crossentropy(y, t, True),
        loss.mean_squared_error(y, t),
    ):
        assert value == 0.0
        assert dy.shape == (0, 3)
        assert dy.dtype == np.float32


def test_weight_decay_comes_first() -> None:
    value = np.array([2.0])
    optimizer.sgd_update(value, np.array([3.0]), None, 0.1, 0.0, False, 0.5)
    assert value[0] == pytest.approx(2 * 0.95 - 0.3)


# known answers published with the generator
@pytest.mark.parametrize(
    ("block", "key", "words"),
    [
        ((0, 0), 0, (0xFF1DAE59, 0x6CD10DF2)),
        ((0xFFFFFFFF, 0xFFFFFFFF), 0xFFFFFFFF, (0x2C3F628B, 0xAB4FD7AD)),
        ((0x243F6A88, 0x85A308D3), 0x13198A2E, (0xDD7CE038, 0xF62A4C12)),
    ],
)
def test_philox_known_answers(block: tuple[int, int], key: int, words: tuple[int, int]) -> None:
    low, high = (np.array([word], np.uint64) for word in block)
    assert tuple(int(word[0]) for word in dropout.philox2x32(low, high, key)) == words


def test_splitmix_known_answers() -> None:
    assert [dropout.mix(k * 0x9E3779B97F4A7C15 % 2**64) for k in range(3)] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]


def test_dropout_keeps_one_mask_for_every_dtype_and_layout() -> None:
    x = np.abs(normal(40, 50)) + 1
    y = dropout.dropout(x, 0.3, 2**64 - 1, 2**63)
    mask = y != 0
    assert np.array_equal(dropout.dropout(x.astype(np.float32), 0.3, 2**64 - 1, 2**63) != 0, mask)
    assert np.array_equal(dropout.dropout(np.asfortranarray(x), 0.3, 2**64 - 1, 2**63), y)
    assert np.array_equal(y[mask], x[mask] * (1 / 0.7))
    assert abs(mask.mean() - 0.7) < 4 * math.sqrt(0.21 / x.size)
    assert not np.array_equal(dropout.dropout(x, 0.3, 2**64 - 1, 2**63 + 1) != 0, mask)
    assert not np.array_equal(dropout.dropout(x, 0.3, 1, 2**63) != 0, mask)
    assert np.array_equal(dropout.dropout(x, 0.0, 7, 7), x)


def test_results_are_plain_new_arrays_of_the_input_dtype() -> None:
    x = np.asfortranarray(normal(2, 5, 6, 3)).astype(">f4")
    W = normal(3, 2, 3, 4).astype(np.float32)
    window = conv2d_window("conv", x.shape, (3, 2))
    results = [
        conv.conv2d(x, W, None, window, 1, "channels_last", "relu", 0.0),
        pool.average_pool2d(x, window, "channels_last", True),
        pool.max_pool2d(x, window, "channels_last", False)[0],
        activation.activation(x, "linear", 0.0),
        dropout.dropout(x, 0.5, 1, 2),
    ]
    for y in results:
        assert y.dtype == np.dtype(np.float32)
        assert y.dtype.isnative
        assert y.flags.c_contiguous
        assert not np.shares_memory(x, y)
