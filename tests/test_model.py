"""Sequential and what every model can do: training, prediction."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from spying import spied_ops

import fastlayers as fl
from fastlayers.errors import add_note
from fastlayers.registry import deserialize, serialize

LOSS = fl.losses.SparseCategoricalCrossentropy(from_logits=True)


def cnn(seed: int | None = 0, dtype: str = "float32", **options: Any) -> fl.Sequential:
    layers = [
        fl.Conv2D(8, 3, padding="same", activation="relu"),
        fl.MaxPooling2D(2),
        fl.Flatten(),
        fl.Dropout(0.2),
        fl.Dense(16, "silu"),
        fl.Dense(10),
    ]
    return fl.Sequential(layers, input_shape=(8, 8, 1), seed=seed, dtype=dtype, **options)


def digits(n: int) -> tuple[np.ndarray, np.ndarray]:
    (x, y), _ = fl.datasets.load_digits()
    return x[:n], y[:n]


def bits(model: fl.Sequential) -> list[bytes]:
    return [parameter.value.tobytes() for parameter in model.parameters()]


def test_the_example_of_the_documentation_runs() -> None:
    script = '''
import numpy as np, fastlayers as fl

class Scale(fl.Layer):                                   # a custom layer, complete
    """y = gamma * x      x (N, ..., C), gamma (C,) -> y (N, ..., C)"""
    def build(self, input_shape):
        self.gamma = self.add_weight("gamma", (input_shape[-1],), initializer="ones")
    def compute_output_shape(self, input_shape):
        return input_shape
    def forward(self, x, training=False):
        return self.gamma.value * x, x                   # y, cache
    def backward(self, dy, cache):
        x = cache
        self.gamma.grad += (dy * x).reshape(-1, x.shape[-1]).sum(axis=0)
        return self.gamma.value * dy                     # dx

model = fl.Sequential([
    fl.Conv2D(32, 3, padding="same", activation="relu"),
    fl.MaxPooling2D(2), Scale(), fl.Flatten(), fl.Dense(10)], input_shape=(28, 28, 1))
x = np.random.default_rng(0).normal(size=(6, 28, 28, 1)).astype("float32")
labels = np.arange(6)
y, cache = model.forward(x, training=True)
loss, dy = fl.losses.SparseCategoricalCrossentropy(from_logits=True)(y, labels)
dx = model.backward(dy, cache)
assert dx.shape == x.shape
before = model.layers[2].gamma.value.copy()
fl.optimizers.Adam(1e-3).step(model.parameters())
assert not np.array_equal(before, model.layers[2].gamma.value)
assert not np.array_equal(model(x), y)
with fl.use(backend="reference"): a = model(x)
with fl.use(threads=1): b = model(x)
np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
'''
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_names_are_unique_and_make_paths() -> None:
    layers = [fl.Dense(3), fl.Dense(3, name="dense_1"), fl.Dense(3), fl.Sequential([fl.Dense(2), fl.ReLU()])]
    model = fl.Sequential([*layers, layers[0].__class__(4)], input_shape=(5,))
    assert [layer.name for layer in model.layers] == ["dense", "dense_1", "dense_2", "sequential", "dense_3"]
    assert [name for name in model.named_parameters() if name.endswith("kernel")] == [
        *("dense/kernel", "dense_1/kernel", "dense_2/kernel", "sequential/dense/kernel", "dense_3/kernel")
    ]
    other = fl.Sequential([fl.Flatten(), layers[2]])
    other(np.zeros((1, 3), "f4"))
    assert list(other.named_parameters()) == ["dense/kernel", "dense/bias"]
    assert "dense_2/kernel" in model.named_parameters()
    with pytest.raises(ValueError, match="sequential has two layers named 'a'"):
        fl.Sequential([fl.Flatten(name="a"), fl.ReLU(name="a")])


@pytest.mark.parametrize(("layers", "got"), [([fl.Flatten], "the class Flatten"), ([None], "NoneType")])
def test_only_layer_objects_are_layers(layers: Any, got: str) -> None:
    with pytest.raises(TypeError, match=rf"expects layers\[0\] to be a Layer object, got {got}"):
        fl.Sequential(layers)


def test_summary_is_a_table() -> None:
    model = cnn()
    model.layers[0].trainable = False
    assert model.summary().splitlines() == [
        "sequential: input shape (8, 8, 1)",
        "Layer                         Output shape  Parameters",
        "------------------------------------------------------",
        "conv2d (Conv2D)               (8, 8, 8)             80",
        "max_pooling2d (MaxPooling2D)  (4, 4, 8)              0",
        "flatten (Flatten)             (128,)                 0",
        "dropout (Dropout)             (128,)                 0",
        "dense (Dense)                 (16,)              2,064",
        "dense_1 (Dense)               (10,)                170",
        "2,314 parameters, 80 of them frozen",
    ]
    shared = fl.Dense(3)
    assert fl.Sequential([shared, shared], input_shape=(3,)).summary().endswith("\n12 parameters")
    with pytest.raises(RuntimeError, match="sequential is not built yet"):
        fl.Sequential([fl.Dense(3)]).summary()


def test_an_error_says_where_in_the_model_it_happened() -> None:
    inner = fl.Sequential([fl.Dense(3), fl.Dense(4, name="last")], name="inner")
    model = fl.Sequential([fl.Flatten(), inner], input_shape=(2, 3))
    for run in (model, model.forward):
        with pytest.raises(ValueError, match=r"dense expects x of shape \(N, …, 6\), got \(5, 8\)") as caught:
            run(np.zeros((5, 2, 4), "f4"))
        shown = "".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
        assert "in dense (Dense, layer 1 of 2 in inner)" in shown
        assert "in inner (Sequential, layer 2 of 2 in sequential)" in shown
        assert "input shape (5, 8) from flatten" in shown
    _y, cache = model.forward(np.zeros((5, 2, 3), "f4"))
    with pytest.raises(ValueError, match=r"last expects dy of shape \(5, 4\), got \(5, 3\)") as caught:
        model.backward(np.zeros((5, 3), "f4"), cache)
    shown = "".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert "in last (Dense, layer 2 of 2 in inner): backward, dy shape (5, 3)" in shown
    with pytest.raises(ValueError, match="no larger than its padded input") as caught:
        fl.Sequential([fl.ReLU(), fl.Conv2D(3, 5)], input_shape=(4, 9, 2))
    shown = "".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert "in conv2d (Conv2D, layer 2 of 2 in sequential): build, input shape (4, 9, 2) from re_lu" in shown


def test_a_note_is_added_without_add_note() -> None:
    class OldError(ValueError):
        add_note = property()  # as if Python were 3.10: hasattr is False

    error = OldError("bad")
    add_note(error, "in dense")
    assert str(error) == "bad\nin dense"
    special = type("Special", (OldError,), {"__str__": lambda self: "mine"})("bad")
    add_note(special, "in dense")
    assert special.args == ("bad",)


def test_a_cache_of_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match="sequential expects the cache of its forward"):
        fl.Sequential([fl.ReLU()]).backward(np.zeros((2, 3), "f4"), [])


class TestTrainingStep:
    def spied(self, model: fl.Sequential, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        calls = spied_ops(monkeypatch)
        x, y = digits(8)
        model.train_step(x, y, LOSS, fl.optimizers.SGD())
        return calls

    def test_never_computes_the_first_dx(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = self.spied(cnn(), monkeypatch)
        assert calls.count("conv2d_backward_weight") == 1
        assert "conv2d_backward_input" not in calls
        assert calls.count("dense_backward_input") == 2

    def test_skips_what_lies_below_the_lowest_layer_that_trains(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = cnn()
        model.layers[0].trainable = False
        calls = self.spied(model, monkeypatch)
        assert not {"conv2d_backward_weight", "max_pool2d_backward"} & set(calls)
        assert calls.count("dense_backward_input") == 1
        assert calls.count("dense_backward_weight") == 2

    def test_goes_nowhere_when_everything_is_frozen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = cnn(trainable=False)
        before = bits(model)
        assert not any("backward" in op or "update" in op for op in self.spied(model, monkeypatch))
        assert bits(model) == before

    def test_returns_loss_and_outputs_before_the_update(self) -> None:
        model, twin = cnn(), cnn()
        x, y = digits(8)
        value, outputs = model.train_step(x, y, LOSS, fl.optimizers.SGD(0.1))
        expected, cache = twin.forward(x, training=True)
        assert np.array_equal(outputs, expected)
        assert value == LOSS(expected, y)[0]
        twin.backward(LOSS(expected, y)[1], cache)
        fl.optimizers.SGD(0.1).step(twin.parameters())
        assert bits(model) == bits(twin)
        assert not any(parameter.grad.any() for parameter in model.parameters())


class TestFit:
    def test_learns_digits(self) -> None:
        training, test = fl.datasets.load_digits()
        model = cnn()
        seen: list[int] = []
        history = model.fit(
            *training,
            loss=LOSS,
            optimizer=fl.optimizers.Adam(0.004),
            epochs=8,
            validation_data=test,
            on_epoch=lambda epoch, logs: seen.append(epoch),
        )
        assert seen == list(range(8))
        assert {name: len(values) for name, values in history.items()} == dict.fromkeys(
            ("loss", "accuracy", "val_loss", "val_accuracy"), 8
        )
        assert history["loss"][-1] < 0.3 * history["loss"][0]
        assert history["val_accuracy"][-1] > 0.93
        assert model.evaluate(*test, LOSS) == {
            "loss": pytest.approx(history["val_loss"][-1], rel=1e-6),
            "accuracy": history["val_accuracy"][-1],
        }

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_gives_the_same_bits_each_time_and_for_any_number_of_threads(self, dtype: str) -> None:
        x, y = digits(100)
        x = x.astype(dtype)

        def trained(threads: int, seed: int = 0) -> tuple[list[bytes], dict[str, list[float]]]:
            model = cnn(dtype=dtype)
            with fl.use(threads=threads):
                history = model.fit(x, y, loss=LOSS, optimizer=fl.optimizers.Adam(), epochs=2, batch_size=30, seed=seed)
            return bits(model), history

        once = trained(1)
        assert trained(1) == once
        assert trained(2) == once
        assert trained(3) == once
        assert trained(1, seed=1) != once

    def test_sees_every_example_once_an_epoch(self) -> None:
        class Watch(fl.Layer, registered_name="tests.Watch"):
            seen: list[float]

            def forward(self, x, training=False):
                self.seen += x[:, 0].tolist()
                return x, None

            def backward(self, dy, cache):
                return dy

            def compute_output_shape(self, input_shape):
                return input_shape

        watch = Watch()
        watch.seen = []
        x = np.arange(10, dtype="f4")[:, None]
        options = {"loss": fl.losses.MeanSquaredError(), "optimizer": fl.optimizers.SGD(0.0)}
        model = fl.Sequential([watch])
        model.fit(x, x, epochs=2, batch_size=4, **options)
        assert sorted(watch.seen[:10]) == sorted(watch.seen[10:]) == list(range(10))
        assert watch.seen[:10] != watch.seen[10:] != list(range(10))
        watch.seen.clear()
        history = model.fit(x, x + 1, batch_size=4, shuffle=False, **options)
        assert watch.seen == list(range(10))
        assert history == {"loss": [1.0]}

    def test_weighs_the_last_batch_by_its_size(self) -> None:
        x, y = np.zeros((5, 1), "f4"), np.float32([[1], [1], [1], [1], [3]])
        model = fl.Sequential([fl.ReLU()])
        loss = fl.losses.MeanSquaredError()
        assert model.evaluate(x, y, loss, batch_size=4) == {"loss": pytest.approx(13 / 5)}

    def test_stops_when_told_to(self) -> None:
        x, y = digits(20)
        options = {"loss": LOSS, "optimizer": fl.optimizers.SGD(), "epochs": 5}
        history = cnn().fit(x, y, on_epoch=lambda epoch, logs: epoch < 1, **options)
        assert len(history["loss"]) == 2

    def test_takes_a_plain_function_as_loss(self) -> None:
        x = np.ones((4, 3), "f4")
        model = fl.Sequential([fl.Dense(1)])
        options = {"optimizer": fl.optimizers.SGD(), "epochs": 2}
        history = model.fit(x, x, loss=lambda y, t: (float(y.sum()), np.ones_like(y)), **options)
        assert list(history) == ["loss"]
        assert history["loss"][1] < history["loss"][0]

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"y": np.zeros(3)}, ValueError, "x and y with the same number of examples"),
            ({"x": np.zeros((0, 8, 8, 1), "f4"), "y": []}, ValueError, "at least one"),
            ({"x": [[1.0]]}, TypeError, "x to be a NumPy array, got list"),
            ({"epochs": 0}, ValueError, "epochs to be a positive int, got 0"),
            ({"batch_size": 2.0}, TypeError, "batch_size to be a positive int, got 2.0"),
            ({"loss": "mse"}, TypeError, "expected a loss such as"),
            ({"optimizer": "adam"}, TypeError, "expected an optimizer such as"),
            ({"shuffle": "batch"}, TypeError, "shuffle to be True or False"),
        ],
    )
    def test_refuses_what_makes_no_sense(self, change: dict, error: type, message: str) -> None:
        x, y = digits(4)
        options: dict[str, Any] = {"x": x, "y": y, "loss": LOSS, "optimizer": fl.optimizers.SGD(), **change}
        with pytest.raises(error, match=message):
            cnn().fit(**options)


@pytest.mark.parametrize("batch_size", [1, 7, 20, 1000])
def test_predict_is_inference_in_batches(batch_size: int) -> None:
    model, (x, _) = cnn(), digits(20)
    np.testing.assert_allclose(model.predict(x, batch_size), model(x), rtol=1e-5, atol=1e-6)
    assert model.predict(x[:0], batch_size).shape == (0, 10)


def test_an_empty_model_is_the_identity() -> None:
    x = np.ones((2, 3), "f4")
    model = fl.Sequential([])
    y, cache = model.forward(x)
    assert y is x
    assert model.backward(x, cache) is x
    assert model.compute_output_shape((3,)) == (3,)


class TestConfiguration:
    def test_a_model_comes_back(self) -> None:
        shared = fl.Dense(4, "relu")
        model = fl.Sequential(
            (layer for layer in [shared, fl.Sequential([fl.Dense(4)], name="inner"), shared]),
            input_shape=(4,),
            seed=3,
            name="net",
            dtype="float64",
        )
        again = deserialize(json.loads(json.dumps(serialize(model))))
        assert again.layers[0] is again.layers[2]
        assert (again.name, again.dtype, again.built) == ("net", "float64", True)
        assert list(again.named_parameters()) == list(model.named_parameters())
        again.layers[0].kernel.value = model.layers[0].kernel.value
        assert np.array_equal(again.layers[2].kernel.value, model.layers[2].kernel.value)
        assert again.get_config() == model.get_config()

    def test_a_subclass_keeps_its_own_arguments(self) -> None:
        class Net(fl.Sequential, registered_name="tests.Net"):
            def __init__(self, width, depth=2, **options):
                super().__init__([fl.Dense(width) for _ in range(depth)], **options)

        net = Net(3, name="n")
        net(np.zeros((1, 2), "f4"))
        assert net.get_config() == {"width": 3, "depth": 2, "name": "n"}
        again = deserialize(serialize(net))
        assert (len(again.layers), again.name) == (2, "n")

    def test_a_model_that_was_built_on_use_is_built_when_it_comes_back(self) -> None:
        model = fl.Sequential([fl.Dense(4)])
        model(np.zeros((1, 3), "f4"))
        assert deserialize(serialize(model)).layers[0].kernel.shape == (3, 4)


def test_backward_of_the_whole_model_is_its_numeric_gradient() -> None:
    model = cnn(dtype="float64")
    x, y = digits(5)
    x = x.astype("float64") + np.random.default_rng(0).normal(size=x.shape) * 0.1
    outputs, cache = model.forward(x, training=False)
    dx = model.backward(LOSS(outputs, y)[1], cache)
    v, h = np.random.default_rng(1).normal(size=x.shape), 1e-6
    numeric = (LOSS(model(x + h * v), y)[0] - LOSS(model(x - h * v), y)[0]) / (2 * h)
    assert (dx * v).sum() == pytest.approx(numeric, rel=1e-6)
