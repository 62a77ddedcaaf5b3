"""Losses against their formulas and finite differences; optimizers against the formulas of Keras 3."""

from __future__ import annotations

import gc
import json
import math
from typing import Any

import numpy as np
import pytest

import fastlayers as fl
from fastlayers import losses, optimizers
from fastlayers.registry import deserialize, serialize

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes)[labels]


def categorical(p: np.ndarray, t: np.ndarray) -> np.ndarray:
    return -(t * np.log(p)).sum(axis=-1)


def binary(p: np.ndarray, t: np.ndarray) -> np.ndarray:
    return -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean(axis=-1)


RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(3, 4, 5))
LABELS = RNG.integers(0, 5, (3, 4))
SOFT = softmax(RNG.normal(size=(3, 4, 5)))
BITS = RNG.integers(0, 2, (3, 4, 5)).astype("f8")

# id -> loss with a reduction, predictions, targets, the loss of each position
CASES: dict[str, tuple[Any, np.ndarray, np.ndarray, np.ndarray]] = {
    "sparse logits": (
        lambda r: losses.SparseCategoricalCrossentropy(from_logits=True, reduction=r),
        LOGITS,
        LABELS,
        categorical(softmax(LOGITS), one_hot(LABELS, 5)),
    ),
    "sparse": (
        lambda r: losses.SparseCategoricalCrossentropy(reduction=r),
        softmax(LOGITS),
        LABELS,
        categorical(softmax(LOGITS), one_hot(LABELS, 5)),
    ),
    "categorical logits": (
        lambda r: losses.CategoricalCrossentropy(True, reduction=r),
        LOGITS,
        SOFT,
        categorical(softmax(LOGITS), SOFT),
    ),
    "categorical smoothed": (
        lambda r: losses.CategoricalCrossentropy(label_smoothing=0.3, reduction=r),
        softmax(LOGITS),
        one_hot(LABELS, 5),
        categorical(softmax(LOGITS), one_hot(LABELS, 5) * 0.7 + 0.3 / 5),
    ),
    "binary logits": (
        lambda r: losses.BinaryCrossentropy(True, reduction=r),
        LOGITS,
        BITS,
        binary(sigmoid(LOGITS), BITS),
    ),
    "binary smoothed": (
        lambda r: losses.BinaryCrossentropy(label_smoothing=0.2, reduction=r),
        sigmoid(LOGITS),
        BITS,
        binary(sigmoid(LOGITS), BITS * 0.8 + 0.1),
    ),
    "squared": (
        lambda r: losses.MeanSquaredError(reduction=r),
        LOGITS,
        SOFT,
        ((LOGITS - SOFT) ** 2).mean(axis=-1),
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
@DTYPES
def test_values_and_gradients(case: str, reduction: str, dtype: str) -> None:
    make, predictions, targets, positions = CASES[case]
    loss, y = make(reduction), predictions.astype(dtype)
    value, gradient = loss(y, targets)
    expected = positions.sum() if reduction == "sum" else positions.mean()
    assert isinstance(value, float)
    assert value == pytest.approx(expected, rel=1e-5 if dtype == "float32" else 1e-12)
    assert (gradient.shape, gradient.dtype) == (y.shape, np.dtype(dtype))
    if dtype == "float64":
        v, h = np.random.default_rng(1).normal(size=y.shape), 1e-7
        numeric = (loss(y + h * v, targets)[0] - loss(y - h * v, targets)[0]) / (2 * h)
        assert (gradient * v).sum() == pytest.approx(numeric, rel=1e-5)


def test_targets_may_have_any_number_type() -> None:
    y = np.random.default_rng(0).normal(size=(6, 3)).astype("f4")
    labels = np.array([0, 1, 2, 2, 1, 0])
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    expected = loss(y, labels)
    for dtype in ("i1", "u8", ">i4", "f4", "f8"):
        value, gradient = loss(y, labels.astype(dtype))
        assert value == expected[0]
        assert np.array_equal(gradient, expected[1])
    assert loss(y, labels.tolist())[0] == expected[0]
    assert loss(y, np.repeat(labels, 2)[::2])[0] == expected[0]
    squared = losses.MeanSquaredError()
    assert squared(y, np.ones((6, 3), int))[0] == squared(y, np.ones((6, 3), "f4"))[0]
    assert losses.BinaryCrossentropy(True)(y, np.ones((6, 3), bool))[0] > 0


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 3, 1], r"labels to be in 0 … 2, got 3 at index 1"),
        ([0, 1, -1], r"labels to be in 0 … 2, got -1 at index 2"),
        ([0, 1.5, 1], r"labels to be whole numbers, got 1.5 at index 1"),
        ([np.nan, 1, 1], r"labels to be whole numbers, got nan at index 0"),
        ([1, np.inf, 1], r"labels to be in 0 … 2, got inf at index 1"),
        ([[0], [1], [2]], r"labels of shape \(3,\), got \(3, 1\)"),
        (np.eye(3), r"labels of shape \(3,\), got \(3, 3\): for one-hot targets use CategoricalCrossentropy"),
        (["a", "b", "c"], "labels to be whole numbers, got dtype <U1"),
    ],
)
def test_bad_labels_are_named(labels: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=f"sparse_categorical_crossentropy expects {message}"):
        losses.SparseCategoricalCrossentropy()(np.full((3, 3), 1 / 3), labels)


