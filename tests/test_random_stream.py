"""Random numbers in forward: from a seed or from the model, and never the same ones in two threads."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastlayers as fl


class Noise(fl.Layer, registered_name="tests.NoiseFromAStream"):
    """y = x + noise in training"""

    def __init__(self, seed=None, **options):
        super().__init__(**options)
        self.seed = seed

    def build(self, input_shape):
        self.random = self.add_random_stream(self.seed)

    def compute_output_shape(self, input_shape):
        return input_shape

    def forward(self, x, training=False):
        noise = self.random.generator().normal(size=x.shape) if training else np.zeros(x.shape)
        return x + noise.astype(x.dtype), None

    def backward(self, dy, cache):
        return dy


X = np.zeros((4, 3), "f4")


def draw(layer: fl.Layer) -> np.ndarray:
    return layer.forward(X, training=True)[0]


def test_the_layer_keeps_its_contract() -> None:
    report = fl.check_layer(Noise(), (4, 3))
    assert {row.check: row.note for row in report.rows}["repeat"] == "random in training: calls change random.calls"


def test_each_call_draws_anew_and_a_seed_repeats_all() -> None:
    one, two, other = Noise(seed=7), Noise(seed=7), Noise(seed=8)
    first, second = draw(one), draw(one)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, draw(two))
    assert np.array_equal(second, draw(two))
    assert not np.array_equal(first, draw(other))
    assert not np.array_equal(draw(Noise()), draw(Noise()))


def test_numbers_are_normal_and_calls_independent() -> None:
    stream = fl.RandomStream(3)
    draws = np.stack([stream.generator().normal(size=20_000) for _ in range(8)])
    correlations = np.corrcoef(draws) - np.eye(8)
    assert abs(draws.mean(axis=1)).max() < 4 / np.sqrt(20_000)
    assert abs(correlations).max() < 5 / np.sqrt(20_000)


def test_inference_draws_nothing() -> None:
    layer = Noise(seed=1)
    layer(X)
    assert layer.random.calls == 0


def test_the_seed_of_a_model_decides_with_the_place_of_the_layer() -> None:
    def draws(seed: int) -> list[np.ndarray]:
        return [draw(layer) for layer in fl.Sequential([Noise(), Noise()], input_shape=(3,), seed=seed).layers]

    assert np.array_equal(draws(1), draws(1))
    assert not np.array_equal(draws(1), draws(2))
    assert not np.array_equal(*draws(1))


def test_threads_share_no_draw() -> None:
    layer = Noise(seed=5)
    layer.build((3,))
    with ThreadPoolExecutor(8) as pool:
        together = {y.tobytes() for y in pool.map(lambda _: draw(layer), range(400))}
    again = Noise(seed=5)
    assert together == {draw(again).tobytes() for _ in range(400)}
    assert len(together) == 400


def test_a_copy_goes_on_from_the_same_place() -> None:
    layer = Noise(seed=5)
    draw(layer)
    twin = copy.deepcopy(layer)
    assert np.array_equal(draw(layer), draw(twin))


def test_nothing_of_it_is_saved_with_the_weights(tmp_path) -> None:
    model = fl.Sequential([fl.Dense(3), Noise()], input_shape=(3,), seed=1)
    first = draw(model)
    fl.save(model, tmp_path / "m.safetensors")
    assert list(model.named_parameters()) == ["dense/kernel", "dense/bias"]
    assert np.array_equal(draw(fl.load(tmp_path / "m.safetensors")), first)


@pytest.mark.parametrize(
    ("seed", "error", "message"),
    [(1.5, TypeError, "noise expects seed to be an int"), (-1, ValueError, "seed in 0 … 2⁶⁴ - 1, got -1")],
)
def test_bad_seeds(seed: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Noise(seed).build((3,))


def test_streams_are_made_in_build() -> None:
    layer = Noise()
    with pytest.raises(RuntimeError, match=r"noise: add_random_stream\(…\) belongs in build"):
        layer.add_random_stream()
