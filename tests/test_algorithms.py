"""Which algorithm computes a convolution, and what that means for its precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastlayers as fl
from fastlayers._kernels.dense import algorithm as dense_algorithm
from fastlayers.cases.dense import ROWS as DENSE_CASES
from fastlayers.cases.winograd import FORMS, axes_of, weight_bound
from fastlayers.reference.conv import conv2d as reference
from fastlayers.reference.conv import conv2d_backward_weight as reference_weight
from fastlayers.shapes import conv2d_window

LARGE = (56, 56, 64)


def chosen(layer: fl.Conv2D, shape: tuple[int, int, int] = LARGE, batch: int = 8) -> str:
    return layer.algorithm(shape, batch)["forward"]


def test_the_algorithm_follows_the_problem() -> None:
    assert chosen(fl.Conv2D(64, 3, padding="same")) == "winograd_f4"
    assert chosen(fl.Conv2D(64, 3, padding="same", dilation_rate=2)) == "winograd_f4"
    assert chosen(fl.Conv2D(64, 3, padding=6, dilation_rate=6), (33, 33, 64)) == "winograd_f2", (
        "tiles fit the rest better"
    )
    assert chosen(fl.Conv2D(64, 3, padding=6, dilation_rate=6), (6, 6, 64)) == "tapwise", "nothing to share in a tile"
    assert chosen(fl.Conv2D(64, 3, strides=2)) == "winograd_f4_2x2"
    assert chosen(fl.Conv2D(64, (3, 4), strides=2)) == "winograd_f4_2x2"
    assert chosen(fl.Conv2D(64, 3, strides=(2, 1))) == "direct"
    assert chosen(fl.Conv2D(64, 3, strides=2), (9, 9, 64)) == "tapwise", "too few tiles"
    assert chosen(fl.Conv2D(64, 5)) == "winograd_f2_5x5"
    assert chosen(fl.Conv2D(64, 5), (8, 8, 64), 1) == "tapwise", "too few tiles"
    assert chosen(fl.Conv2D(64, 5), (7, 7, 64), 1) == "direct", "too few pixels to pack weights"
    assert chosen(fl.Conv2D(512, 3, strides=2, padding=1), (14, 14, 512)) == "tapwise", "many weights, few pixels"
    assert chosen(fl.Conv2D(512, 1, strides=2), (14, 14, 512)) == "direct", "a single tap"
    assert chosen(fl.Conv2D(256, 3, strides=2, padding=1), (28, 28, 256)) == "direct", "too many pixels"
    assert chosen(fl.Conv2D(64, (5, 3))) == "direct"
    assert chosen(fl.Conv2D(64, (1, 7))) == chosen(fl.Conv2D(64, (6, 1))) == "winograd_f3_1x4"
    assert chosen(fl.Conv2D(64, (1, 5))) == chosen(fl.Conv2D(64, (9, 1))) == "direct", "too few products saved"
    assert chosen(fl.Conv2D(64, 1)) == "pointwise"
    assert chosen(fl.Conv2D(64, 1, strides=2)) == "direct"
    assert fl.Conv2D(64, 1, strides=2).algorithm((56, 56, 64))["backward_weight"] == "pointwise_strided"
    assert fl.Conv2D(8, 5).algorithm((9, 9, 6))["backward_input"] == "scatter"
    assert chosen(fl.Conv2D(64, 3, groups=64)) == "depthwise"
    assert chosen(fl.Conv2D(64, 3, dtype="float64")) == "direct"
    assert chosen(fl.Conv2D(8, 3), (56, 56, 3)) == "direct"
    assert set(fl.Conv2D(64, 3).algorithm(LARGE)) == {"forward", "backward_input", "backward_weight"}


@pytest.mark.parametrize("isa", fl.settings.available_isas())
def test_groups_share_vectors_where_lanes_can_be_permuted(isa: str) -> None:
    with fl.use(isa=isa):
        assert chosen(fl.Conv2D(64, 3, groups=16)) == ("grouped" if isa.startswith("avx") else "direct")
        assert chosen(fl.Conv2D(64, 3, groups=2)) == "winograd_f4", "groups of 32 fill vectors"
        assert chosen(fl.Conv2D(128, 3, groups=16)) == "direct", "more filters than channels"


def test_high_precision_avoids_the_large_tiles() -> None:
    with fl.use(precision="high"):
        assert chosen(fl.Conv2D(64, 3, padding="same")) == "winograd_f2"
        for size, strides in ((5, 1), ((1, 7), 1), (3, 2)):
            assert chosen(fl.Conv2D(64, size, strides=strides, padding="same")) == "direct"
    with pytest.raises(ValueError, match=r"precision: expected one of fast, high, got 'low'"), fl.use(precision="low"):
        pass


def test_an_algorithm_can_be_forced() -> None:
    for name in ("direct", "tapwise", "scatter", "winograd_f2", "winograd_f4"):
        layer = fl.Conv2D(5, 3, algorithm=name)
        assert chosen(layer, (9, 9, 3)) == name
        assert layer.get_config()["algorithm"] == name
    assert chosen(fl.Conv2D(5, 5, algorithm="winograd_f2_5x5"), (9, 9, 3)) == "winograd_f2_5x5"
    assert chosen(fl.Conv2D(5, 4, strides=2, algorithm="winograd_f4_2x2"), (9, 9, 3)) == "winograd_f4_2x2"
    assert chosen(fl.Conv2D(5, (8, 1), algorithm="winograd_f3_1x4"), (9, 9, 3)) == "winograd_f3_1x4"
    with fl.use(precision="high"):
        assert chosen(fl.Conv2D(64, 3, algorithm="winograd_f4")) == "winograd_f4", "an order stands above a setting"


def test_an_algorithm_that_does_not_apply_is_refused() -> None:
    with pytest.raises(ValueError, match=r"conv2d expects algorithm to be auto, .*direct, got 'fft'"):
        fl.Conv2D(5, 3, algorithm="fft")
    x, kernel = np.zeros((1, 9, 9, 4), np.float32), np.zeros((5, 5, 4, 4), np.float32)
    with pytest.raises(ValueError, match=r"'winograd_f4' does not apply to this convolution"):
        fl.ops.conv2d(x, kernel, algorithm="winograd_f4")
    for name, size, strides in (("winograd_f4_2x2", (3, 5), 2), ("winograd_f3_1x4", (2, 5), 1)):
        with pytest.raises(ValueError, match=rf"'{name}' does not apply to this convolution"):
            fl.ops.conv2d(x, kernel[: size[0], : size[1]], strides=strides, algorithm=name)


@pytest.mark.parametrize(
    ("algorithm", "size", "strides", "most"),
    [
        ("direct", (3, 3), 1, 2e-6),
        ("winograd_f2", (3, 3), 1, 2e-6),
        ("winograd_f4", (3, 3), 1, 8e-6),
        ("direct", (5, 5), 1, 4e-6),
        ("winograd_f2_5x5", (5, 5), 1, 8e-6),
        ("winograd_f4_2x2", (3, 3), 2, 8e-6),
        ("winograd_f3_1x4", (1, 7), 1, 8e-6),
    ],
    ids=lambda v: str(v),
)
def test_error_relative_to_the_largest_output(algorithm: str, size: tuple[int, int], strides: int, most: float) -> None:
    """Norm-wise, against float64, with inputs of a wide range as well: F4 has two to four times direct sums' error."""
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((*size, 128, 64)).astype(np.float32)
    window = conv2d_window("test", (24, 24, 128), size, strides, padding="same")
    for x in (rng.standard_normal((1, 24, 24, 128)), np.exp(2 * rng.standard_normal((1, 24, 24, 128)))):
        x = x.astype(np.float32)
        y = fl.ops.conv2d(x, kernel, strides=strides, padding="same", algorithm=algorithm)
        exact = reference(x.astype(float), kernel.astype(float), None, window, 1, "channels_last", "linear", 0.0)
        assert abs(y - exact).max() <= most * abs(exact).max()


