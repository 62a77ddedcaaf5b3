"""MyLayer keeps the contract of a layer, and computes what its docstring says."""

import fastlayers as fl
import numpy as np
import pytest
from fastlayers.testing import layer_tests

from my_layer import MyLayer

test_contract = layer_tests(MyLayer, (3,))
test_contract_on_images = layer_tests(MyLayer, (4, 5, 3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_known_values(dtype: str) -> None:
    layer = MyLayer(dtype=dtype)
    layer.build((2,))
    layer.scale.value = np.array([2.0, 3.0])
    y = layer(np.array([[0.0, 3.0], [-1.0, -99.0]], dtype))
    np.testing.assert_allclose(y, [[0.0, 2.25], [-1.0, -2.97]], rtol=4 * np.finfo(dtype).eps)


def test_a_batch_of_none() -> None:
    assert MyLayer()(np.empty((0, 3), "f4")).shape == (0, 3)


def test_it_says_what_it_expects() -> None:
    with pytest.raises(ValueError, match=r"expects x of shape \(N, …, C\), got \(N,\)"):
        MyLayer()(np.zeros(4, "f4"))


def test_a_model_with_it_is_saved_and_loaded(tmp_path) -> None:
    model = fl.Sequential([fl.Dense(4), MyLayer(), fl.Dense(2)], input_shape=(3,), seed=0)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("f4")
    fl.save(model, tmp_path / "model.safetensors")
    assert np.array_equal(fl.load(tmp_path / "model.safetensors")(x), model(x))