def test_a_bad_label_of_many_axes_is_named_by_all_its_indices() -> None:
    with pytest.raises(ValueError, match=r"got 9 at index \(1, 0\)"):
        losses.SparseCategoricalCrossentropy()(np.full((2, 2, 3), 1 / 3), [[0, 1], [9, 2]])


@pytest.mark.parametrize(
    "loss", [losses.MeanSquaredError(), losses.BinaryCrossentropy(), losses.CategoricalCrossentropy()]
)
def test_predictions_and_targets_have_one_shape(loss: Any) -> None:
    with pytest.raises(ValueError, match=r"expects targets of shape \(3, 1\), got \(3,\)"):
        loss(np.ones((3, 1)), np.ones(3))
    with pytest.raises(TypeError, match="targets to be numbers"):
        loss(np.ones((3, 1)), np.full((3, 1), "a"))
    with pytest.raises(TypeError, match="its first argument, of dtype float32 or float64, got int64"):
        loss(np.ones((3, 1), int), np.ones((3, 1)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: losses.MeanSquaredError("mean"),
            "reduction to be one of sum_over_batch_size, sum, got 'mean'",
        ),
        (
            lambda: losses.BinaryCrossentropy(label_smoothing=1.0),
            r"label_smoothing to be a number in \[0, 1\)",
        ),
        (lambda: losses.CategoricalCrossentropy(from_logits="yes"), "from_logits to be True or False"),
    ],
)
def test_bad_arguments_of_losses(make: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize("y_pred", [np.arange(3), np.array([True, False, True])])
def test_labels_in_the_place_of_predictions_are_refused(y_pred: np.ndarray) -> None:
    message = "expects y_pred, its first argument, of dtype float32 or float64, got (int64|bool)"
    with pytest.raises(TypeError, match=message):
        losses.SparseCategoricalCrossentropy()(y_pred, np.full((3, 3), 1 / 3))


def test_an_empty_batch_costs_nothing() -> None:
    value, gradient = losses.SparseCategoricalCrossentropy()(np.ones((0, 3), "f4"), np.zeros(0, int))
    assert (value, gradient.shape) == (0.0, (0, 3))


def test_accuracy_is_known_where_there_is_right_and_wrong() -> None:
    y = np.float32([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    assert losses.SparseCategoricalCrossentropy().correct(y, [0, 0, 0]).tolist() == [True, False, True]
    assert losses.CategoricalCrossentropy().correct(y, np.eye(2)[[0, 1, 1]]).tolist() == [True, True, False]
    assert losses.BinaryCrossentropy().correct(y[:, :1], np.ones((3, 1))).tolist() == [
        [True],
        [False],
        [True],
    ]
    assert losses.BinaryCrossentropy(True).correct(y[:1] - 0.5, [[1, 1]]).tolist() == [[True, False]]
    assert losses.MeanSquaredError().correct(y, y) is None


# Optimizers


def keras_sgd(w, g, s, t, *, learning_rate=0.01, momentum=0.0, nesterov=False, weight_decay=None):
    w = w - w * (weight_decay or 0.0) * learning_rate
    if not momentum:
        return w - learning_rate * g
    s["m"] = momentum * s.get("m", 0.0) - learning_rate * g
    return w + (momentum * s["m"] - learning_rate * g if nesterov else s["m"])


def keras_adam(w, g, s, t, *, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, weight_decay=None):
    w = w - w * (weight_decay or 0.0) * learning_rate
    alpha = learning_rate * math.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    s["m"] = s.get("m", 0.0) + (g - s.get("m", 0.0)) * (1 - beta_1)
    s["v"] = s.get("v", 0.0) + (g * g - s.get("v", 0.0)) * (1 - beta_2)
    return w - alpha * s["m"] / (np.sqrt(s["v"]) + epsilon)


RULES: list[tuple[type, Any, dict[str, Any]]] = [
    (optimizers.SGD, keras_sgd, {}),
    (optimizers.SGD, keras_sgd, {"learning_rate": 0.1, "momentum": 0.9}),
    (optimizers.SGD, keras_sgd, {"momentum": 0.5, "nesterov": True, "weight_decay": 0.3}),
    (optimizers.Adam, keras_adam, {}),
    (
        optimizers.Adam,
        keras_adam,
        {"learning_rate": 0.1, "beta_1": 0.0, "epsilon": 1e-3, "weight_decay": 0.5},
    ),
    (optimizers.AdamW, keras_adam, {"learning_rate": 0.02, "weight_decay": 0.004}),
]


@pytest.mark.parametrize(("optimizer", "rule", "options"), RULES)
@DTYPES
def test_steps_are_those_of_keras(optimizer: Any, rule: Any, options: dict[str, Any], dtype: str) -> None:
    rng = np.random.default_rng(0)
    parameters = [fl.Parameter("w", rng.normal(size=shape).astype(dtype)) for shape in ((3, 5), (2,), (0, 4), ())]
    expected = [p.value.astype("f8") for p in parameters]
    states: list[dict[str, Any]] = [{} for _ in parameters]
    made = optimizer(**options)
    for t in range(1, 5):
        for i, parameter in enumerate(parameters):
            g = rng.normal(size=parameter.shape)
            parameter.grad = g
            expected[i] = rule(expected[i], g, states[i], t, **options)
        made.step(parameters)
    for parameter, value in zip(parameters, expected, strict=True):
        tolerance = 2e-6 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(parameter.value, value, rtol=tolerance, atol=tolerance)
        assert parameter.dtype == np.dtype(dtype)
        assert not parameter.grad.any()


def test_defaults_are_those_of_keras() -> None:
    assert optimizers.SGD().get_config() == {
        **{"learning_rate": 0.01, "momentum": 0.0, "nesterov": False, "weight_decay": None, "name": None}
    }
    adam = {
        "learning_rate": 0.001,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-7,
        "weight_decay": None,
        "name": None,
    }
    assert optimizers.Adam().get_config() == adam
    assert optimizers.AdamW().get_config() == {**adam, "weight_decay": 0.004}


class TestStep:
    def parameter(self, trainable: bool = True) -> fl.Parameter:
        p = fl.Parameter("w", np.ones(3, "f4"), trainable)
        p.grad += 1
        return p

    def test_keeps_gradients_when_told_to(self) -> None:
        p = self.parameter()
        optimizers.SGD(0.5).step([p], clear_gradients=False)
        assert p.grad.tolist() == [1, 1, 1]
        assert p.value.tolist() == [0.5, 0.5, 0.5]

    def test_leaves_frozen_weights_alone(self) -> None:
        p = self.parameter(trainable=False)
        optimizers.AdamW(0.5).step([p])
        assert p.value.tolist() == [1, 1, 1]
        assert not p.grad.any()

    def test_updates_a_weight_given_twice_once(self) -> None:
        p = self.parameter()
        optimizers.SGD(0.5).step([p, p])
        assert p.value.tolist() == [0.5, 0.5, 0.5]

    def test_treats_no_gradient_as_zero(self) -> None:
        seen, unseen = fl.Parameter("w", np.ones(3, "f4")), fl.Parameter("w", np.ones(3, "f4"))
        assert not seen.grad.any()
        optimizer = optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1)
        for _ in range(3):
            optimizer.step([seen, unseen])
        assert np.array_equal(seen.value, unseen.value)
        assert np.allclose(seen.value, 0.99**3)

    def test_counts_steps_for_each_weight(self) -> None:
        late, early = self.parameter(), self.parameter()
        optimizer, fresh = optimizers.Adam(0.1), optimizers.Adam(0.1)
        for _ in range(3):
            optimizer.step([early])
        optimizer.step([late])
        p = self.parameter()
        fresh.step([p])
        assert np.array_equal(late.value, p.value)

    def test_forgets_weights_that_are_gone(self) -> None:
        optimizer, p = optimizers.Adam(), self.parameter()
        optimizer.step([p])
        assert len(optimizer._slots) == 1
        del p
        gc.collect()
        assert len(optimizer._slots) == 0

    @pytest.mark.parametrize("make", [lambda: optimizers.SGD(0.5, momentum=0.5), lambda: optimizers.Adam(0.5)])
    def test_state_follows_a_weight_that_is_converted(self, make: Any) -> None:
        values = []
        for dtype in ("f4", "f8"):
            optimizer, p = make(), self.parameter()
            optimizer.step([p])
            p.convert(np.dtype(dtype))
            p.grad += 3
            optimizer.step([p])
            values.append(p.value)
        assert values[1].dtype == np.float64
        assert np.allclose(*values, rtol=1e-6)

    @pytest.mark.parametrize(("given", "got"), [(fl.Dense(3), "Dense"), ([np.ones(3)], "ndarray"), ("w", "str")])
    def test_takes_parameters_only(self, given: Any, got: str) -> None:
        with pytest.raises(TypeError, match=rf"sgd.step expects parameters, as from model.parameters\(\), got {got}"):
            optimizers.SGD().step(given)

    def test_learning_rate_may_change(self) -> None:
        optimizer, p = optimizers.SGD(0.5), self.parameter()
        optimizer.learning_rate = 0.25
        optimizer.step([p])
        assert p.value.tolist() == [0.75, 0.75, 0.75]
        with pytest.raises(ValueError, match="sgd expects learning_rate to be a finite number >= 0, got -1"):
            optimizer.learning_rate = -1


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("learning_rate", [-0.1, math.nan, math.inf]),
        ("beta_1", [1.0, -0.1, math.nan]),
        ("beta_2", [1.0, 2, math.nan]),
        ("epsilon", [-1e-7, math.nan]),
        ("weight_decay", [-1, math.inf]),
    ],
)
def test_hyper_parameters_out_of_range(name: str, values: list[float]) -> None:
    for value in values:
        with pytest.raises(ValueError, match=f"adam expects {name} to be .*, got {value}"):
            optimizers.Adam(**{name: value})
    for value in ("0.1", True, [0.1], 1j):
        with pytest.raises(TypeError, match=f"adam expects {name} to be"):
            optimizers.Adam(**{name: value})


@pytest.mark.parametrize("value", [1.5, -0.1, math.nan])
def test_momentum_out_of_range(value: float) -> None:
    with pytest.raises(ValueError, match="sgd expects momentum"):
        optimizers.SGD(momentum=value)


def test_losses_and_optimizers_can_be_written_down() -> None:
    for made in (optimizers.SGD(0.1, 0.9, True), losses.CategoricalCrossentropy(True, 0.1, "sum")):
        again = deserialize(json.loads(json.dumps(serialize(made))))
        assert type(again) is type(made)
        assert again.get_config() == made.get_config()


def test_an_optimizer_of_ones_own() -> None:
    class Sign(optimizers.Optimizer, registered_name="tests.Sign"):
        def update(self, parameter, slots):
            slots["n"] = slots.get("n", 0) + 1
            parameter.value -= self.learning_rate * np.sign(parameter.grad) * slots["n"]

    p = fl.Parameter("w", np.zeros(2, "f4"))
    optimizer = Sign(1.0)
    for _ in range(2):
        p.grad += np.float32([2, -3])
        optimizer.step([p])
    assert p.value.tolist() == [-3, 3]