def test_an_infinity_stays_within_its_windows_in_direct_sums() -> None:
    """Winograd's tiles spread it over a tile as NaN: the price of "fast", and why there is "high"."""
    x, kernel = np.ones((1, 12, 12, 16), np.float32), np.ones((3, 3, 16, 16), np.float32)
    x[0, 0, 0, 0] = np.inf
    y = fl.ops.conv2d(x, kernel, algorithm="direct")
    assert np.isinf(y[0, 0, 0]).all()
    assert np.isfinite(np.delete(y.reshape(-1, 16), 0, axis=0)).all()


@pytest.mark.parametrize(
    ("which", "algorithms"),
    [
        ("forward", {"skinny", "narrow", "blocked"}),
        ("backward_input", {"skinny", "blocked"}),
        ("backward_weight", {"skinny", "blocked", "narrow", "direct"}),
    ],
)
def test_the_cases_of_dense_layers_reach_every_algorithm(which: str, algorithms: set[str]) -> None:
    for double in (False, True):
        taken = {dense_algorithm(case.n, case.i, case.o, double, which) for case in DENSE_CASES.values()}
        assert taken == algorithms


def test_skinny_products_are_those_of_few_rows() -> None:
    assert dense_algorithm(1, 784, 512, False, "forward") == "skinny"
    assert dense_algorithm(1000, 784, 512, False, "forward") == "blocked"
    assert dense_algorithm(1000, 784, 4, False, "forward") == "narrow"
    assert dense_algorithm(16, 784, 512, False, "backward_input") == "skinny"
    assert dense_algorithm(16, 784, 10, False, "backward_input") == "blocked"
    assert dense_algorithm(1, 784, 512, False, "backward_weight") == "skinny"
    assert dense_algorithm(16, 784, 512, False, "backward_weight") == "blocked"


