"""The same bits for any number of threads, and on every run."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import fastlayers as fl

THREADS = (1, 2, 3, 5)
Arrays = dict[str, NDArray[np.floating]]


def digest_by_threads(compute, threads=THREADS):  # type: ignore[no-untyped-def]
    """Results of `compute()` for each number of threads, every op forced to use them all."""
    results = []
    for count in threads:
        with fl.use(threads=count, force_threads=True):
            results.append(compute())
    return results


def assert_equal_bits(results: list[Arrays]) -> None:
    for other in results[1:]:
        for name, array in results[0].items():
            assert array.tobytes() == other[name].tobytes(), name


CONVOLUTIONS = [
    # batch, height, width, channels, filters, kernel, stride, dilation, groups
    (1, 23, 17, 16, 40, 3, 1, 1, 1),
    (5, 14, 14, 24, 48, 3, 2, 1, 1),
    (3, 19, 21, 3, 33, 7, 2, 1, 1),
    (2, 16, 18, 12, 24, 3, 1, 2, 4),
    (9, 12, 10, 1, 6, 5, 1, 1, 1),
    (2, 9, 33, 64, 17, 1, 1, 1, 1),
    (1, 40, 40, 8, 8, 3, 1, 1, 8),
    (2, 21, 26, 16, 40, 3, 1, 2, 1),
    (4, 17, 19, 16, 40, 5, 1, 1, 1),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolution(case: tuple[int, ...], dtype: type) -> None:
    batch, height, width, channels, filters, kernel_size, stride, dilation, groups = case
    rng = np.random.default_rng(3)
    x = rng.standard_normal((batch, height, width, channels)).astype(dtype)
    kernel = rng.standard_normal((kernel_size, kernel_size, channels // groups, filters)).astype(dtype)
    bias = rng.standard_normal(filters).astype(dtype)
    geometry = {"strides": stride, "padding": "same", "dilation_rate": dilation, "groups": groups}

    def compute() -> Arrays:
        y = fl.ops.conv2d(x, kernel, bias, activation="gelu", **geometry)
        dx = fl.ops.conv2d_backward_input(y, kernel, x.shape, **geometry)
        dkernel, dbias = fl.ops.conv2d_backward_weight(x, y, (kernel_size, kernel_size), **geometry)
        return {"y": y, "dx": dx, "dW": dkernel, "db": dbias}

    assert_equal_bits(digest_by_threads(compute))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", [(1, 300, 65), (7, 64, 33), (130, 1500, 40), (400, 30, 200), (2300, 40, 24)])
def test_dense(sizes: tuple[int, int, int], dtype: type) -> None:
    n, inputs, units = sizes
    rng = np.random.default_rng(4)
    x, kernel = (
        rng.standard_normal((n, inputs)).astype(dtype),
        rng.standard_normal((inputs, units)).astype(dtype),
    )

    def compute() -> Arrays:
        y = fl.ops.dense(x, kernel, activation="tanh")
        dkernel, dbias = fl.ops.dense_backward_weight(x, y)
        return {"y": y, "dx": fl.ops.dense_backward_input(y, kernel), "dW": dkernel, "db": dbias}

    assert_equal_bits(digest_by_threads(compute))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_twenty_training_steps(optimizer: str) -> None:
    """Forward, dx, dW, db, losses and updates, dropout included."""
    (images, labels), _ = fl.datasets.load_digits()

    def train() -> Arrays:
        model = fl.Sequential(
            [
                fl.Conv2D(12, 3, padding="same", activation="relu"),
                fl.MaxPooling2D(2),
                fl.Conv2D(20, 3, strides=2, padding="same", groups=2, activation="silu"),
                fl.AveragePooling2D(2),
                fl.Flatten(),
                fl.Dropout(0.2, seed=5),
                fl.Dense(10),
            ],
            input_shape=(8, 8, 1),
            seed=7,
        )
        loss = fl.losses.SparseCategoricalCrossentropy(from_logits=True)
        step = fl.optimizers.SGD(0.1, momentum=0.9) if optimizer == "sgd" else fl.optimizers.Adam(1e-2)
        values = [
            model.train_step(images[i * 50 : i * 50 + 50], labels[i * 50 : i * 50 + 50], loss, step)[0]
            for i in range(20)
        ]
        return {
            "losses": np.array(values),
            **{p.name + str(i): p.value for i, p in enumerate(model.parameters())},
        }

    results = digest_by_threads(train)
    assert_equal_bits(results)
    assert results[0]["losses"][-1] < results[0]["losses"][0], "the net learns"


def test_repeated_runs() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((6, 15, 13, 20)).astype(np.float32)
    with fl.use(threads=3, force_threads=True):
        first = fl.ops.conv2d_backward_weight(x, x, (3, 3), padding="same")[0]
        for _ in range(20):
            assert np.array_equal(fl.ops.conv2d_backward_weight(x, x, (3, 3), padding="same")[0], first)
