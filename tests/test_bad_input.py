"""What makes no sense is refused, naming the layer, expected and got; inputs stay as they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastlayers as fl
from fastlayers import ops

IMAGE = (2, 7, 6, 4)


def ones(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.ones(shape, dtype)


def conv(**options: Any) -> Callable[[], Any]:
    return lambda: fl.Conv2D(**{"filters": 6, "kernel_size": 3, "name": "c", **options})(ones(*IMAGE))


def pool(layer: type, **options: Any) -> Callable[[], Any]:
    return lambda: layer(**{"name": "p", **options})(ones(*IMAGE))


def backward(layer: fl.Layer, x: np.ndarray, dy: np.ndarray) -> Callable[[], Any]:
    def call() -> Any:
        _, cache = layer.forward(x, training=True)
        return layer.backward(dy, cache)

    return call


def parameters_backward(layer: fl.Layer, x: np.ndarray, dy: np.ndarray) -> Callable[[], Any]:
    def call() -> Any:
        _, cache = layer.forward(x, training=True)
        return layer.backward_parameters(dy, cache)

    return call


def built(layer: fl.Layer, *shape: int) -> fl.Layer:
    layer.build(shape)
    return layer


K = ones(3, 3, 4, 6)
HUGE = 2**62

# id -> (call, error, parts of the message)
TABLE: dict[str, tuple[Callable[[], Any], type[Exception], tuple[str, ...]]] = {
    # rank and channels
    "dense rank 1": (lambda: fl.Dense(3, name="d")(ones(5)), ValueError, ("d ", "()")),
    "dense features": (
        lambda: built(fl.Dense(3, name="d"), 5)(ones(2, 4)),
        ValueError,
        ("d expects x of shape (N, …, 5)", "got (2, 4)"),
    ),
    "conv rank": (
        lambda: fl.Conv2D(6, 3, name="c")(ones(2, 7, 6)),
        ValueError,
        ("c ", "(H, W, C)", "(7, 6)"),
    ),
    "conv rank when built": (
        lambda: built(fl.Conv2D(6, 3, name="c"), 7, 6, 4)(ones(7, 6, 4)),
        ValueError,
        ("c expects x of shape (N, H, W, 4)", "got (7, 6, 4)"),
    ),
    "conv channels": (
        lambda: built(fl.Conv2D(6, 3, name="c"), 7, 6, 4)(ones(8, 32, 32, 3)),
        ValueError,
        ("c expects x of shape (N, H, W, 4)", "got (8, 32, 32, 3)"),
    ),
    "conv channels first": (
        lambda: built(fl.Conv2D(6, 3, data_format="channels_first", name="c"), 4, 7, 6)(ones(*IMAGE)),
        ValueError,
        ("c expects x of shape (N, 4, H, W)", "got (2, 7, 6, 4)"),
    ),
    "pool rank": (lambda: fl.MaxPooling2D(name="p")(ones(2, 7, 6)), ValueError, ("p expects x", "(2, 7, 6)")),
    "global pool rank": (
        lambda: fl.GlobalAveragePooling2D(name="p")(ones(2, 7)),
        ValueError,
        ("p expects x of shape (N, H, W, C)", "got (2, 7)"),
    ),
    "global pool without pixels": (
        lambda: fl.GlobalMaxPooling2D(name="p")(ones(2, 0, 6, 4)),
        ValueError,
        ("p expects", "(2, 0, 6, 4)"),
    ),
    "reshape": (
        lambda: fl.Reshape((5, -1), name="r")(ones(2, 3, 4)),
        ValueError,
        ("r expects examples that fit into (5, -1)", "got shape (3, 4)"),
    ),
    "softmax axis": (
        lambda: fl.Softmax(3, name="s")(ones(2, 3)),
        ValueError,
        ("s expects axis", "(2, 3)", "got 3"),
    ),
    # dtypes
    "float64 for float32": (
        lambda: fl.Dense(3, name="d")(ones(2, 5, dtype="float64")),
        TypeError,
        ("d expects x of dtype float32", "got float64"),
    ),
    "float32 for float64": (
        lambda: fl.MaxPooling2D(name="p", dtype="float64")(ones(*IMAGE)),
        TypeError,
        ("p expects x of dtype float64", "got float32"),
    ),
    "integers": (
        lambda: fl.Conv2D(6, 3, name="c")(ones(*IMAGE, dtype="int32")),
        TypeError,
        ("c expects x of dtype float32", "got int32"),
    ),
    "float16 in ops": (
        lambda: ops.max_pool2d(ones(*IMAGE, dtype="float16"), name="p"),
        TypeError,
        ("p expects x of dtype float32 or float64", "got float16"),
    ),
    "mixed in ops": (
        lambda: ops.conv2d(ones(*IMAGE), K.astype("float64"), name="c"),
        TypeError,
        ("c expects one dtype", "float32 or float64", "x of float32", "kernel of float64"),
    ),
    "mixed bias in ops": (
        lambda: ops.dense(ones(2, 3), ones(3, 4), ones(4, dtype="float64"), name="d"),
        TypeError,
        ("d expects one dtype", "bias of float64"),
    ),
    "lists": (lambda: ops.relu([1.0, 2.0]), TypeError, ("relu expects x to be a NumPy array", "got list")),
    "masked": (
        lambda: ops.dense(np.ma.ones((2, 3), "f4"), ones(3, 4), name="d"),
        TypeError,
        ("d expects x to be a NumPy array", "got MaskedArray"),
    ),
    "dy of another dtype": (
        backward(fl.ReLU(name="r"), ones(2, 3), ones(2, 3, dtype="float64")),
        TypeError,
        ("r expects dy of dtype float32", "got float64"),
    ),
    # numbers of the constructor
    "units 0": (lambda: fl.Dense(0, name="d"), ValueError, ("d expects units to be a positive int", "got 0")),
    "units true": (lambda: fl.Dense(True, name="d"), TypeError, ("d expects units", "got True")),
    "units 2.0": (lambda: fl.Dense(2.0, name="d"), TypeError, ("d expects units", "got 2.0")),
    "filters -1": (conv(filters=-1), ValueError, ("c expects filters", "got -1")),
    "kernel 0": (conv(kernel_size=(3, 0)), ValueError, ("c expects kernel_size", "got (3, 0)")),
    "kernel triple": (conv(kernel_size=(3, 3, 3)), ValueError, ("c expects kernel_size", "got (3, 3, 3)")),
    "strides NaN": (conv(strides=math.nan), TypeError, ("c expects strides", "got nan")),
    "strides 0": (conv(strides=0), ValueError, ("c expects strides", "got 0")),
    "dilation -2": (conv(dilation_rate=(1, -2)), ValueError, ("c expects dilation_rate", "got (1, -2)")),
    "padding name": (conv(padding="full"), ValueError, ("c expects padding", '"same"', "got 'full'")),
    "padding -1": (conv(padding=-1), ValueError, ("c expects padding", "got -1")),
    "padding pair": (conv(padding=(1, 2)), ValueError, ("c expects padding", "got (1, 2)")),
    "padding NaN": (conv(padding=math.nan), TypeError, ("c expects padding", "got nan")),
    "groups 4": (conv(groups=4), ValueError, ("c expects groups to divide its 4", "6 filters", "got 4")),
    "groups 3": (conv(groups=3), ValueError, ("c expects groups to divide its 4 input channels", "got 3")),
    "groups 0": (conv(groups=0), ValueError, ("c expects groups", "got 0")),
    "data format": (conv(data_format="NHWC"), ValueError, ("c expects data_format", "got 'NHWC'")),
    "activation": (conv(activation="rellu"), ValueError, ("c expects activation", "softmax", "got 'rellu'")),
    "activation function": (conv(activation=np.tanh), TypeError, ("c expects activation", "relu")),
    "use_bias": (conv(use_bias=1), TypeError, ("c expects use_bias to be True or False", "got 1")),
    "initializer": (
        conv(kernel_initializer="glorot"),
        ValueError,
        ("c expects", "glorot_uniform", "got 'glorot'"),
    ),
    "initializer class": (
        conv(bias_initializer=fl.initializers.Zeros),
        TypeError,
        ("c expects an initializer", "Zeros"),
    ),
    "initializer shape": (
        conv(bias_initializer=lambda shape, dtype: np.zeros(3)),
        ValueError,
        ("c expects its initializer to return shape (6,)", "got (3,)"),
    ),
    "unknown argument": (conv(stride=2), TypeError, ("stride",)),
    "pool size 0": (pool(fl.MaxPooling2D, pool_size=0), ValueError, ("p expects pool_size", "got 0")),
    "pool strides": (pool(fl.MaxPooling2D, strides="2"), TypeError, ("p expects strides", "got '2'")),
    "ceil_mode": (pool(fl.MaxPooling2D, ceil_mode=None), TypeError, ("p expects ceil_mode", "got None")),
    "count_include_pad": (
        pool(fl.AveragePooling2D, count_include_pad="yes"),
        TypeError,
        ("p expects count_include_pad to be True or False", "got 'yes'"),
    ),
    "keepdims": (pool(fl.GlobalMaxPooling2D, keepdims=2), TypeError, ("p expects keepdims", "got 2")),
    "reshape twice free": (
        lambda: fl.Reshape((-1, -1), name="r"),
        ValueError,
        ("r expects target_shape", "(-1, -1)"),
    ),
    "reshape of floats": (
        lambda: fl.Reshape((2.5,), name="r"),
        ValueError,
        ("r expects target_shape", "(2.5,)"),
    ),
    "slope": (
        lambda: fl.LeakyReLU(-0.1, name="l"),
        ValueError,
        ("l expects negative_slope to be a finite number >= 0", "got -0.1"),
    ),
    "alpha": (lambda: fl.ELU(math.inf, name="e"), ValueError, ("e expects alpha", "got inf")),
    "softmax of the batch": (lambda: fl.Softmax(0, name="s"), ValueError, ("s expects axis", "got 0")),
    "rate 1": (
        lambda: fl.Dropout(1.0, name="o"),
        ValueError,
        ("o expects rate to be a number in [0, 1)", "got 1.0"),
    ),
    "rate NaN": (lambda: fl.Dropout(math.nan, name="o"), ValueError, ("o expects rate", "got nan")),
    "rate text": (lambda: fl.Dropout("0.5", name="o"), TypeError, ("o expects rate", "got '0.5'")),
    "seed": (lambda: fl.Dropout(0.5, seed=-1, name="o"), ValueError, ("o expects seed", "got -1")),
    "trainable": (lambda: fl.Dense(3, trainable="no"), TypeError, ("dense expects trainable", "got 'no'")),
    # windows
    "kernel too large": (
        conv(kernel_size=(8, 1)),
        ValueError,
        ("c expects a kernel no larger than its padded input", "(8, 1)", "(7, 6)"),
    ),
    "dilated kernel too large": (
        conv(dilation_rate=4),
        ValueError,
        ("c expects a kernel no larger", "(4, 4)"),
    ),
    "pool too large": (
        pool(fl.MaxPooling2D, pool_size=7),
        ValueError,
        ("p expects a pool no larger", "(7, 7)"),
    ),
    "window in padding": (
        pool(fl.AveragePooling2D, padding=2),
        ValueError,
        ("p has a window that lies wholly in padding", "(2, 2)"),
    ),
    "no pixels": (
        lambda: ops.conv2d(ones(2, 0, 6, 4), K, padding=3, name="c"),
        ValueError,
        ("c expects", "pixel", "(2, 0, 6, 4)"),
    ),
    # kernels and biases of ops
    "kernel rank": (
        lambda: ops.conv2d(ones(*IMAGE), ones(3, 4), name="c"),
        ValueError,
        ("c expects a kernel", "(3, 4)"),
    ),
    "kernel of no taps": (
        lambda: ops.conv2d(ones(*IMAGE), ones(0, 3, 4, 6), name="c"),
        ValueError,
        ("c expects a kernel", "(0, 3, 4, 6)"),
    ),
    "bias": (
        lambda: ops.conv2d(ones(*IMAGE), K, ones(4), name="c"),
        ValueError,
        ("c expects bias of shape (6,)", "got (4,)"),
    ),
    "dense kernel rank": (
        lambda: ops.dense(ones(2, 3), ones(3), name="d"),
        ValueError,
        ("d expects a kernel", "(3,)"),
    ),
    "dense bias": (
        lambda: ops.dense(ones(2, 3), ones(3, 4), ones(1, 4), name="d"),
        ValueError,
        ("d expects bias of shape (4,)", "got (1, 4)"),
    ),
    # gradients of the wrong shape
    **{
        f"dy of {name}": (
            step(layer, x, dy),
            ValueError,
            ("n expects dy of shape " + expected, f"got {dy.shape}"),
        )
        for name, step, layer, x, dy, expected in [
            ("dense", backward, fl.Dense(3, name="n"), ones(2, 5), ones(2, 4), "(2, 3)"),
            ("dense batch", backward, fl.Dense(3, name="n"), ones(2, 5), ones(4, 3), "(2, 3)"),
            (
                "frozen dense",
                backward,
                fl.Dense(3, name="n", trainable=False),
                ones(2, 5),
                ones(4, 3),
                "(2, 3)",
            ),
            ("dense weights", parameters_backward, fl.Dense(3, name="n"), ones(2, 5), ones(3, 2), "(2, 3)"),
            ("dense relu", backward, fl.Dense(3, "relu", name="n"), ones(2, 5), ones(2), "(2, 3)"),
            ("dense softmax", backward, fl.Dense(3, "softmax", name="n"), ones(2, 5), ones(3, 3), "(2, 3)"),
            ("conv", backward, fl.Conv2D(6, 3, name="n"), ones(*IMAGE), ones(2, 5, 5, 6), "(2, 5, 4, 6)"),
            (
                "conv weights",
                parameters_backward,
                fl.Conv2D(6, 3, name="n"),
                ones(*IMAGE),
                ones(1, 5, 4, 6),
                "(2, 5, 4, 6)",
            ),
            (
                "frozen conv",
                backward,
                fl.Conv2D(6, 3, name="n", trainable=False),
                ones(*IMAGE),
                ones(1, 5, 4, 6),
                "(2, 5, 4, 6)",
            ),
            ("max pool", backward, fl.MaxPooling2D(name="n"), ones(*IMAGE), ones(2, 3, 3, 5), "(2, 3, 3, 4)"),
            (
                "average pool",
                backward,
                fl.AveragePooling2D(name="n"),
                ones(*IMAGE),
                ones(2, 9, 4),
                "(2, 3, 3, 4)",
            ),
            ("global", backward, fl.GlobalMaxPooling2D(name="n"), ones(*IMAGE), ones(2, 1, 1, 4), "(2, 4)"),
            ("flatten", backward, fl.Flatten(name="n"), ones(*IMAGE), ones(1, 336), "(2, 168)"),
            ("reshape", backward, fl.Reshape((4, -1), name="n"), ones(*IMAGE), ones(2, 42, 4), "(2, 4, 42)"),
            ("relu", backward, fl.ReLU(name="n"), ones(2, 3), ones(1, 3), "(2, 3)"),
            ("gelu", backward, fl.Activation("gelu", name="n"), ones(2, 3), ones(3, 2), "(2, 3)"),
            ("softmax", backward, fl.Softmax(name="n"), ones(2, 3), ones(2, 1), "(2, 3)"),
        ]
    },
    "dy of ops.conv2d": (
        lambda: ops.conv2d_backward_input(ones(2, 5, 5, 6), K, IMAGE, name="c"),
        ValueError,
        ("c expects dy of shape (2, 5, 4, 6)", "got (2, 5, 5, 6)"),
    ),
    "input shape of ops.conv2d": (
        lambda: ops.conv2d_backward_input(ones(2, 5, 4, 6), K, (2, 7, 6, 5), name="c"),
        ValueError,
        ("c expects x of shape (N, H, W, 4)", "got (2, 7, 6, 5)"),
    ),
    "weight gradient groups": (
        lambda: ops.conv2d_backward_weight(ones(*IMAGE), ones(2, 5, 4, 6), 3, groups=4, name="c"),
        ValueError,
        ("c expects groups to divide", "got 4"),
    ),
    "argmax shape": (
        lambda: ops.max_pool2d_backward(ones(2, 3, 3, 4), np.zeros((2, 3, 3, 3), "u1"), IMAGE, name="p"),
        ValueError,
        ("p expects argmax of shape (2, 3, 3, 4)", "got (2, 3, 3, 3)"),
    ),
    "argmax dtype": (
        lambda: ops.max_pool2d_backward(ones(2, 3, 3, 4), np.zeros((2, 3, 3, 4), "i8"), IMAGE, name="p"),
        TypeError,
        ("p expects argmax of dtype uint8", "got int64"),
    ),
    # sizes that no array can have
    "padding 2^62": (conv(padding=HUGE), ValueError, ("c ",)),
    "padding 2^31": (conv(padding=2**31), ValueError, ("c ", "cannot be addressed")),
    "filters 2^62": (conv(filters=HUGE), ValueError, ("c ", "cannot be addressed")),
    "units 2^62": (lambda: fl.Dense(HUGE, name="d")(ones(2, 5)), ValueError, ("d ", "cannot be addressed")),
    "kernel 2^40": (conv(kernel_size=2**40), ValueError, ("c ",)),
    "pool padding 2^62": (
        pool(fl.AveragePooling2D, padding=HUGE, count_include_pad=True),
        ValueError,
        ("p ",),
    ),
    "input shape 2^62": (
        lambda: fl.Sequential([fl.Flatten(), fl.Dense(9)], input_shape=(HUGE, HUGE)),
        ValueError,
        ("dense asks for an array", "cannot be addressed"),
    ),
    # in-place arguments
    "update of a transposed value": (
        lambda: ops.sgd_update(ones(3, 4).T, ones(4, 3), name="u"),
        ValueError,
        ("u writes into value", "C-contiguous", "strides"),
    ),
    "update of a velocity of another shape": (
        lambda: ops.sgd_update(ones(3), ones(3), ones(4), name="u"),
        ValueError,
        ("u expects velocity of shape (3,)", "got (4,)"),
    ),
    "step 0": (
        lambda: ops.adam_update(ones(3), ones(3), ones(3), ones(3), step=0, name="u"),
        ValueError,
        ("u expects step", "got 0"),
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_message_names_layer_expected_and_got(case: str) -> None:
    call, error, parts = TABLE[case]
    for _ in range(2):  # the second call meets whatever the first one left in caches
        with pytest.raises(error) as caught:
            call()
        assert type(caught.value) is error
        for part in parts:
            assert part in str(caught.value)


def test_read_only_values_are_not_written() -> None:
    value = ones(3)
    value.flags.writeable = False
    with pytest.raises(ValueError, match=r"u writes into value, .*writeable=False"):
        ops.sgd_update(value, ones(3), name="u")
    same = ones(3)
    with pytest.raises(ValueError, match="u expects velocity and value to be different arrays"):
        ops.sgd_update(same, ones(3), same, momentum=0.9, name="u")
    assert same.tolist() == value.tolist() == [1, 1, 1]


def test_a_refused_call_leaves_arrays_and_gradients_alone() -> None:
    layer, x, dy = fl.Conv2D(6, 3), ones(*IMAGE), ones(2, 5, 5, 6)
    _, cache = layer.forward(x, training=True)
    with pytest.raises(ValueError, match="expects dy"):
        layer.backward(dy, cache)
    assert np.array_equal(x, ones(*IMAGE))
    assert np.array_equal(dy, ones(2, 5, 5, 6))
    assert not layer.kernel.grad.any()
    assert not layer.bias.grad.any()


def test_lists_serve_as_pairs_but_equal_keys_do_not_serve_as_numbers() -> None:
    x = ones(*IMAGE)
    options = {"strides": [2, 1], "padding": [[1, 0], [0, 1]], "dilation_rate": [1, 2]}
    as_tuples = {"strides": (2, 1), "padding": ((1, 0), (0, 1)), "dilation_rate": (1, 2)}
    assert np.array_equal(ops.conv2d(x, K, **options), ops.conv2d(x, K, **as_tuples))
    pooled = [
        ops.average_pool2d(x, size, count_include_pad=True, **o) for size, o in (([2, 1], options), ((2, 1), as_tuples))
    ]
    assert np.array_equal(*pooled)
    assert ops.conv2d(x, K, strides=1).shape == (2, 5, 4, 6)
    for strides in (True, 1.0, np.float32(1)):
        with pytest.raises(TypeError, match="conv2d expects strides"):
            ops.conv2d(x, K, strides=strides)
    assert ops.conv2d(x, K, strides=np.int64(1)).shape == (2, 5, 4, 6)
