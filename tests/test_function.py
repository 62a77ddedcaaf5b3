"""Layers out of functions, and layers that extend those of the library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from custom_layers import batch

import fastlayers as fl
from fastlayers import saving
from fastlayers.layers import Lambda
from fastlayers.registry import deserialize, serialize


def square(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x * x, x


def square_backward(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    return 2 * x * dy


def pairs(x: np.ndarray) -> tuple[np.ndarray, None]:
    return np.concatenate((x, x), axis=-1), None


def pairs_backward(dy: np.ndarray, cache: None) -> np.ndarray:
    half = dy.shape[-1] // 2
    return dy[..., :half] + dy[..., half:]


def pairs_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:-1], 2 * shape[-1])


class TestLambda:
    def test_one_expression_is_a_layer(self) -> None:
        layer = Lambda(lambda x: (x * x, x), lambda dy, x: 2 * x * dy, "same")
        model = fl.Sequential([fl.Dense(3), layer, fl.Dense(2)], input_shape=(4,), seed=0)
        x = batch(5, 3)
        y, cache = layer.forward(x, training=True)
        assert np.array_equal(y, x * x)
        assert np.array_equal(layer.backward(np.ones_like(x), cache), 2 * x)
        assert np.array_equal(layer(x), y)
        loss = fl.losses.MeanSquaredError()
        history = model.fit(batch(8, 4), batch(8, 2), loss=loss, optimizer=fl.optimizers.SGD(0.05), epochs=20)
        assert history["loss"][-1] < history["loss"][0]

    @pytest.mark.parametrize("shape", ["same", (6,), [6], lambda shape: shape])
    def test_output_shapes(self, shape: Any) -> None:
        assert Lambda(square, square_backward, shape).compute_output_shape((6,)) == (6,)

    def test_it_comes_back_when_its_functions_have_names(self, tmp_path: Path) -> None:
        model = fl.Sequential(
            [Lambda(square, square_backward, "same"), Lambda(pairs, pairs_backward, pairs_shape, name="pairs")],
            input_shape=(3,),
        )
        config = model.layers[1].get_config()
        assert config["forward"] == f"{__name__}:pairs"
        again = deserialize(json.loads(json.dumps(serialize(model))))
        assert np.array_equal(again(batch(2, 3)), model(batch(2, 3)))
        saving.save(model, tmp_path / "model")
        assert np.array_equal(saving.load(tmp_path / "model")(batch(2, 3)), model(batch(2, 3)))
        fixed = Lambda(square, square_backward, (3,))
        assert deserialize(json.loads(json.dumps(serialize(fixed)))).compute_output_shape((3,)) == (3,)

    def test_functions_without_a_name_are_refused_when_it_is_written_down(self) -> None:
        def local(x: Any) -> Any:
            return x, None

        for function in (lambda x: (x, None), local, np.tanh, TestLambda().test_output_shapes):
            layer = Lambda(function, square_backward, "same")
            with pytest.raises(TypeError, match=r"lambda: forward cannot be written down: .* Define it with def"):
                layer.get_config()

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("nowhere.at_all:f", "unknown function 'nowhere.at_all:f': import nowhere.at_all before loading"),
            (f"{__name__}:missing", "defines no such function at its top level"),
            (f"{__name__}:np.tanh", "defines no such function"),
            ("shutil:rmtree", "is refused: it is one of Python's own library"),
            ("os:system", "defines no such function"),
            ("posix:system", "defines no such function"),
            ("builtins:exec", "defines no such function"),
            (f"{__name__}:Lambda", "defines no such function"),
            ("no colon", "unknown function"),
        ],
    )
    def test_a_file_cannot_name_other_things(self, path: str, message: str) -> None:
        config = {**Lambda(square, square_backward, "same").get_config(), "forward": path}
        with pytest.raises(ValueError, match=message):
            Lambda.from_config(config)

    def test_arguments_are_checked(self) -> None:
        with pytest.raises(TypeError, match="lambda expects forward to be a function, got 3"):
            Lambda(3, square_backward, "same")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match='output_shape to be "same", a tuple or a function'):
            Lambda(square, square_backward, "other")
        with pytest.raises(TypeError, match="lambda expects an input shape"):
            Lambda(square, square_backward, (None,))
        with pytest.raises(TypeError, match=r"Lambda.forward must return \(y, cache\)"):
            Lambda(lambda x: x, square_backward, "same").forward(batch(2, 3))


class TestExtending:
    """A class that overrides forward or backward of a layer with shortcuts of its own is not bypassed by them."""

    def test_inference_uses_the_new_forward(self) -> None:
        class Doubled(fl.Dense, registered_name="tests.function.Doubled"):
            def forward(self, x, training=False):
                y, cache = super().forward(x, training)
                return 2 * y, cache

            def backward(self, dy, cache):
                return super().backward(2 * dy, cache)

        class DoubledReLU(fl.ReLU, registered_name="tests.function.DoubledReLU"):
            def forward(self, x, training=False):
                y, cache = super().forward(x, training)
                return 2 * y, cache

            def backward(self, dy, cache):
                return 2 * super().backward(dy, cache)

        for layer in (Doubled(4), DoubledReLU()):
            x = batch(3, 5)
            assert np.array_equal(layer(x), layer.forward(x)[0])
        plain = fl.Dense(4)
        plain(x)
        doubled = Doubled(4)
        doubled(x)
        doubled.kernel.value, doubled.bias.value = plain.kernel.value, plain.bias.value
        assert np.array_equal(doubled(x), 2 * plain(x))

    def test_training_uses_the_new_backward(self) -> None:
        class Clipped(fl.Dense, registered_name="tests.function.Clipped"):
            def backward(self, dy, cache):
                return super().backward(np.clip(dy, -0.01, 0.01), cache)

        model = fl.Sequential([Clipped(2)], input_shape=(3,), seed=0)
        x = np.ones((1, 3), "f4")
        y, cache = model.forward(x)
        model.backward_parameters(np.full_like(y, 5), cache)
        assert np.array_equal(model.layers[0].bias.grad, np.float32([0.01, 0.01]))

    def test_a_new_infer_counts_when_it_is_the_newest(self) -> None:
        class Quick(fl.Dense, registered_name="tests.function.Quick"):
            def infer(self, x):
                return super().infer(x) + 1

        layer, x = Quick(2), batch(2, 3)
        assert np.array_equal(layer(x), layer.forward(x)[0] + 1)

    def test_conv_and_pooling_and_ops(self) -> None:
        class Normed(fl.Conv2D, registered_name="tests.function.Normed"):
            """A convolution whose kernel has length 1 in each filter; its gradient stops there."""

            def build(self, input_shape):
                super().build(input_shape)
                self.kernel.value /= np.sqrt((self.kernel.value**2).sum(axis=(0, 1, 2)))

        class Power(fl.AveragePooling2D, registered_name="tests.function.Power"):
            """y = mean of x²"""

            def forward(self, x, training=False):
                y, cache = super().forward(fl.ops.activation(x, "linear") ** 2, training)
                return y, (x, cache)

            def backward(self, dy, cache):
                x, inner = cache
                return 2 * x * super().backward(dy, inner)

        model = fl.Sequential([Normed(3, 3), Power(2)], input_shape=(8, 8, 2), dtype="float64", seed=0)
        rng = np.random.default_rng(0)
        x, v = rng.normal(size=(2, 2, 8, 8, 2))
        y, cache = model.forward(x)
        dx = model.backward(np.ones_like(y), cache)
        slope = (model(x + 1e-6 * v).sum() - model(x - 1e-6 * v).sum()) / 2e-6
        assert (dx * v).sum() == pytest.approx(slope, rel=1e-6)


class TestState:
    class Running(fl.Layer, registered_name="tests.function.Running"):
        """y = x - running mean"""

        def build(self, input_shape):
            self.mean = self.add_weight("mean", input_shape, "zeros", trainable=False)

        def compute_output_shape(self, input_shape):
            return input_shape

        def forward(self, x, training=False):
            if training:
                self.mean.value += 0.5 * (x.mean(axis=0) - self.mean.value)
            return x - self.mean.value, None

        def backward(self, dy, cache):
            return dy

    def test_running_statistics_move_in_training_only_and_are_saved(self, tmp_path: Path) -> None:
        model = fl.Sequential([fl.Dense(3), self.Running()], input_shape=(3,), seed=0)
        x = batch(6, 3)
        model(x)
        mean = model.layers[1].mean
        assert not mean.value.any()
        model.fit(x, x, loss=fl.losses.MeanSquaredError(), optimizer=fl.optimizers.SGD(), epochs=3)
        moved = mean.value.copy()
        assert moved.any()
        model.trainable = True
        assert not mean.trainable
        saving.save(model, tmp_path / "model")
        assert np.array_equal(saving.load(tmp_path / "model").layers[1].mean.value, moved)
