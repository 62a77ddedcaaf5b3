"""First values of weights: `Initializer(…)(shape, dtype) -> array`, or by name, as "he_normal".

An initializer with a seed gives the same values at each call. One without takes its random numbers from the
layer, whose own come from `Sequential(…, seed=…)` and the layer's place in it; a layer outside of such a
model draws afresh. A seed stands for the same values as long as NumPy keeps its generators.

With fan_in and fan_out, the numbers of inputs and outputs of one unit ((KH·KW·C/groups, KH·KW·O) for a
convolution):

    glorot   variance 2 / (fan_in + fan_out)    Glorot and Bengio, AISTATS 2010
    he       variance 2 / fan_in                He et al., arXiv:1502.01852
    lecun    variance 1 / fan_in                LeCun et al., Efficient BackProp, 1998

A `…_normal` of these is cut off at two standard deviations and widened so that the variance stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from fastlayers.checks import F32, Array
from fastlayers.registry import Configurable

_CUT_NORMAL_STD = 0.87962566103423978  # standard deviation of N(0, 1) cut off at ±2


class Initializer(Configurable):
    """values = initializer(shape, dtype); define `draw`."""

    _kind = "initializers."
    seed: int | None = None

    def __call__(self, shape: tuple[int, ...], dtype: Any = F32, random: np.random.Generator | None = None) -> Array:
        """An array of values. `random` is used by initializers without a seed of their own."""
        if self.seed is not None or random is None:
            random = np.random.default_rng(self.seed)
        return np.asarray(self.draw(shape, np.dtype(dtype), random), dtype)

    def draw(self, shape: tuple[int, ...], dtype: np.dtype[Any], random: np.random.Generator) -> Array:
        raise NotImplementedError(f"{type(self).__name__} does not define draw(self, shape, dtype, random)")


class Constant(Initializer):
    """value everywhere"""

    def __init__(self, value: float = 0.0) -> None:
        self.value = value

    def draw(self, shape: tuple[int, ...], dtype: np.dtype[Any], random: np.random.Generator) -> Array:
        return np.full(shape, self.value, dtype)


class Zeros(Constant):
    """0 everywhere"""

    def __init__(self) -> None:
        super().__init__(0.0)


class Ones(Constant):
    """1 everywhere"""

    def __init__(self) -> None:
        super().__init__(1.0)


class RandomNormal(Initializer):
    """N(mean, stddev²)"""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        self.mean, self.stddev, self.seed = mean, stddev, seed

    def draw(self, shape: tuple[int, ...], dtype: np.dtype[Any], random: np.random.Generator) -> Array:
        return random.normal(self.mean, self.stddev, shape)


class RandomUniform(Initializer):
    """U(minval, maxval)"""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        self.minval, self.maxval, self.seed = minval, maxval, seed

    def draw(self, shape: tuple[int, ...], dtype: np.dtype[Any], random: np.random.Generator) -> Array:
        return random.uniform(self.minval, self.maxval, shape)


class VarianceScaling(Initializer):
    """Mean 0, variance scale / n, n = fan_in, fan_out or their mean ("fan_avg").

    distribution   "truncated_normal" or "uniform"
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"VarianceScaling expects mode fan_in, fan_out or fan_avg, got {mode!r}")
        if distribution not in ("truncated_normal", "uniform"):
            raise ValueError(f"VarianceScaling expects truncated_normal or uniform, got {distribution!r}")
        if not scale > 0:
            raise ValueError(f"VarianceScaling expects scale > 0, got {scale!r}")
        self.scale, self.mode, self.distribution, self.seed = scale, mode, distribution, seed

    def draw(self, shape: tuple[int, ...], dtype: np.dtype[Any], random: np.random.Generator) -> Array:
        fan_in, fan_out = fans(shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        stddev = math.sqrt(self.scale / max(1.0, n))
        if self.distribution == "uniform":
            limit = math.sqrt(3.0) * stddev
            return random.uniform(-limit, limit, shape)
        return _cut_normal(shape, random) * (stddev / _CUT_NORMAL_STD)


class GlorotUniform(VarianceScaling):
    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed)


class GlorotNormal(VarianceScaling):
    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_avg", "truncated_normal", seed)


class HeUniform(VarianceScaling):
    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "uniform", seed)


class HeNormal(VarianceScaling):
    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "truncated_normal", seed)


class LecunUniform(VarianceScaling):
    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "uniform", seed)


class LecunNormal(VarianceScaling):
    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "truncated_normal", seed)


BY_NAME: dict[str, Callable[[], Initializer]] = {
    "zeros": Zeros,
    "ones": Ones,
    "constant": Constant,
    "random_normal": RandomNormal,
    "random_uniform": RandomUniform,
    "glorot_uniform": GlorotUniform,
    "glorot_normal": GlorotNormal,
    "he_uniform": HeUniform,
    "he_normal": HeNormal,
    "lecun_uniform": LecunUniform,
    "lecun_normal": LecunNormal,
}


def get(who: str, initializer: object) -> Callable[..., Array]:
    """The initializer that a name stands for; objects and functions (shape, dtype) -> array as they are."""
    if isinstance(initializer, str) and initializer in BY_NAME:
        return BY_NAME[initializer]()
    if callable(initializer) and not isinstance(initializer, type):
        return initializer
    names = ", ".join(BY_NAME)
    expected = f"an initializer: an object of fastlayers.initializers or one of {names}"
    raise (ValueError if isinstance(initializer, str) else TypeError)(f"{who} expects {expected}, got {initializer!r}")


def draw(
    who: str,
    initializer: object,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    random: np.random.Generator,
) -> Array:
    """A new array of first values for a weight of layer `who`."""
    function = get(who, initializer)
    make = _instead.get()
    if make is not None:
        return make(who, shape, dtype)
    if isinstance(function, Initializer):
        return function(shape, dtype, random)
    values = np.array(function(shape, dtype), dtype)
    if values.shape != shape:
        raise ValueError(f"{who} expects its initializer to return shape {shape}, got {values.shape}")
    return values


@contextmanager
def instead(make: Callable[[str, tuple[int, ...], np.dtype[Any]], Array]) -> Iterator[None]:
    """In this thread, within a `with` block: weights start as the arrays make(who, shape, dtype), not as drawn.

    For models whose weights are about to be read from a file.
    """
    token = _instead.set(make)
    try:
        yield
    finally:
        _instead.reset(token)


_instead: ContextVar[Callable[[str, tuple[int, ...], np.dtype[Any]], Array] | None] = ContextVar(
    "instead", default=None
)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (I, O), (KH, KW, C/groups, O) or, with one number for both, (C,)."""
    if len(shape) < 2:
        n = shape[0] if shape else 1
        return n, n
    taps = math.prod(shape[:-2])
    return taps * shape[-2], taps * shape[-1]


def _cut_normal(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """N(0, 1), every value beyond ±2 drawn again."""
    values = random.standard_normal(shape)
    flat = values.reshape(-1)
    while (beyond := np.flatnonzero(np.abs(flat) > 2)).size:
        flat[beyond] = random.standard_normal(beyond.size)
    return values
