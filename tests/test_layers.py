"""Every layer: shapes, dtypes, gradients, layouts, configuration; one table of layers drives it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastlayers as fl
from fastlayers.cases import LAYOUTS, lay_out

PAIRS = ((1, 0), (0, 2))

# id -> layer of a dtype, shape of one example
LAYERS: dict[str, tuple[Callable[..., fl.Layer], tuple[int, ...]]] = {
    "dense": (lambda **o: fl.Dense(4, **o), (5,)),
    "dense rank 4": (lambda **o: fl.Dense(3, "tanh", **o), (2, 3, 5)),
    "dense softmax": (lambda **o: fl.Dense(4, "softmax", use_bias=False, **o), (5,)),
    "dense gelu": (lambda **o: fl.Dense(4, activation="gelu", **o), (5,)),
    "conv": (lambda **o: fl.Conv2D(3, (3, 2), **o), (6, 5, 2)),
    "conv all": (
        lambda **o: fl.Conv2D(6, (2, 3), (2, 1), PAIRS, dilation_rate=(1, 2), groups=2, activation="silu", **o),
        (5, 7, 4),
    ),
    "conv first": (
        lambda **o: fl.Conv2D(3, 2, 1, "same", data_format="channels_first", activation="softmax", **o),
        (2, 5, 4),
    ),
    "max": (lambda **o: fl.MaxPooling2D(2, **o), (5, 6, 3)),
    "max all": (
        lambda **o: fl.MaxPooling2D(
            (2, 3), (2, 1), PAIRS, dilation_rate=(2, 1), ceil_mode=True, data_format="channels_first", **o
        ),
        (3, 6, 5),
    ),
    "average": (lambda **o: fl.AveragePooling2D((2, 3), 2, "same", **o), (5, 6, 3)),
    "average all": (
        lambda **o: fl.AveragePooling2D(
            2, (1, 2), 1, count_include_pad=True, ceil_mode=True, data_format="channels_first", **o
        ),
        (3, 5, 6),
    ),
    "global max": (lambda **o: fl.GlobalMaxPooling2D(**o), (4, 5, 3)),
    "global max first": (lambda **o: fl.GlobalMaxPooling2D("channels_first", True, **o), (3, 4, 5)),
    "global average": (lambda **o: fl.GlobalAveragePooling2D(keepdims=True, **o), (4, 5, 3)),
    "global average first": (lambda **o: fl.GlobalAveragePooling2D("channels_first", **o), (3, 4, 5)),
    "flatten": (lambda **o: fl.Flatten(**o), (3, 4, 2)),
    "reshape": (lambda **o: fl.Reshape((4, -1), **o), (3, 4, 2)),
    "activation": (lambda **o: fl.Activation("elu", alpha=0.7, **o), (3, 4)),
    "activation gelu": (lambda **o: fl.Activation("gelu", **o), (3, 4)),
    "activation softmax": (lambda **o: fl.Activation("softmax", **o), (3, 4)),
    "relu": (lambda **o: fl.ReLU(**o), (7,)),
    "leaky relu": (lambda **o: fl.LeakyReLU(0.1, **o), (7,)),
    "elu": (lambda **o: fl.ELU(0.5, **o), (7,)),
    "softmax": (lambda **o: fl.Softmax(1, **o), (3, 4)),
    "dropout": (lambda **o: fl.Dropout(0.4, seed=3, **o), (6, 5)),
}
ROWS = pytest.mark.parametrize("row", LAYERS)
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def made(row: str, dtype: str = "float64", n: int = 3) -> tuple[fl.Layer, np.ndarray, np.random.Generator]:
    """A built layer with weights that are all different from zero, x, and random numbers for more."""
    make, shape = LAYERS[row]
    layer, rng = make(dtype=dtype), np.random.default_rng(len(row))
    layer.build(shape)
    for parameter in layer.parameters():
        parameter.value = rng.normal(size=parameter.shape)
    return layer, rng.normal(size=(n, *shape)).astype(dtype), rng


def steps(layer: fl.Layer, x: np.ndarray, seed: int = 0) -> tuple[Any, ...]:
    """y, dx and the gradients of all weights, for a random dy."""
    y, cache = layer.forward(x, training=True)
    dy = np.random.default_rng(seed).normal(size=y.shape).astype(y.dtype)
    dx = layer.backward(dy, cache)
    gradients = [parameter.grad.copy() for parameter in layer.parameters()]
    for parameter in layer.parameters():
        parameter.clear_gradient()
    if isinstance(layer, fl.Dropout):
        layer.random.calls = 0
    return y, dx, *gradients


@ROWS
@DTYPES
@pytest.mark.parametrize("n", [0, 1, 3])
def test_shapes_and_dtypes(row: str, dtype: str, n: int) -> None:
    layer, x, _ = made(row, dtype, n)
    y, dx, *gradients = steps(layer, x)
    assert y.shape == (n, *layer.compute_output_shape(x.shape[1:]))
    assert dx.shape == x.shape
    assert {a.dtype for a in (y, dx, *gradients)} == {np.dtype(dtype)}
    assert [g.shape for g in gradients] == [p.shape for p in layer.parameters()]
    if n == 0:
        assert not any(gradient.any() for gradient in gradients)


@ROWS
@DTYPES
def test_inference_gives_the_bits_of_forward(row: str, dtype: str) -> None:
    layer, x, _ = made(row, dtype)
    assert np.array_equal(layer(x), layer.forward(x, training=False)[0])
    if not isinstance(layer, fl.Dropout):
        assert np.array_equal(layer(x), layer.forward(x, training=True)[0])


@ROWS
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_finite_differences(row: str, training: bool) -> None:
    layer, x, rng = made(row)

    def loss(x: np.ndarray) -> float:
        if isinstance(layer, fl.Dropout):
            layer.random.calls = 0
        return float((layer.forward(x, training=training)[0] * weight).sum())

    y, cache = layer.forward(x, training=training)
    weight = rng.normal(size=y.shape)
    dx = layer.backward(weight, cache)
    h = 1e-6
    for _ in range(3):
        v = rng.normal(size=x.shape)
        numeric = (loss(x + h * v) - loss(x - h * v)) / (2 * h)
        assert (dx * v).sum() == pytest.approx(numeric, rel=1e-6, abs=1e-7)
        for parameter in layer.parameters():
            v, value = rng.normal(size=parameter.shape), parameter.value.copy()
            parameter.value = value + h * v
            up = loss(x)
            parameter.value = value - h * v
            numeric = (up - loss(x)) / (2 * h)
            parameter.value = value
            assert (parameter.grad * v).sum() == pytest.approx(numeric, rel=1e-6, abs=1e-7)


@ROWS
def test_backward_parameters_gives_the_gradients_of_backward(row: str) -> None:
    layer, x, _ = made(row)
    dy = np.random.default_rng(0).normal(size=layer(x).shape)
    _, _, *expected = steps(layer, x)
    _y, cache = layer.forward(x, training=True)
    assert layer.backward_parameters(dy, cache) is None
    for parameter, gradient in zip(layer.parameters(), expected, strict=True):
        assert np.array_equal(parameter.grad, gradient)


@ROWS
def test_backward_adds_to_gradients_and_a_cache_serves_twice(row: str) -> None:
    layer, x, rng = made(row)
    y, cache = layer.forward(x, training=True)
    dy = rng.normal(size=y.shape)
    first = layer.backward(dy, cache)
    gradients = [parameter.grad.copy() for parameter in layer.parameters()]
    assert np.array_equal(layer.backward(dy, cache), first)
    for parameter, gradient in zip(layer.parameters(), gradients, strict=True):
        assert np.array_equal(parameter.grad, 2 * gradient)
        assert parameter.grad.any()


@ROWS
@DTYPES
@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "C"])
def test_any_memory_layout(row: str, dtype: str, layout: str) -> None:
    layer, x, _ = made(row, dtype)
    y, dx, *gradients = steps(layer, x)
    odd = lay_out(x, layout)
    before = odd.tobytes()
    y2, cache = layer.forward(odd, training=True)
    dy = lay_out(np.random.default_rng(0).normal(size=y.shape).astype(dtype), layout)
    dy_before = dy.tobytes()
    dx2 = layer.backward(dy, cache)
    assert np.array_equal(y2, y)
    assert np.array_equal(dx2, dx)
    for parameter, gradient in zip(layer.parameters(), gradients, strict=True):
        assert np.array_equal(parameter.grad, gradient)
    assert (odd.tobytes(), dy.tobytes()) == (before, dy_before)


@ROWS
def test_configuration_comes_back_through_json(row: str) -> None:
    layer, x, _ = made(row)
    config = json.loads(json.dumps(layer.get_config()))
    again = type(layer).from_config(config)
    assert again.get_config() == layer.get_config()
    again.build(x.shape[1:])
    for mine, its in zip(again.parameters(), layer.parameters(), strict=True):
        mine.value = its.value
    assert np.array_equal(again(x), layer(x))
    assert again.dtype == "float64"


def test_dense_is_the_sum_it_says() -> None:
    layer, x, _ = made("dense rank 4")
    expected = np.tanh(np.einsum("nabi,io->nabo", x, layer.kernel.value) + layer.bias.value)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-12)


def naive_conv(x: np.ndarray, w: np.ndarray, b: np.ndarray, layer: fl.Conv2D) -> np.ndarray:
    """The sum of the module's docstring, number by number."""
    (top, bottom), (left, right) = PAIRS
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    (sh, sw), (dh, dw) = layer.strides, layer.dilation_rate
    kh, kw, per_group, filters = w.shape
    n, h, wide, _ = padded.shape
    y = np.zeros((n, (h - (kh - 1) * dh - 1) // sh + 1, (wide - (kw - 1) * dw - 1) // sw + 1, filters))
    for index in np.ndindex(y.shape):
        m, p, q, o = index
        group = o // (filters // layer.groups)
        patch = padded[m, p * sh : p * sh + kh * dh : dh, q * sw : q * sw + kw * dw : dw]
        part = patch[:kh, :kw, group * per_group : (group + 1) * per_group]
        y[index] = b[o] + (part * w[..., o]).sum()
    return y


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_convolution_is_the_sum_it_says(data_format: str) -> None:
    layer = fl.Conv2D(
        6, (2, 3), (2, 1), PAIRS, dilation_rate=(1, 2), groups=2, data_format=data_format, dtype="float64"
    )
    rng = np.random.default_rng(0)
    x = rng.integers(-4, 5, (2, 5, 7, 4)).astype("float64")
    given = x if data_format == "channels_last" else np.moveaxis(x, 3, 1)
    layer.build(given.shape[1:])
    assert layer.kernel.shape == (2, 3, 2, 6)
    layer.kernel.value[...] = rng.integers(-4, 5, layer.kernel.shape)
    layer.bias.value[...] = rng.integers(-4, 5, 6)
    expected = naive_conv(x, layer.kernel.value, layer.bias.value, layer)
    y = layer(given)
    assert np.array_equal(y if data_format == "channels_last" else np.moveaxis(y, 1, 3), expected)


@pytest.mark.parametrize("kind", ["dense", "conv"])
@pytest.mark.parametrize(
    "activation",
    ["relu", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh", "softplus", "softmax", "linear", None],
)
@DTYPES
def test_a_fused_activation_gives_the_bits_of_a_separate_one(kind: str, activation: str | None, dtype: str) -> None:
    x = np.random.default_rng(0).normal(size=(3, 5, 6, 4)).astype(dtype)

    def model(*activations: Any) -> fl.Sequential:
        inside, after = activations
        layers: list[fl.Layer]
        if kind == "dense":
            layers = [fl.Dense(5, activation=inside, bias_initializer="random_normal")]
        else:
            layers = [fl.Conv2D(5, 3, activation=inside, bias_initializer="random_normal")]
        layers += [fl.Activation(after)] if after else []
        return fl.Sequential(layers, input_shape=x.shape[1:], seed=1, dtype=dtype)

    fused, separate = model(activation, None), model(None, activation or "linear")
    assert np.array_equal(fused(x), separate(x))
    for a, b in zip(steps(fused, x), steps(separate, x), strict=True):
        assert np.array_equal(a, b)


def test_relu_and_max_keep_nan_and_the_first_maximum_wins() -> None:
    assert np.array_equal(fl.ReLU()(np.float32([[-1, np.nan, 2]])), np.float32([[0, np.nan, 2]]), equal_nan=True)
    x = np.zeros((1, 2, 4, 1), "f4")
    x[0, 1, 3] = np.nan
    y, cache = fl.MaxPooling2D(2).forward(x)
    assert y[0, 0, 0, 0] == 0
    assert np.isnan(y[0, 0, 1, 0])
    dx = fl.MaxPooling2D(2).backward(np.float32([[[[3], [5]]]]), cache)
    assert np.array_equal(dx[0, :, :, 0], np.float32([[3, 0, 0, 0], [0, 0, 0, 5]]))


def test_average_divides_by_what_it_is_told_to() -> None:
    x = np.ones((1, 3, 3, 1), "f4")
    inside = fl.AveragePooling2D(2, 2, ((1, 0), (1, 0)))(x)
    padded = fl.AveragePooling2D(2, 2, ((1, 0), (1, 0)), count_include_pad=True)(x)
    assert np.array_equal(inside[0, :, :, 0], [[1, 1], [1, 1]])
    assert np.array_equal(padded[0, :, :, 0], [[0.25, 0.5], [0.5, 1]])


def test_flatten_keeps_the_order_of_the_numbers() -> None:
    x = np.arange(24, dtype="f4").reshape(2, 3, 4)
    assert np.array_equal(fl.Flatten()(x), x.reshape(2, 12))
    assert np.array_equal(fl.Flatten()(np.asfortranarray(x)), x.reshape(2, 12))


class TestDropout:
    def test_scales_what_it_keeps(self) -> None:
        x = np.full((100, 100), 3, "f4")
        y, cache = fl.Dropout(0.25, seed=1).forward(x, training=True)
        assert set(np.unique(y)) == {np.float32(0), np.float32(4)}
        assert np.mean(y == 0) == pytest.approx(0.25, abs=0.02)
        dx = fl.Dropout(0.25, seed=9).backward(x, cache)  # what it needs is in the cache
        assert np.array_equal(dx, y)

    def test_draws_anew_in_each_call_and_repeats_with_its_seed(self) -> None:
        x = np.ones((5, 40), "f4")
        one, two = fl.Dropout(0.5, seed=1), fl.Dropout(0.5, seed=1)
        a, b = one.forward(x, training=True)[0], one.forward(x, training=True)[0]
        assert not np.array_equal(a, b)
        assert np.array_equal(a, two.forward(x, training=True)[0])
        assert not np.array_equal(a, fl.Dropout(0.5, seed=2).forward(x, training=True)[0])

    def test_takes_its_seed_from_the_model(self) -> None:
        x = np.ones((5, 40), "f4")

        def outputs(seed: int) -> list[np.ndarray]:
            model = fl.Sequential([fl.Dropout(0.5), fl.Dropout(0.5)], seed=seed)
            return [layer.forward(x, training=True)[0] for layer in model.layers if model(x) is not None]

        assert np.array_equal(outputs(1), outputs(1))
        assert not np.array_equal(outputs(1), outputs(2))
        assert not np.array_equal(*outputs(1))

    @pytest.mark.parametrize(("rate", "training"), [(0.5, False), (0.0, True)])
    def test_is_the_identity(self, rate: float, training: bool) -> None:
        x = np.random.default_rng(0).normal(size=(3, 4)).astype("f4")
        layer = fl.Dropout(rate)
        y, cache = layer.forward(x, training=training)
        assert np.array_equal(y, x)
        assert np.array_equal(layer.backward(x, cache), x)


def test_frozen_weights_get_no_gradient_and_dx_is_the_same() -> None:
    for row in ("dense", "conv all"):
        layer, x, _ = made(row)
        _, dx, _, dbias = steps(layer, x)
        layer.kernel.trainable = False
        _y, half, dkernel, same = steps(layer, x)
        assert np.array_equal(half, dx)
        assert not dkernel.any()
        assert np.array_equal(same, dbias)
        layer.trainable = False
        assert np.array_equal(steps(layer, x)[1], dx)
        assert not any(gradient.any() for gradient in steps(layer, x)[2:])


@pytest.mark.parametrize("initializer", sorted(fl.initializers.BY_NAME))
def test_initializers_have_their_variance(initializer: str) -> None:
    shape = (3, 5, 40, 60)
    fan_in, fan_out = 3 * 5 * 40, 3 * 5 * 60
    values = fl.initializers.BY_NAME[initializer]()(shape)
    assert (values.shape, values.dtype) == (shape, np.float32)
    variances = {
        "zeros": 0.0,
        "constant": 0.0,
        "ones": 0.0,
        "random_normal": 0.05**2,
        "random_uniform": 0.1**2 / 12,
        "glorot": 2 / (fan_in + fan_out),
        "he": 2 / fan_in,
        "lecun": 1 / fan_in,
    }
    expected = variances.get(initializer, variances.get(initializer.split("_")[0]))
    assert values.var() == pytest.approx(expected, rel=0.05)
    assert values.mean() == pytest.approx(1.0 if initializer == "ones" else 0.0, abs=0.002)
    if initializer.endswith("_normal") and not initializer.startswith("random"):
        assert abs(values).max() <= 2.0 / 0.8796256 * np.sqrt(expected) * 1.0001


def test_an_initializer_with_a_seed_repeats_itself() -> None:
    one = fl.initializers.HeNormal(seed=4)
    assert np.array_equal(one((3, 4)), one((3, 4)))
    assert not np.array_equal(one((3, 4)), fl.initializers.HeNormal(seed=5)((3, 4)))
    layers = [fl.Dense(4, kernel_initializer=fl.initializers.HeNormal(seed=4)) for _ in range(2)]
    for layer in layers:
        layer.build((3,))
    assert np.array_equal(layers[0].kernel.value, layers[1].kernel.value)


def test_weights_of_lone_layers_differ() -> None:
    one, two = fl.Dense(4), fl.Dense(4)
    one.build((3,))
    two.build((3,))
    assert not np.array_equal(one.kernel.value, two.kernel.value)
