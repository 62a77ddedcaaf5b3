"""Cases and error bounds of activations and of softmax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastlayers.cases.table import Arguments, Array, Data, OpCases, Rng, size, sometimes
from fastlayers.reference import activation as reference

NAMES = tuple(reference.FORWARD)
FROM_X = ("gelu", "silu")  # their backward takes x, that of all others takes y
ALPHA = {"leaky_relu": 0.25, "elu": 0.5}
EXACT = ("linear", "relu", "leaky_relu")  # whole numbers (and quarters) stay exact


@dataclass(frozen=True)
class ActivationCase:
    """f(x) over any shape; "extreme" values are zeros, infinities, NaN and both sides of each overflow."""

    shape: tuple[int, ...]
    name: str
    values: str = "normal"


ROWS = {
    **{f"{name} extreme": ActivationCase((5, 23), name, "extreme") for name in NAMES},
    **{f"{name} vector": ActivationCase((size,), name) for name, size in zip(NAMES, range(61, 79, 2), strict=True)},
    "scalar": ActivationCase((), "tanh"),
    "empty": ActivationCase((3, 0, 2), "relu"),
    "one": ActivationCase((1,), "softplus"),
    "relu image": ActivationCase((2, 31, 33, 17), "relu"),
    "gelu sequence": ActivationCase((3, 100, 65), "gelu"),
    "tanh blocks": ActivationCase((20011,), "tanh"),
}


def draw(rng: Rng) -> ActivationCase:
    shape = tuple(size(rng) for _ in range(size(rng, 1, 2, 3)))
    return ActivationCase(shape, str(rng.choice(NAMES)), "extreme" if sometimes(rng, 0.2) else "normal")


EXTREMES = [0.0, 1e-30, 1e-10, 1e-5, 1e-3, 0.1, 1.0, 4.0, 8.0, 12.0, 16.0, 17.5, 20.0, 40.0, 86.0, 87.5, 89.0]
EXTREMES += [103.0, 105.0, 300.0, 708.0, 709.0, 710.0, 745.0, 746.0, 1e4, 1e15, 3e38]


def values(case: ActivationCase, data: Data) -> Array:
    if data.integers or case.values == "normal":
        return np.asarray(data.array(*case.shape) * data.dtype.type(1 if data.integers else 3))
    x = data.rng.choice([*EXTREMES, np.inf, np.nan], case.shape) * data.rng.choice([-1, 1], case.shape)
    return np.asarray(x, data.dtype)


def arguments(case: ActivationCase, data: Data) -> Arguments:
    return values(case, data), case.name, ALPHA.get(case.name, 0.0)


def backward_arguments(case: ActivationCase, data: Data) -> Arguments:
    x, alpha = values(case, data), ALPHA.get(case.name, 0.0)
    r = x if case.name in FROM_X else reference.activation(x, case.name, alpha)
    return data.array(*case.shape), r, case.name, alpha


def exact(case: ActivationCase) -> bool:
    return case.name in EXACT


# A function computed to a few units in the last place is off by ULPS·eps·scale: the scale is |y|, times the
# condition number where rounding inside the function is amplified.
ULPS = 6.0

FORWARD_SCALE: dict[str, Callable[[Array, Array], Array]] = {
    "linear": lambda x, y: 0 * y,
    "relu": lambda x, y: 0 * y,
    "leaky_relu": lambda x, y: abs(y),
    "elu": lambda x, y: abs(y),
    "gelu": lambda x, y: abs(y) * (1 + np.minimum(x, 0) ** 2),  # Φ(x) is about exp(-x²/2) / |x| for x < 0
    "silu": lambda x, y: abs(y),
    "sigmoid": lambda x, y: abs(y),
    "tanh": lambda x, y: abs(y),
    "softplus": lambda x, y: abs(y),
}

BACKWARD_SCALE: dict[str, Callable[[Array, Array, float], Array]] = {
    "linear": lambda dy, y, alpha: 0 * dy,
    "relu": lambda dy, y, alpha: 0 * dy,
    "leaky_relu": lambda dy, y, alpha: abs(dy),
    "elu": lambda dy, y, alpha: abs(dy) * (abs(np.minimum(y, 0)) + alpha),
    "gelu": lambda dy, x, alpha: abs(dy) * _gelu_scale(x),
    "silu": lambda dy, x, alpha: abs(dy) * _silu_scale(x),
    "sigmoid": lambda dy, y, alpha: abs(dy * y) * (1 + abs(y)),
    "tanh": lambda dy, y, alpha: abs(dy) * (1 + y * y),
    "softplus": lambda dy, y, alpha: abs(dy * np.expm1(-y)),
}


def _gelu_scale(x: Array) -> Array:
    normal = np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
    distribution = reference.activation(x, "gelu", 0.0) / np.where(x == 0, 1, x) + np.where(x == 0, 0.5, 0)
    return np.asarray((distribution + abs(x) * normal) * (1 + np.where(x < 0, 1, 0) * x * x + x * x * normal))


def _silu_scale(x: Array) -> Array:
    s = reference.activation(x, "sigmoid", 0.0)
    return np.asarray(s * (1 + abs(x) * (1 - s)))


def slope(name: str, alpha: float) -> float:
    """The steepest that the function gets."""
    return {"leaky_relu": max(1.0, alpha), "elu": max(1.0, alpha), "gelu": 1.13, "silu": 1.1}.get(name, 1.0)


def through(z: Array, error: Array, name: str, alpha: float, eps: float) -> Array:
    """The bound of f(z) when z itself is off by `error`."""
    y = reference.activation(z, name, alpha)
    return np.asarray(slope(name, alpha) * error + ULPS * eps * FORWARD_SCALE[name](z, y))


def bounds(args: Arguments, results: list[Any], eps: float) -> list[Any]:
    x, name, _ = args
    return [ULPS * eps * FORWARD_SCALE[name](x, results[0])]


def backward_bounds(args: Arguments, results: list[Any], eps: float) -> list[Any]:
    dy, r, name, alpha = args
    return [ULPS * eps * BACKWARD_SCALE[name](dy, r, alpha)]


@dataclass(frozen=True)
class SoftmaxCase:
    """Softmax over the columns of (rows, columns); "masked" has -inf in every row, and a row of -inf."""

    rows: int
    columns: int
    values: str = "normal"


SOFTMAX_ROWS = {
    "one": SoftmaxCase(1, 1),
    "single column": SoftmaxCase(9, 1),
    "empty batch": SoftmaxCase(0, 7),
    "digits": SoftmaxCase(32, 10),
    "below a vector": SoftmaxCase(5, 3),
    "odd": SoftmaxCase(17, 33),
    "imagenet": SoftmaxCase(3, 1000),
    "long": SoftmaxCase(2, 5003),
    "many": SoftmaxCase(1021, 5),
    "large": SoftmaxCase(7, 31, "large"),
    "masked": SoftmaxCase(6, 19, "masked"),
    "nan": SoftmaxCase(5, 11, "nan"),
}


def draw_softmax(rng: Rng) -> SoftmaxCase:
    kind = str(rng.choice(["normal", "normal", "large", "masked", "nan"]))
    return SoftmaxCase(size(rng) * size(rng, 0, 1, 1, 3), size(rng) * size(rng, 1, 1, 7), kind)


def softmax_arguments(case: SoftmaxCase, data: Data) -> Arguments:
    x = data.array(case.rows, case.columns)
    if case.values == "large":
        x *= x.dtype.type(1000)
    if case.values == "masked":
        x[data.rng.random(x.shape) < 0.3] = -np.inf
        x[-1:] = -np.inf
    if case.values == "nan":
        x[data.rng.random(x.shape) < 0.02] = np.nan
        x[-1:, -1:] = np.nan
    return (x,)


def softmax_backward_arguments(case: SoftmaxCase, data: Data) -> Arguments:
    y = data.array(case.rows, case.columns) if data.integers else reference.softmax(softmax_arguments(case, data)[0])
    return data.array(case.rows, case.columns), y


def softmax_bound(x: Array, y: Array, eps: float) -> Array:
    """x - max x is off by half its eps, exp turns that into a relative error, and C of them are summed."""
    shift = np.nan_to_num(abs(x - x.max(axis=-1, keepdims=True, initial=-np.inf)), posinf=0.0)
    return np.asarray(y * (shift + x.shape[-1] + ULPS) * eps)


def softmax_bounds(args: Arguments, results: list[Any], eps: float) -> list[Any]:
    return [softmax_bound(args[0], results[0], eps)]


def softmax_backward_bounds(args: Arguments, results: list[Any], eps: float) -> list[Any]:
    dy, y = args
    positive = abs(y) * (abs(dy) + abs(dy * y).sum(axis=-1, keepdims=True))
    return [(y.shape[-1] + 3) * eps * positive]


def always(case: Any) -> bool:
    return True


TABLE = {
    "activation": OpCases(ROWS, draw, arguments, ("y",), bounds, exact),
    "activation_backward": OpCases(ROWS, draw, backward_arguments, ("dx",), backward_bounds, exact),
    "softmax": OpCases(SOFTMAX_ROWS, draw_softmax, softmax_arguments, ("y",), softmax_bounds),
    "softmax_backward": OpCases(
        SOFTMAX_ROWS, draw_softmax, softmax_backward_arguments, ("dx",), softmax_backward_bounds, always
    ),
}