@pytest.mark.parametrize("isa", fl.settings.available_isas())
@pytest.mark.parametrize("units", [992, 1000])
def test_results_larger_than_the_caches_are_exact(isa: str, units: int) -> None:
    rng = np.random.default_rng(0)
    x, kernel, bias = (rng.integers(-8, 9, shape).astype(np.float32) for shape in ((4301, 3), (3, units), (units,)))
    with fl.use(isa=isa):
        np.testing.assert_array_equal(
            fl.ops.dense(x, kernel, bias, activation="relu"), np.maximum(x @ kernel + bias, 0)
        )
        np.testing.assert_array_equal(fl.ops.dense(x, kernel), x @ kernel)
        np.testing.assert_array_equal(fl.ops.dense_backward_input(x, np.ascontiguousarray(kernel.T)), x @ kernel)


@pytest.mark.parametrize("isa", fl.settings.available_isas())
@pytest.mark.parametrize("units", [16, 48, 1008, 1024])
def test_few_rows_have_the_same_bits_wherever_the_kernel_stands(isa: str, units: int) -> None:
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((3, 40), dtype=np.float32), rng.standard_normal((40, units), dtype=np.float32)
    with fl.use(isa=isa):
        expected = fl.ops.dense(x, kernel, None)
        x[1, 5] = np.inf
        for place in range(16):
            copy = np.empty(kernel.size + place, np.float32)[place:].reshape(kernel.shape)
            copy[...] = kernel
            y = fl.ops.dense(x, copy, None)
            np.testing.assert_array_equal(y[[0, 2]], expected[[0, 2]], "an infinity stays within its row")
            np.testing.assert_array_equal(y[1], np.copysign(np.inf, kernel[5]))


