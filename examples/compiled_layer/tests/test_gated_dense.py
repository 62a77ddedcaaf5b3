"""The layer keeps its contract, and its kernels compute what NumPy says."""

import numpy as np
import pytest
from gated_dense import GatedDense, backward, forward

import fastlayers as fl
from fastlayers.testing import layer_tests

test_layer = layer_tests(lambda: GatedDense(5), (7,))


def arguments(rows, inputs, units, dtype):
    rng = np.random.default_rng(0)
    x, kernel, bias, dy = (
        rng.standard_normal(shape).astype(dtype)
        for shape in ((rows, inputs), (inputs, 2 * units), (2 * units,), (rows, units))
    )
    return x, kernel, bias, dy


@pytest.mark.parametrize("isa", fl.settings.available_isas())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(0, 3, 2), (1, 1, 1), (3, 5, 4), (16, 32, 48), (130, 65, 37)])
def test_kernels_are_verified(sizes, dtype, isa):
    x, kernel, bias, dy = arguments(*sizes, dtype)
    with fl.use(isa=isa):
        assert forward.verify(x, kernel, bias).state == "verified"
        _, z = forward(x, kernel, bias)
        assert backward.verify(dy, z, x, kernel).state == "verified"


def test_the_same_bits_for_any_number_of_threads():
    x, kernel, bias, dy = arguments(200, 150, 90, "float32")
    results = []
    for threads in (1, 2, 3):
        with fl.use(threads=threads, force_threads=True):
            y, z = forward(x, kernel, bias)
            results.append([array.tobytes() for array in (y, z, *backward(dy, z, x, kernel))])
    assert results[0] == results[1] == results[2]


def test_it_learns():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((256, 2)).astype("f4")
    labels = (x[:, 0] * x[:, 1] > 0).astype("i8")
    model = fl.Sequential([GatedDense(16), GatedDense(16), fl.Dense(2)], input_shape=(2,), seed=0)
    loss = fl.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.fit(x, labels, loss=loss, optimizer=fl.optimizers.Adam(1e-2), epochs=40)
    assert (model.predict(x).argmax(axis=1) == labels).mean() > 0.9
