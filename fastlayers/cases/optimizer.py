"""Cases and error bounds of optimizer steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastlayers.cases.activation import ULPS
from fastlayers.cases.table import Arguments, Data, OpCases, Rng, size, sometimes


@dataclass(frozen=True)
class SGDCase:
    """One step; no velocity where momentum is None."""

    shape: tuple[int, ...]
    learning_rate: float = 0.25
    momentum: float | None = None
    nesterov: bool = False
    weight_decay: float = 0.0


SGD_ROWS = {
    "one": SGDCase((1,)),
    "scalar": SGDCase(()),
    "empty": SGDCase((0, 3)),
    "plain": SGDCase((5, 7)),
    "decay": SGDCase((5, 7), weight_decay=0.5),
    "momentum": SGDCase((3, 3, 5, 9), momentum=0.5),
    "momentum, decay": SGDCase((67,), 0.125, 0.75, False, 0.25),
    "nesterov": SGDCase((17, 9), 0.5, 0.5, True),
    "nesterov, decay": SGDCase((33,), 0.0625, 0.9, True, 0.01),
    "large": SGDCase((130, 157), 0.01, 0.9, True, 1e-4),
}


def draw_sgd(rng: Rng) -> SGDCase:
    momentum = float(rng.choice([0.0, 0.5, 0.9])) if sometimes(rng, 0.7) else None
    rate, decay = float(rng.choice([1e-3, 0.1, 0.5])), float(rng.choice([0.0, 0.01, 0.5]))
    return SGDCase(_shape(rng), rate, momentum, momentum is not None and sometimes(rng, 0.5), decay)


def _shape(rng: Rng) -> tuple[int, ...]:
    return tuple(size(rng) for _ in range(size(rng, 1, 2, 3)))


def sgd_arguments(case: SGDCase, data: Data) -> Arguments:
    value, grad = data.array(*case.shape), data.array(*case.shape)
    velocity = None if case.momentum is None else data.array(*case.shape)
    return value, grad, velocity, case.learning_rate, case.momentum or 0.0, case.nesterov, case.weight_decay


def sgd_exact(case: SGDCase) -> bool:
    """Multiples of 1/8 with a few bits each, times whole numbers."""
    factors = (case.learning_rate, case.momentum or 0.0, 1 - case.learning_rate * case.weight_decay)
    return all(float(64 * factor).is_integer() for factor in factors)


def sgd_bounds(args: Arguments, results: list[Any], eps: float) -> list[Any]:
    """The step on absolute values: no term cancels another."""
    value, grad, velocity, learning_rate, momentum, _, weight_decay = args
    step = learning_rate * abs(grad)
    decayed = abs(value) * abs(1 - learning_rate * weight_decay)
    if velocity is None:
        return [ULPS * eps * (decayed + step), None]
    speed = momentum * abs(velocity) + step
    return [ULPS * eps * (decayed + step + speed), ULPS * eps * speed]


@dataclass(frozen=True)
class AdamCase:
    """One step, number `step`; m and v as earlier steps would have left them, zeros before the first."""

    shape: tuple[int, ...]
    step: int = 1
    learning_rate: float = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    weight_decay: float = 0.0


ADAM_ROWS = {
    "one": AdamCase((1,)),
    "scalar": AdamCase((), 3),
    "empty": AdamCase((0, 3)),
    "first step": AdamCase((5, 7)),
    "second step": AdamCase((33,), 2),
    "step 1000": AdamCase((3, 3, 5, 9), 1000),
    "step 10⁷": AdamCase((17, 9), 10**7),
    "decay": AdamCase((67,), 10, 0.01, weight_decay=0.1),
    "other betas": AdamCase((5, 13), 7, 0.1, 0.5, 0.9, 1e-3, 0.01),
    "no momentum": AdamCase((31,), 4, 0.01, 0.0, 0.99),
    "large": AdamCase((130, 157), 12),
}


def draw_adam(rng: Rng) -> AdamCase:
    return AdamCase(
        _shape(rng),
        int(rng.choice([1, 2, 3, 10, 100, 12345])),
        float(rng.choice([1e-4, 1e-3, 0.1])),
        float(rng.choice([0.5, 0.9])),
        float(rng.choice([0.9, 0.99, 0.999])),
        float(rng.choice([1e-8, 1e-7, 1e-3])),
        float(rng.choice([0.0, 0.01])),
    )


def adam_arguments(case: AdamCase, data: Data) -> Arguments:
    value, grad = data.array(*case.shape), data.array(*case.shape)
    m, v = np.zeros_like(value), np.zeros_like(value)
    if case.step > 1:
        m[...], v[...] = data.array(*case.shape) / 4, abs(data.array(*case.shape)) / 4
    rates = (case.learning_rate, case.beta_1, case.beta_2, case.epsilon, case.weight_decay)
    return value, grad, m, v, case.step, *rates


def adam_bounds(args: Arguments, results: list[Any], eps: float) -> list[Any]:
    """m and v are sums of terms that are each off by a few eps; √v halves the relative error of v, which is
    of the order of eps since neither of its terms is negative.
    """
    value, grad, m, v, step, learning_rate, beta_1, beta_2, epsilon, weight_decay = args
    alpha = learning_rate * math.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    m_scale = abs(m) + (1 - beta_1) * (abs(grad) + abs(m))
    v_scale = v + (1 - beta_2) * (grad * grad + v)
    decayed = abs(value) * abs(1 - learning_rate * weight_decay)
    move = alpha * m_scale / (np.sqrt(results[2]) + epsilon)
    return [ULPS * eps * (decayed + 2 * move), ULPS * eps * m_scale, ULPS * eps * v_scale]


TABLE = {
    "sgd_update": OpCases(
        SGD_ROWS, draw_sgd, sgd_arguments, ("value", "velocity"), sgd_bounds, sgd_exact, written=(0, 2)
    ),
    "adam_update": OpCases(ADAM_ROWS, draw_adam, adam_arguments, ("value", "m", "v"), adam_bounds, written=(0, 2, 3)),
}