@pytest.mark.parametrize("isa", fl.settings.available_isas())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [(3, 5), (5, 3), (2, 3), (3, 4)])
def test_depthwise_has_the_same_bits_wherever_the_image_stands(size: tuple[int, int], dtype: str, isa: str) -> None:
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((2, 4, 11, 150)).astype(dtype), rng.standard_normal((*size, 1, 150)).astype(dtype)
    window = conv2d_window("test", x.shape[1:], size, padding="same")
    exact, magnitude = (
        reference(f(x.astype(float)), f(kernel.astype(float)), None, window, 150, "channels_last", "linear", 0.0)
        for f in (np.positive, np.abs)
    )
    with fl.use(isa=isa):
        results = []
        for place in range(64 // x.itemsize):  # one of them is the beginning of a cache line
            copy = np.empty(x.size + place, dtype)[place:].reshape(x.shape)
            copy[...] = x
            results.append(fl.ops.conv2d(copy, kernel, padding="same", groups=150))
    assert (abs(results[0] - exact) <= size[0] * size[1] * np.finfo(dtype).eps * magnitude).all()
    for other in results[1:]:
        assert results[0].tobytes() == other.tobytes()


@pytest.mark.parametrize("isa", fl.settings.available_isas())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("x_shape", "filters", "groups"),
    [
        ((2, 40, 29, 3), 6, 1),  # rows of dy narrower than a panel, read in place but for the last ones
        ((2, 40, 29, 3), 41, 1),
        ((9, 12, 13, 48), 48, 3),  # groups that fill lanes, several copied at once; several images in a chunk
        ((2, 22, 19, 40), 24, 2),  # groups that don't
        ((1, 5, 700, 4), 32, 1),  # rows longer than a chunk
    ],
)
def test_weight_gradients_over_many_chunks(
    x_shape: tuple[int, ...], filters: int, groups: int, dtype: str, isa: str
) -> None:
    rng = np.random.default_rng(3)
    shape = (3, 2, x_shape[-1] // groups, filters)
    x = rng.integers(-2, 3, x_shape).astype(dtype)

    def convolve(function: Any, *arrays: Any) -> Any:
        return function(*arrays, strides=(2, 1), padding=((1, 0), (2, 1)), groups=groups)

    dy = rng.integers(-2, 3, convolve(fl.ops.conv2d, x, np.zeros(shape, dtype)).shape).astype(dtype)
    with fl.use(backend="reference"):
        expected = convolve(fl.ops.conv2d_backward_weight, x, dy, shape[:2])
    with fl.use(isa=isa):
        computed = convolve(fl.ops.conv2d_backward_weight, x, dy, shape[:2])
    for a, b in zip(computed, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("isa", fl.settings.available_isas())
@pytest.mark.parametrize(
    ("shape", "filters", "algorithm", "size", "dilation"),
    [
        ((4, 28, 27, 64), 48, "winograd_f4", (3, 3), 1),
        ((2, 28, 27, 96), 80, "winograd_f2", (3, 3), 1),
        ((3, 15, 16, 16), 2000, "winograd_f4", (3, 3), 1),
        ((4, 27, 28, 64), 48, "winograd_f4", (3, 3), 2),
        ((1, 27, 28, 64), 48, "winograd_f2_5x5", (5, 5), 1),
        ((3, 39, 38, 24), 2000, "winograd_f4_2x2", (3, 4), 1),
        ((4, 27, 28, 24), 24, "winograd_f4_2x2", (3, 3), 1),
        ((3, 17, 18, 64), 2000, "winograd_f3_1x4", (7, 1), 1),
        ((3, 29, 18, 32), 32, "winograd_f3_1x4", (1, 7), 2),
    ],
    ids=[
        "half of the xi at a time",
        "half, F2",
        "several batches of tiles",
        "half, dilated",
        "half, 5x5",
        "batches, stride 2",
        "slices, stride 2",
        "batches, line",
        "slices, line",
    ],
)
def test_weight_gradients_too_large_for_one_pass(
    shape: tuple[int, ...], filters: int, algorithm: str, size: tuple[int, int], dilation: int, isa: str
) -> None:
    form, rng = FORMS[algorithm], np.random.default_rng(0)
    geometry: Any = {"strides": form.stride, "padding": "same", "dilation_rate": dilation}
    window = conv2d_window("test", shape[1:], size, **geometry)
    x = rng.standard_normal(shape).astype(np.float32)
    dy = rng.standard_normal((shape[0], window.oh, window.ow, filters)).astype(np.float32)
    with fl.use(isa=isa):
        dW, db = fl.ops.conv2d_backward_weight(x, dy, size, **geometry, algorithm=algorithm)
    exact, sums = reference_weight(x.astype(float), dy.astype(float), window, 1, "channels_last", True)
    axes = axes_of(window, window.top, window.left)
    assert (abs(dW - exact) <= weight_bound(x.astype(float), dy.astype(float), 1, axes, form, 2.0**-24)).all()
    np.testing.assert_allclose(db, sums, rtol=0, atol=2.0**-24 * len(dy) * dy[0, ..., 0].size * abs(dy).max())


@pytest.mark.parametrize("isa", fl.settings.available_isas())
@pytest.mark.parametrize("rows", [1, 2])
def test_a_weight_gradient_larger_than_the_caches_is_written_whole(isa: str, rows: int) -> None:
    rng = np.random.default_rng(0)
    x, dy = (rng.integers(-8, 9, (rows, size)).astype(np.float32) for size in (2048, 4128))
    with fl.use(isa=isa):
        dkernel, dbias = fl.ops.dense_backward_weight(x, dy)
    np.testing.assert_array_equal(dkernel, x.T @ dy)
    np.testing.assert_array_equal(dbias, dy.sum(axis=0))
