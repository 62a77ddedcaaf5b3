"""fl.use(debug=True): the first layer whose shapes, dtypes or numbers are wrong is named."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from custom_layers import Branches, Scale, batch

import fastlayers as fl
from fastlayers.graph import Input
from fastlayers.layers import Add
from fastlayers.settings import current, debugging


class Broken(Scale, registered_name="tests.debug.Broken"):
    """A Scale that goes wrong in one way: y and dx are changed by a function of their own."""

    def __init__(self, y=None, dx=None, **options):
        super().__init__(**options)
        self.change_y, self.change_dx = y, dx

    def forward(self, x, training=False):
        y, cache = super().forward(x, training)
        return (self.change_y(y) if self.change_y else y), cache

    def backward(self, dy, cache):
        dx = super().backward(dy, cache)
        return self.change_dx(dx) if self.change_dx else dx


def with_nan(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array[1, 2] = np.nan
    return array


def net(layer: fl.Layer) -> fl.Model:
    x = Input((4,))
    h = fl.Sequential([fl.Dense(4, "relu"), layer], name="inner")(x)
    model: fl.Model = fl.Model(x, Add()((h, x)), seed=0)
    return model


def shown(error: BaseException) -> str:
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (with_nan, FloatingPointError, "bad: y has 1 of 12 numbers that are not finite: nan at (1, 2)"),
        (lambda y: y / np.float32(0), FloatingPointError, "bad: y has 12 of 12 numbers that are not finite: "),
        (lambda y: y[:, :3], ValueError, "bad: y has shape (3, 3), but compute_output_shape declares (3, 4)"),
        (lambda y: y[:2], ValueError, "bad: y has shape (2, 4), but compute_output_shape declares (3, 4)"),
        (lambda y: y.astype("f8"), TypeError, "bad: y has dtype float64, the layer has float32"),
        (lambda y: y.tolist(), TypeError, "bad: y must be an array (or a tuple of arrays), got list"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_first_wrong_output_is_named(change: Any, error: type[Exception], message: str) -> None:
    model, x = net(Broken(y=change, name="bad")), batch(3, 4)
    for run in (model, model.forward, model.predict):
        with fl.use(debug=True), pytest.raises(error) as caught:
            run(x)
        assert message in shown(caught.value)
        assert "[graph/inner/bad]" in shown(caught.value)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (with_nan, FloatingPointError, "bad: dx has 1 of 12 numbers that are not finite: nan at (1, 2)"),
        (lambda dx: dx.astype("f8"), TypeError, "bad: dx has dtype float64, the layer has float32"),
        (lambda dx: dx[:, :3], ValueError, "bad: backward must return dx of the shape of x, (3, 4), got (3, 3)"),
        (
            lambda dx: (dx, dx),
            ValueError,
            "bad: backward must return dx of the shape of x, (3, 4), got ((3, 4), (3, 4))",
        ),
    ],
)
def test_the_first_wrong_gradient_is_named(change: Any, error: type[Exception], message: str) -> None:
    model, x = net(Broken(dx=change, name="bad")), batch(3, 4)
    for descend in (model.backward, model.backward_parameters, model._backward_once):
        with fl.use(debug=True):
            y, cache = model.forward(x, training=True)
            with pytest.raises(error) as caught:
                descend(y, cache)
        assert message in shown(caught.value)
        assert "[graph/inner/bad]" in shown(caught.value)


def test_a_gradient_of_weights_that_is_not_finite_is_named() -> None:
    layer = Scale()
    with fl.use(debug=True):
        y, cache = layer.forward(np.full((2, 3), 1e38, "f4"))
        with (
            np.errstate(over="ignore"),
            pytest.raises(FloatingPointError, match="scale: the gradient of gamma has 3 of 3 numbers"),
        ):
            layer.backward(np.full_like(y, 100), cache)


def test_what_comes_in_is_looked_at() -> None:
    model = net(Scale())
    with fl.use(debug=True):
        with pytest.raises(
            FloatingPointError, match=r"graph: x has 1 of 12 numbers that are not finite: nan at \(1, 2\)"
        ):
            model(with_nan(batch(3, 4)))
        with pytest.raises(FloatingPointError, match="graph: dy has 1 of 12"):
            model.backward(with_nan(batch(3, 4)), model.forward(batch(3, 4))[1])


def test_layers_within_a_block_are_looked_at() -> None:
    block = Branches(4, name="block")
    model = fl.Sequential([block], input_shape=(3,))
    model(batch(2, 3))
    block.listed[1][0].kernel.value[0, 0] = np.inf
    with fl.use(debug=True), pytest.raises(FloatingPointError, match=r"dense: y has 2 of 8") as caught:
        model.forward(batch(2, 3))
    assert "in listed/1/0 (Dense, inside block): forward, shape (2, 3)" in shown(caught.value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_right_passes_with_the_same_bits(dtype: str) -> None:
    def trained(debug: bool) -> list[bytes]:
        x = Input((6, 6, 2), dtype=dtype)
        h = fl.Conv2D(2, 3, padding="same", activation="gelu")(x)
        h = fl.MaxPooling2D(2)(Add()((h, x)))
        model = fl.Model(x, (fl.Dense(3)(fl.Dropout(0.3)(fl.Flatten()(h))), h), seed=1)
        losses = fl.losses.MeanSquaredError(), None
        data = batch(9, 6, 6, 2, dtype=dtype), (batch(9, 3), np.zeros(9))
        with fl.use(debug=debug):
            model.fit(*data, loss=losses, optimizer=fl.optimizers.SGD(), batch_size=4)
            model.evaluate(*data, losses)
        return [parameter.value.tobytes() for parameter in model.parameters()]

    assert trained(True) == trained(False)


def test_a_mixture_of_dtypes_is_no_fault_of_a_model() -> None:
    model = fl.Sequential([fl.Dense(3, dtype="float64"), fl.ReLU(dtype="float64")])
    with fl.use(debug=True):
        y, cache = model.forward(batch(2, 3, dtype="float64"))
        assert model.backward(y, cache).dtype == np.float64


def test_it_holds_in_its_block_and_thread_only() -> None:
    model, x = net(Broken(y=with_nan)), batch(3, 4)
    with fl.use(debug=True):
        assert current().debug
        with fl.use(debug=False):
            assert np.isnan(model(x)).any()
        seen: list[Any] = []
        worker = threading.Thread(target=lambda: seen.append(model(x)))
        worker.start()
        worker.join(20)
        assert np.isnan(seen[0]).any()
        with pytest.raises(FloatingPointError):
            model(x)
    assert not debugging
    assert np.isnan(model(x)).any()


def test_a_cache_made_in_debug_mode_serves_outside_and_the_other_way_round() -> None:
    model, x = net(Scale()), batch(3, 4)
    with fl.use(debug=True):
        y, watched = model.forward(x)
    _, plain = model.forward(x)
    expected = model.backward(y, plain)
    assert np.array_equal(model.backward(y, watched), expected)
    with fl.use(debug=True):
        assert np.array_equal(model.backward(y, plain), expected)
