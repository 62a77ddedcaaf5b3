"""Layers as users write them, of every kind, and all of them right: `check_layer` has nothing to say against them."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from custom_layers import Branches, Scale

import fastlayers as fl

# id -> layer, input shape, options of check_layer
SOUND: dict[str, tuple[Callable[[], fl.Layer], Any, dict[str, Any]]] = {
    "scale": (Scale, (5, 5, 3), {}),
    "branches": (lambda: Branches(4), (3,), {}),
}


def sound(name: str, shape: Any, *arguments: Any, **options: Any) -> Callable[[type[fl.Layer]], type[fl.Layer]]:
    """Enter a layer class in `SOUND`."""

    def enter(cls: type[fl.Layer]) -> type[fl.Layer]:
        SOUND[name] = lambda: cls(*arguments), shape, options
        return cls

    return enter


class SameShape(fl.Layer, registered_name="tests.SameShape"):
    def compute_output_shape(self, input_shape):
        return input_shape


@sound("sum of two", ((4, 3), (4, 3)))
class Sum(fl.Layer, registered_name="tests.Sum"):
    """y = a + b"""

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def forward(self, x, training=False):
        a, b = x
        return a + b, None

    def backward(self, dy, cache):
        return dy, dy


@sound("bilinear", ((4,), (3,)))
class Bilinear(fl.Layer, registered_name="tests.Bilinear"):
    """y_k = Σ_ij a_i W_ijk b_j"""

    def build(self, input_shape):
        (i,), (j,) = input_shape
        self.kernel = self.add_weight("kernel", (i, j, 5))

    def compute_output_shape(self, input_shape):
        return (5,)

    def forward(self, x, training=False):
        a, b = x
        return np.einsum("ni,ijk,nj->nk", a, self.kernel.value, b), x

    def backward(self, dy, cache):
        a, b = cache
        self.kernel.grad += np.einsum("ni,nk,nj->ijk", a, dy, b)
        da = np.einsum("nk,ijk,nj->ni", dy, self.kernel.value, b)
        return da, np.einsum("nk,ijk,ni->nj", dy, self.kernel.value, a)


@sound("split", (6,))
class Split(fl.Layer, registered_name="tests.Split"):
    """x -> its halves, one of them squared"""

    def compute_output_shape(self, input_shape):
        return (input_shape[0] // 2,), (input_shape[0] // 2,)

    def forward(self, x, training=False):
        a, b = np.split(x, 2, axis=1)
        return (a.copy(), b * b), b

    def backward(self, dy, cache):
        da, db = dy
        return np.concatenate([da, 2 * cache * db], axis=1)


@sound("batch normalisation", (4, 3))
class BatchNorm(SameShape, registered_name="tests.BatchNorm"):
    """y = gamma · (x - mean) / √(variance + eps) + beta      over all axes but the last"""

    def build(self, input_shape):
        shape = (input_shape[-1],)
        self.gamma = self.add_weight("gamma", shape, "ones")
        self.beta = self.add_weight("beta", shape, "zeros")
        self.mean = self.add_weight("mean", shape, "zeros", trainable=False)
        self.variance = self.add_weight("variance", shape, "ones", trainable=False)

    def forward(self, x, training=False):
        axes = tuple(range(x.ndim - 1))
        mean, variance = self.mean.value.copy(), self.variance.value.copy()
        training = training and x.size > 0
        if training:
            mean, variance = x.mean(axes), x.var(axes)
            self.mean.value += 0.1 * (mean - self.mean.value)
            self.variance.value += 0.1 * (variance - self.variance.value)
        scale = 1 / np.sqrt(variance + 1e-3)
        normal = (x - mean) * scale
        return self.gamma.value * normal + self.beta.value, (normal, scale, axes, training)

    def backward(self, dy, cache):
        normal, scale, axes, training = cache
        self.gamma.grad += (dy * normal).sum(axes)
        self.beta.grad += dy.sum(axes)
        dn = dy * self.gamma.value
        if training:
            dn = dn - dn.mean(axes) - normal * (dn * normal).mean(axes)
        return dn * scale


@sound("layer normalisation", (2, 5))
class LayerNorm(SameShape, registered_name="tests.LayerNorm"):
    def forward(self, x, training=False):
        scale = 1 / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        normal = (x - x.mean(-1, keepdims=True)) * scale
        return normal, (normal, scale)

    def backward(self, dy, cache):
        normal, scale = cache
        means = dy.mean(-1, keepdims=True) + normal * (dy * normal).mean(-1, keepdims=True)
        return (dy - means) * scale


@sound("prelu", (4, 3))
class PReLU(SameShape, registered_name="tests.PReLU"):
    """y = max(x, 0) + alpha · min(x, 0)"""

    def build(self, input_shape):
        self.alpha = self.add_weight("alpha", (input_shape[-1],), "zeros")

    def forward(self, x, training=False):
        return np.where(x > 0, x, self.alpha.value * x), x

    def backward(self, dy, cache):
        self.alpha.grad += np.where(cache > 0, 0, dy * cache).sum(axis=(0, 1))
        return np.where(cache > 0, dy, self.alpha.value * dy)


@sound("one slope for all", (4, 3))
class SharedSlope(PReLU, registered_name="tests.SharedSlope"):
    def build(self, input_shape):
        self.alpha = self.add_weight("alpha", (), "zeros")

    def backward(self, dy, cache):
        self.alpha.grad[...] += np.where(cache > 0, 0, dy * cache).sum()
        return np.where(cache > 0, dy, self.alpha.value * dy)


@sound("noise", (4, 3), 0.5)
class GaussianNoise(SameShape, registered_name="tests.GaussianNoise"):
    """y = x · (1 + noise) in training"""

    def __init__(self, stddev, seed=None, **options):
        super().__init__(**options)
        self.stddev, self.random = stddev, np.random.default_rng(seed)

    def forward(self, x, training=False):
        factor = 1 + self.stddev * self.random.standard_normal(x.shape) if training else np.ones(x.shape)
        factor = factor.astype(x.dtype)
        return x * factor, factor

    def backward(self, dy, cache):
        return dy * cache


class Source:
    """Random numbers of the standard library, in an object of its own."""

    def __init__(self):
        self.generators = {"sign": random.Random(3)}
        self.calls = itertools.count()


@sound("random signs", (4, 3))
class RandomSigns(SameShape, registered_name="tests.RandomSigns"):
    """y = ± x in training"""

    def __init__(self, **options):
        super().__init__(**options)
        self.source = Source()

    def forward(self, x, training=False):
        next(self.source.calls)
        sign = self.source.generators["sign"].choice([-1, 1]) if training else 1
        return x * sign, sign

    def backward(self, dy, cache):
        return dy * cache


@sound("residual", (6, 5, 3))
class Residual(SameShape, registered_name="tests.Residual"):
    """y = x + conv(relu(conv(x)))"""

    def build(self, input_shape):
        c = input_shape[-1]
        self.body = fl.Sequential([fl.Conv2D(2 * c, 3, 1, "same", activation="relu"), fl.Conv2D(c, (1, 2), 1, "same")])
        self.body.build(input_shape)

    def forward(self, x, training=False):
        y, cache = self.body.forward(x, training)
        return x + y, cache

    def backward(self, dy, cache):
        return dy + self.body.backward(dy, cache)


@sound("same layer twice", (4,))
class Twice(SameShape, registered_name="tests.UsedTwice"):
    def __init__(self, **options):
        super().__init__(**options)
        self.inner = fl.Dense(4, "tanh")

    def forward(self, x, training=False):
        h, first = self.inner.forward(x, training)
        y, second = self.inner.forward(h, training)
        return y, (first, second)

    def backward(self, dy, cache):
        return self.inner.backward(self.inner.backward(dy, cache[1]), cache[0])


@sound("extended dense", (4,), 3, "gelu")
class Doubled(fl.Dense, registered_name="tests.Doubled"):
    def infer(self, x):
        return 2 * super().infer(x)

    def forward(self, x, training=False):
        y, cache = super().forward(x, training)
        return 2 * y, cache

    def backward(self, dy, cache):
        return super().backward(2 * dy, cache)

    def backward_parameters(self, dy, cache):
        super().backward_parameters(2 * dy, cache)


@sound("extended without shortcuts", (4,), 3, "tanh")
class Tripled(fl.Dense, registered_name="tests.Tripled"):
    def forward(self, x, training=False):
        y, cache = super().forward(x, training)
        return 3 * y, cache

    def backward(self, dy, cache):
        return super().backward(3 * dy, cache)


@sound("a lock inside", (4,))
class Locked(SameShape, registered_name="tests.Locked"):
    """Cannot be copied whole."""

    def __init__(self, **options):
        super().__init__(**options)
        self.lock = threading.Lock()
        self.parts = [Scale()]

    def forward(self, x, training=False):
        with self.lock:
            return self.parts[0].forward(x, training)

    def backward(self, dy, cache):
        return self.parts[0].backward(dy, cache)


def positive(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    return rng.uniform(0.5, 2, shape).astype(dtype)


def whole_numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    return rng.integers(0, 6, shape).astype(dtype)


@sound("logarithm", (4,), inputs=positive)
class Logarithm(SameShape, registered_name="tests.Logarithm"):
    def forward(self, x, training=False):
        return np.log(x), x

    def backward(self, dy, cache):
        return dy / cache


@sound("embedding", (4,), inputs=whole_numbers)
class Embedding(fl.Layer, registered_name="tests.Embedding"):
    """y = table[x]      x (N, T), whole numbers -> y (N, T, 3)"""

    def build(self, input_shape):
        self.table = self.add_weight("table", (6, 3))

    def compute_output_shape(self, input_shape):
        return (*input_shape, 3)

    def forward(self, x, training=False):
        index = x.astype(np.int64)
        if (index != x).any():
            raise ValueError("whole numbers only")
        return self.table.value[index], index

    def backward(self, dy, cache):
        np.add.at(self.table.grad, cache, dy)
        return np.zeros(cache.shape, dy.dtype)


@sound("largest of whole numbers", (7,), inputs=whole_numbers)
class Largest(fl.Layer, registered_name="tests.Largest"):
    """y = max over the axis; its ties are kinks"""

    def compute_output_shape(self, input_shape):
        return (1,)

    def forward(self, x, training=False):
        return x.max(axis=1, keepdims=True), (x.argmax(axis=1)[:, None], x.shape)

    def backward(self, dy, cache):
        index, shape = cache
        dx = np.zeros(shape, dy.dtype)
        np.put_along_axis(dx, index, dy, axis=1)
        return dx


@sound("fixed point", (3,), tolerance=1e-5)
class FixedPoint(SameShape, registered_name="tests.FixedPoint"):
    """y = tanh(y · W / 4 + x), solved by iteration; backward solves for the gradient"""

    def build(self, input_shape):
        n = input_shape[-1]
        self.kernel = self.add_weight("kernel", (n, n))

    def forward(self, x, training=False):
        y = np.zeros_like(x)
        limit = 16 * np.finfo(x.dtype).eps
        for _ in range(200):
            y, before = np.tanh(y @ self.kernel.value / 4 + x), y
            if abs(y - before).max(initial=0) < limit:
                break
        return y, y

    def backward(self, dy, cache):
        slope = 1 - cache**2
        dz = dy * slope
        for _ in range(60):
            dz = (dy + dz @ self.kernel.value.T / 4) * slope
        self.kernel.grad += cache.T @ dz / 4
        return dz


def indices_and_numbers(rng: np.random.Generator, shape: Any, dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
    return rng.integers(0, 6, shape[0]), rng.standard_normal(shape[1]).astype(dtype)


@sound("integers and floats", ((4,), (4, 3)), inputs=indices_and_numbers)
class Lookup(fl.Layer, registered_name="tests.Lookup"):
    """y = table[x₁] · x₂      x₁ (N, T) integers, x₂ (N, T, 3) -> y (N, T, 3)"""

    def build(self, input_shape):
        self.table = self.add_weight("table", (6, 3))

    def compute_output_shape(self, input_shape):
        return input_shape[1]

    def check_input(self, x):
        return x[0], super().check_input(x[1:])[0]

    def forward(self, x, training=False):
        index, factor = x
        return self.table.value[index] * factor, x

    def backward(self, dy, cache):
        index, factor = cache
        np.add.at(self.table.grad, index, dy * factor)
        return None, self.table.value[index] * dy


@sound("integers only", (4,), inputs=lambda rng, shape, dtype: rng.integers(0, 6, shape))
class Table(Embedding, registered_name="tests.Table"):
    def check_input(self, x):
        return x

    def backward(self, dy, cache):
        super().backward(dy, cache)


SOUND["digits"] = (
    lambda: fl.Sequential(
        [
            fl.Conv2D(8, 3, padding="same", activation="relu"),
            fl.MaxPooling2D(2),
            Scale(),
            fl.Flatten(),
            fl.Dropout(0.3),
            fl.Dense(10),
        ],
        input_shape=(8, 8, 1),
        seed=0,
    ),
    None,
    {},
)
SOUND["normalised after a bias"] = (
    lambda: fl.Sequential([fl.Dense(5), BatchNorm(), fl.ReLU(), fl.Dense(3, "softmax")], input_shape=(4,)),
    None,
    {},
)
SOUND["built and frozen"] = (lambda: frozen(fl.Dense(3), (4,)), None, {})


def frozen(layer: fl.Layer, shape: tuple[int, ...]) -> fl.Layer:
    layer.build(shape)
    layer.trainable = False
    return layer


def two_branches() -> fl.Layer:
    a, b = fl.Input((4,)), fl.Input((4,))
    shared = fl.Dense(3, "tanh")
    left, right = shared(a), shared(b)
    return fl.Model((a, b), (fl.Concatenate()((left, right)), fl.Multiply()((left, right))), seed=0)


SOUND["graph"] = (two_branches, None, {})
