"""Layers with one mistake each, as people make them; `BROKEN` says what `check_layer` must find in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from custom_layers import Scale

import fastlayers as fl


class Expected(NamedTuple):
    """The layer, its input shape, and the check that fails with the name of the cause."""

    layer: Callable[[], fl.Layer]
    shape: tuple[int, ...]
    check: str
    cause: str


BROKEN: dict[str, Expected] = {}


def broken(shape: tuple[int, ...], check: str, cause: str) -> Callable[[type[fl.Layer]], type[fl.Layer]]:
    """Enter a layer class in `BROKEN`."""

    def enter(cls: type[fl.Layer]) -> type[fl.Layer]:
        BROKEN[cls.__name__] = Expected(getattr(cls, "example", cls), shape, check, cause)
        return cls

    return enter


class Elementwise(fl.Layer, registered_name="tests.Elementwise"):
    """y has the shape of x; to be subclassed"""

    def compute_output_shape(self, input_shape):
        return input_shape

    def forward(self, x, training=False):
        return x, None

    def backward(self, dy, cache):
        return dy


class Affine(fl.Layer, registered_name="tests.Affine"):
    """y = x · W + b      x (N, I), W (I, units) -> y (N, units); right as it stands, to be subclassed"""

    units = 5

    def build(self, input_shape):
        self.kernel = self.add_weight("kernel", (input_shape[-1], self.units))
        self.bias = self.add_weight("bias", self.units, "zeros")

    def compute_output_shape(self, input_shape):
        return (self.units,)

    def forward(self, x, training=False):
        return x @ self.kernel.value + self.bias.value, x

    def backward(self, dy, cache):
        self.kernel.grad += cache.T @ dy
        self.bias.grad += dy.sum(axis=0)
        return dy @ self.kernel.value.T


def add_gamma(self: Any, dy: np.ndarray, x: np.ndarray) -> None:
    self.gamma.grad += (dy * x).reshape(-1, x.shape[-1]).sum(axis=0)


# Factors and signs


@broken((4, 3), "input_gradient", "twice the gradient")
class Twice(Scale, registered_name="tests.Twice2"):
    def backward(self, dy, cache):
        add_gamma(self, dy, cache)
        return 2 * self.gamma.value * dy


@broken((4, 3), "input_gradient", "half the gradient")
class Square(Elementwise, registered_name="tests.Square"):
    """y = x²"""

    def forward(self, x, training=False):
        return x * x, x

    def backward(self, dy, cache):
        return cache * dy


@broken((4,), "input_gradient", "wrong sign")
class Reversed(Elementwise, registered_name="tests.Reversed"):
    """y = 1 - x"""

    def forward(self, x, training=False):
        return 1 - x, None


@broken((4,), "weight_gradients", "wrong sign")
class Centred(fl.Layer, registered_name="tests.Centred"):
    """y = x - c"""

    def build(self, input_shape):
        self.center = self.add_weight("center", input_shape)

    def compute_output_shape(self, input_shape):
        return input_shape

    def forward(self, x, training=False):
        return x - self.center.value, None

    def backward(self, dy, cache):
        self.center.grad += dy.sum(axis=0)
        return dy


@broken((4, 3), "weight_gradients", "mean instead of sum")
class MeanOverBatch(Scale, registered_name="tests.MeanOverBatch"):
    def backward(self, dy, cache):
        self.gamma.grad += (dy * cache).mean(axis=0).sum(axis=0)
        return self.gamma.value * dy


@broken((4, 3), "weight_gradients", "mean instead of sum")
class MeanOverPositions(Scale, registered_name="tests.MeanOverPositions"):
    def backward(self, dy, cache):
        self.gamma.grad += (dy * cache).reshape(-1, 3).mean(axis=0) if len(dy) else 0
        return self.gamma.value * dy


@broken((4, 6, 3), "input_gradient", "sum instead of mean")
class GlobalAverage(fl.Layer, registered_name="tests.GlobalAverage"):
    """y = mean over all pixels"""

    def compute_output_shape(self, input_shape):
        return input_shape[-1:]

    def forward(self, x, training=False):
        return x.mean(axis=(1, 2)), x.shape

    def backward(self, dy, cache):
        return np.broadcast_to(dy[:, None, None, :], cache).copy()


@broken((4,), "input_gradient", "constant factor")
class Degrees(Elementwise, registered_name="tests.Degrees"):
    """y = 57.3·x"""

    def forward(self, x, training=False):
        return 57.3 * x, None


# Sums over axes


@broken((4, 3), "run", "missing sum")
class NoSum(Scale, registered_name="tests.NoSum"):
    def backward(self, dy, cache):
        self.gamma.grad += dy * cache
        return self.gamma.value * dy


@broken((3,), "run", "missing sum")
class NoSumAdded(Scale, registered_name="tests.NoSumAdded"):
    def backward(self, dy, cache):
        self.gamma.add_gradient(dy * cache)
        return self.gamma.value * dy


@broken((4, 3), "weight_gradients", "missing sum")
class LastExampleOnly(Scale, registered_name="tests.LastExampleOnly"):
    def backward(self, dy, cache):
        for gradient in dy * cache:
            total = gradient.sum(axis=0)
        self.gamma.grad += total if len(dy) else 0
        return self.gamma.value * dy


@broken((4, 3), "weight_gradients", "missing sum")
class FirstPositionOnly(Scale, registered_name="tests.FirstPositionOnly"):
    def backward(self, dy, cache):
        self.gamma.grad += (dy * cache)[:, 0].sum(axis=0)
        return self.gamma.value * dy


@broken((4, 3), "weight_gradients", "sum over too many axes")
class TotalSum(Scale, registered_name="tests.TotalSum"):
    def backward(self, dy, cache):
        self.gamma.grad += (dy * cache).sum()
        return self.gamma.value * dy


# Order


@broken((5,), "weight_gradients", "transposed")
class TransposedGradient(Affine, registered_name="tests.TransposedGradient"):
    def backward(self, dy, cache):
        self.kernel.grad += dy.T @ cache
        self.bias.grad += dy.sum(axis=0)
        return dy @ self.kernel.value.T


@broken((5,), "input_gradient", "transposed")
class NotTransposed(Affine, registered_name="tests.NotTransposed"):
    def backward(self, dy, cache):
        super().backward(dy, cache)
        return dy @ self.kernel.value


@broken((4,), "run", "transposed")
class NotTransposedEither(Affine, registered_name="tests.NotTransposedEither"):
    def backward(self, dy, cache):
        super().backward(dy, cache)
        return dy @ self.kernel.value


@broken((4, 3, 2), "input_gradient", "axes in wrong order")
class ToChannelsFirst(fl.Layer, registered_name="tests.ToChannelsFirst"):
    def compute_output_shape(self, input_shape):
        h, w, c = input_shape
        return c, h, w

    def forward(self, x, training=False):
        return x.transpose(0, 3, 1, 2), x.shape

    def backward(self, dy, cache):
        return dy.reshape(cache)


@broken((4, 3), "gradient_shapes", "axes in wrong order")
class Turned(fl.Layer, registered_name="tests.Turned"):
    def compute_output_shape(self, input_shape):
        return input_shape[::-1]

    def forward(self, x, training=False):
        return x.transpose(0, 2, 1), None

    def backward(self, dy, cache):
        return dy


class Convolution(fl.Layer, registered_name="tests.Convolution"):
    """y[n, i] = Σ_j x[n, i + j] · w[j]; right as it stands, to be subclassed"""

    def build(self, input_shape):
        self.taps = self.add_weight("taps", (3,), "ones")

    def compute_output_shape(self, input_shape):
        return (input_shape[0] - 2,)

    def forward(self, x, training=False):
        length = x.shape[1] - 2
        return sum(x[:, j : j + length] * self.taps.value[j] for j in range(3)), x

    def backward(self, dy, cache):
        dx, length = np.zeros_like(cache), dy.shape[1]
        for j in range(3):
            self.taps.grad[j] += (dy * cache[:, j : j + length]).sum()
            dx[:, j : j + length] += dy * self.taps.value[j]
        return dx


@broken((9,), "input_gradient", "flipped")
class FlippedTaps(Convolution, registered_name="tests.FlippedTaps"):
    def backward(self, dy, cache):
        dx = super().backward(dy, cache)
        dx[...] = 0
        for j in range(3):
            dx[:, j : j + dy.shape[1]] += dy * self.taps.value[2 - j]
        return dx


@broken((9,), "weight_gradients", "flipped")
class FlippedGradient(Convolution, registered_name="tests.FlippedGradient"):
    def backward(self, dy, cache):
        dx, length = np.zeros_like(cache), dy.shape[1]
        for j in range(3):
            self.taps.grad[2 - j] += (dy * cache[:, j : j + length]).sum()
            dx[:, j : j + length] += dy * self.taps.value[j]
        return dx


# The chain rule


@broken((4,), "input_gradient", "activation's derivative missing")
class TanhForgotten(Affine, registered_name="tests.TanhForgotten"):
    def forward(self, x, training=False):
        z, cache = super().forward(x, training)
        return np.tanh(z), cache


@broken((4,), "weight_gradients", "activation's derivative missing")
class SoftmaxForgotten(Affine, registered_name="tests.SoftmaxForgotten"):
    def forward(self, x, training=False):
        z, cache = super().forward(x, training)
        return fl.ops.softmax(z), cache


@broken((4,), "weight_gradients", "activation's derivative twice")
class SigmoidTwice(Affine, registered_name="tests.SigmoidTwice"):
    def forward(self, x, training=False):
        z, cache = super().forward(x, training)
        y = 1 / (1 + np.exp(-z))
        return y, (cache, y)

    def backward(self, dy, cache):
        x, y = cache
        return super().backward(dy * (y * (1 - y)) ** 2, x)


@broken((4,), "input_gradient", "derivative missing")
class Sine(Elementwise, registered_name="tests.Sine"):
    def forward(self, x, training=False):
        return np.sin(x), x


@broken((4, 3), "input_gradient", "weight's factor missing")
class GammaForgotten(Scale, registered_name="tests.GammaForgotten"):
    def backward(self, dy, cache):
        add_gamma(self, dy, cache)
        return dy


@broken((4, 3), "weight_gradients", "weight's factor twice")
class GammaTwice(Scale, registered_name="tests.GammaTwice"):
    """y = gamma · (x + beta)"""

    def build(self, input_shape):
        super().build(input_shape)
        self.beta = self.add_weight("beta", (input_shape[-1],), "zeros")

    def forward(self, x, training=False):
        return super().forward(x + self.beta.value, training)

    def backward(self, dy, cache):
        dx = super().backward(dy, cache)
        self.beta.grad += (self.gamma.value * dx).sum(axis=(0, 1))
        return dx


@broken((4,), "input_gradient", "dy ignored")
class NoChain(Elementwise, registered_name="tests.NoChain"):
    def forward(self, x, training=False):
        return x**3, x

    def backward(self, dy, cache):
        return 3 * cache**2


@broken((4,), "weight_gradients", "gradients exchanged")
class Exchanged(fl.Layer, registered_name="tests.Exchanged"):
    """y = a·x + b"""

    def build(self, input_shape):
        self.a = self.add_weight("a", input_shape, "ones")
        self.b = self.add_weight("b", input_shape, "zeros")

    def compute_output_shape(self, input_shape):
        return input_shape

    def forward(self, x, training=False):
        return self.a.value * x + self.b.value, x

    def backward(self, dy, cache):
        self.b.grad += (dy * cache).sum(axis=0)
        self.a.grad += dy.sum(axis=0)
        return self.a.value * dy


@broken((4,), "weight_gradients", "no gradient")
class BiasForgotten(Affine, registered_name="tests.BiasForgotten"):
    def backward(self, dy, cache):
        self.kernel.grad += cache.T @ dy
        return dy @ self.kernel.value.T


@broken((4,), "every_weight", "no gradient")
class KernelForgotten(Affine, registered_name="tests.KernelForgotten"):
    def backward(self, dy, cache):
        self.bias.grad += dy.sum(axis=0)
        return dy @ self.kernel.value.T


@broken((4, 3), "every_weight", "unused weight")
class Unused(Scale, registered_name="tests.Unused"):
    def build(self, input_shape):
        super().build(input_shape)
        self.spare = self.add_weight("spare", (2,))


@broken((4,), "run", "no gradient")
class NothingReturned(Affine, registered_name="tests.NothingReturned"):
    def backward(self, dy, cache):
        super().backward(dy, cache)


@broken((4,), "accumulation", "gradient overwritten")
class Overwritten(Affine, registered_name="tests.Overwritten"):
    def backward(self, dy, cache):
        dx = super().backward(dy, cache)
        self.bias.grad = dy.sum(axis=0)
        return dx


# Shapes and dtypes


@broken((4, 3, 2), "output_shape", "output axes in another order")
class WrongAxes(fl.Layer, registered_name="tests.WrongAxes"):
    def compute_output_shape(self, input_shape):
        h, w, c = input_shape
        return c, w, h

    def forward(self, x, training=False):
        return x.transpose(0, 3, 1, 2), None

    def backward(self, dy, cache):
        return dy.transpose(0, 2, 3, 1)


@broken((4,), "output_shape", "batch axis in output shape")
class WithBatchAxis(Affine, registered_name="tests.WithBatchAxis"):
    def compute_output_shape(self, input_shape):
        return (None, self.units)


@broken((4,), "output_shape", "wrong output shape")
class InputShapeReturned(Affine, registered_name="tests.InputShapeReturned"):
    def compute_output_shape(self, input_shape):
        return input_shape


@broken((4,), "output_shape", "batch size")
class FixedBatch(Elementwise, registered_name="tests.FixedBatch"):
    def forward(self, x, training=False):
        self.ones = getattr(self, "ones", np.ones((len(x), 1), "float32")).astype(x.dtype)
        return x + self.ones, None


@broken((4,), "gradient_shapes", "batch size")
class KnowsItsBatch(Elementwise, registered_name="tests.KnowsItsBatch"):
    def forward(self, x, training=False):
        self.n = getattr(self, "n", len(x))
        return x, None

    def backward(self, dy, cache):
        return dy.reshape(self.n, -1)[: len(dy)]


@broken((4,), "run", "wrong dx")
class DxInTuple(Elementwise, registered_name="tests.DxInTuple"):
    def backward(self, dy, cache):
        return (dy,)


@broken((4, 3), "gradient_shapes", "wrong dx")
class Flattened(Elementwise, registered_name="tests.Flattened"):
    def forward(self, x, training=False):
        return x, x.shape

    def backward(self, dy, cache):
        return dy.reshape(len(dy), 12)


@broken((4,), "dtypes", "float64 leak")
class Leak(Elementwise, registered_name="tests.Leak"):
    def forward(self, x, training=False):
        weights = np.linspace(1, 2, x.shape[-1])
        return x * weights, weights

    def backward(self, dy, cache):
        return dy * cache


@broken((4,), "dtypes", "float32 leak")
class NarrowLeak(Elementwise, registered_name="tests.NarrowLeak"):
    def backward(self, dy, cache):
        return dy.astype("float32")


@broken((4,), "gradient_shapes", "batch of 0")
class NeedsExamples(Elementwise, registered_name="tests.NeedsExamples"):
    def forward(self, x, training=False):
        return x / 2 + x.max(axis=0) * 0, None

    def backward(self, dy, cache):
        return dy / 2


@broken((4,), "gradient_shapes", "batch of 0")
class MeanOfNone(Affine, registered_name="tests.MeanOfNone"):
    def backward(self, dy, cache):
        dx = super().backward(dy, cache)
        self.bias.grad += 0 * dy.mean(axis=0)
        return dx


@broken((4,), "float32", "precision lost")
class Cancelling(Elementwise, registered_name="tests.Cancelling"):
    def forward(self, x, training=False):
        far = x + 100_000
        return far - 100_000, None


@broken((4, 3), "memory_layouts", "memory layout")
class InMemoryOrder(Elementwise, registered_name="tests.InMemoryOrder"):
    def forward(self, x, training=False):
        return x.ravel(order="K").reshape(x.shape) * 2, None

    def backward(self, dy, cache):
        return dy * 2


# What a call leaves behind


@broken((4,), "interleaved_calls", "cache on self")
class CacheOnSelf(Affine, registered_name="tests.CacheOnSelf"):
    def forward(self, x, training=False):
        self.x = x
        return super().forward(x, training)

    def backward(self, dy, cache):
        return super().backward(dy, self.x)


@broken((4,), "threads", "cache on self")
class InputOnSelf(Elementwise, registered_name="tests.InputOnSelf"):
    def forward(self, x, training=False):
        self.x = x
        return x * x, None

    def backward(self, dy, cache):
        return 2 * self.x * dy


@broken((4,), "interleaved_calls", "result overwritten")
class OneBuffer(Elementwise, registered_name="tests.OneBuffer"):
    def forward(self, x, training=False):
        if getattr(self, "buffer", np.empty(0)).shape != x.shape or self.buffer.dtype != x.dtype:
            self.buffer = np.empty_like(x)
        np.multiply(x, 2, out=self.buffer)
        return self.buffer, None

    def backward(self, dy, cache):
        return 2 * dy


@broken((4,), "repeat", "state between calls")
class Smoothed(Elementwise, registered_name="tests.Smoothed"):
    def forward(self, x, training=False):
        self.mean = 0.9 * getattr(self, "mean", 0) + 0.1 * x.mean(dtype=x.dtype) if x.size else 0
        return x - self.mean, None


@broken((40,), "repeat", "random numbers from outside")
class Noise(Elementwise, registered_name="tests.Noise"):
    def forward(self, x, training=False):
        noise = np.random.default_rng().standard_normal(x.shape).astype(x.dtype)
        return x + noise if training else x, None


@broken((4,), "repeat", "state modified in inference")
class NoiseInInference(Elementwise, registered_name="tests.NoiseInInference"):
    def build(self, input_shape):
        self.random = np.random.default_rng(1)

    def forward(self, x, training=False):
        return x + self.random.standard_normal(x.shape).astype(x.dtype), None


@broken((4,), "unchanged", "x modified")
class InPlace(Elementwise, registered_name="tests.InPlace"):
    def forward(self, x, training=False):
        x *= 2
        return x, None

    def backward(self, dy, cache):
        return 2 * dy


@broken((4,), "unchanged", "dy modified")
class InPlaceBackward(Elementwise, registered_name="tests.InPlaceBackward"):
    def forward(self, x, training=False):
        return np.maximum(x, 0), x > 0

    def backward(self, dy, cache):
        dy *= cache
        return dy


@broken((4,), "unchanged", "dy modified")
class KeepsDy(fl.Layer, registered_name="tests.KeepsDy"):
    """y = x + one number for the whole batch; its gradient is a view of dy"""

    def build(self, input_shape):
        self.shift = self.add_weight("shift", (1, *input_shape))

    def compute_output_shape(self, input_shape):
        return input_shape

    def forward(self, x, training=False):
        y = x.copy()
        y[:1] += self.shift.value
        return y, None

    def backward(self, dy, cache):
        if len(dy):
            self.shift.add_gradient(dy[:1])
        return dy.copy()


@broken((4,), "unchanged", "cache modified")
class InPlaceCache(Elementwise, registered_name="tests.InPlaceCache"):
    def forward(self, x, training=False):
        return np.exp(x), np.exp(x)

    def backward(self, dy, cache):
        cache *= dy
        return cache


@broken((4, 3), "unchanged", "weight modified")
class Normalised(Scale, registered_name="tests.Normalised"):
    def forward(self, x, training=False):
        self.gamma.value /= abs(self.gamma.value).max()
        return super().forward(x, training)


class Tracking(Elementwise, registered_name="tests.Tracking"):
    """y = x - the running mean; right as it stands, to be subclassed"""

    def build(self, input_shape):
        self.mean = self.add_weight("mean", input_shape, "zeros", trainable=False)

    def forward(self, x, training=False):
        if training and len(x):
            self.mean.value += 0.1 * (x.mean(axis=0) - self.mean.value)
        return x if training else x - self.mean.value, None


@broken((4,), "unchanged", "state modified in inference")
class TracksAlways(Tracking, registered_name="tests.TracksAlways"):
    def forward(self, x, training=False):
        y = super().forward(x, training)
        if len(x):
            self.mean.value += 0.1 * (x.mean(axis=0) - self.mean.value)
        return y


# Saving and shortcuts


@broken((4,), "weights", "state outside the weights")
class PlainMean(Elementwise, registered_name="tests.PlainMean"):
    def build(self, input_shape):
        self.mean = np.zeros(input_shape, self.dtype)

    def forward(self, x, training=False):
        if training and len(x):
            self.mean = (0.9 * self.mean + 0.1 * x.mean(axis=0)).astype(x.dtype)
        return x if training else x - self.mean.astype(x.dtype), None


@broken((4,), "configuration", "argument not stored")
class LostArgument(Elementwise, registered_name="tests.LostArgument"):
    def __init__(self, power=3, **options):
        super().__init__(**options)
        self.power = power

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(config["power"])


@broken((4,), "weights", "argument not stored")
class LostSlope(Elementwise, registered_name="tests.LostSlope"):
    """y = slope·x"""

    @classmethod
    def example(cls):
        return cls(3.0)

    def __init__(self, slope=2.0, **options):
        super().__init__(**options)
        self.slope = slope

    def get_config(self):
        return {}

    def forward(self, x, training=False):
        return self.slope * x, None

    def backward(self, dy, cache):
        return self.slope * dy


@broken((4,), "shortcuts", "infer differs")
class QuickAndWrong(Elementwise, registered_name="tests.QuickAndWrong"):
    def infer(self, x):
        return x.clip(-1, 1)


# Compiled functions


def clipped(x: np.ndarray) -> np.ndarray:
    """A kernel with a limit of its own: wrong for large numbers."""
    return np.minimum(x * x, 4).astype(x.dtype)


@fl.compiled_twin(clipped)
def square(x: np.ndarray) -> np.ndarray:
    return x * x


@broken((40,), "backends", "compiled twin differs")
class CompiledSquare(Elementwise, registered_name="tests.CompiledSquare"):
    """y = x²"""

    def forward(self, x, training=False):
        return square(x), x

    def backward(self, dy, cache):
        return 2 * cache * dy
