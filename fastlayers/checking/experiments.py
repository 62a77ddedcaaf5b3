"""Hypotheses on a wrong gradient that are tried out: backward runs again, with another dy or other weights."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastlayers.checking.causes import Cause, cause
from fastlayers.checking.evidence import Evidence, gather
from fastlayers.checking.values import like, parts
from fastlayers.checks import Array
from fastlayers.layer import Layer

# activation -> its derivative, from y
DERIVATIVES: dict[str, Callable[[Array], Array]] = {
    "relu": lambda y: (y > 0).astype(y.dtype),
    "tanh": lambda y: 1 - y * y,
    "sigmoid": lambda y: y * (1 - y),
    "softplus": lambda y: -np.expm1(-y),
    "elu": lambda y: np.where(y > 0, 1, y + 1),
    "exp": lambda y: y,
    "square": lambda y: 2 * np.sqrt(y),
    "square root": lambda y: 0.5 / y,
}


def dy_ignored(evidence: Evidence) -> Cause | None:
    """backward gives the same for another dy."""
    other = like(evidence.point.dy, [3 * part + 1 for part in parts(evidence.point.dy)])
    again = _backward(evidence, other)
    return cause("dy ignored") if again is not None and np.array_equal(again, evidence.analytic) else None


def exchanged(evidence: Evidence) -> Cause | None:
    """Another gradient of that shape is this one, and this one is the other."""
    point = evidence.point
    names = point.inputs if evidence.target in point.inputs else point.weights
    for other in names:
        gradient = point.analytic[other]
        alike = other != evidence.target and gradient.shape == evidence.analytic.shape
        if alike and evidence.fits(gradient) and gather(point, other).fits(evidence.analytic):
            return cause("gradients exchanged", f"{evidence.target} and {other}")
    return None


def activation_derivative(evidence: Evidence) -> Cause | None:
    """Right, once dy is multiplied or divided by the derivative of an activation that y may come from."""
    y, dy = evidence.point.trace.y, evidence.point.dy
    if isinstance(y, tuple):
        return None
    for name, derivative in DERIVATIVES.items():
        slope = derivative(y)
        if not np.isfinite(slope).all():
            continue
        if _fits(evidence, dy * slope):
            return cause("activation's derivative missing", name)
        if slope.all() and _fits(evidence, dy / slope):
            return cause("activation's derivative twice", name)
    if y.ndim > 1 and _fits(evidence, y * (dy - (dy * y).sum(axis=-1, keepdims=True))):
        return cause("activation's derivative missing", "softmax")
    return None


def turned_weight(evidence: Evidence) -> Cause | None:
    """Right, once a weight is turned around between forward and backward."""
    for name, parameter in evidence.point.weights.items():
        for kind, how, value in _turned(parameter.value):

            def turn(layer: Layer, name: str = name, value: Array = value) -> None:
                layer.named_parameters()[name].value = value

            if not np.array_equal(value, parameter.value) and _fits(evidence, evidence.point.dy, turn):
                return cause(kind, f"{name} in backward, {how}")
    return None


def _turned(value: Array) -> Iterator[tuple[str, str, Array]]:
    """What becomes of a weight by exchanging two axes, or by going along some backwards."""
    for a, b in itertools.combinations(range(value.ndim), 2):
        if value.shape[a] == value.shape[b]:
            yield "transposed", f"axes {a} and {b}", value.swapaxes(a, b).copy()
    for count in range(1, value.ndim + 1):
        for axes in itertools.combinations(range(value.ndim), count):
            yield "flipped", f"axes {axes}", np.flip(value, axes).copy()


def _fits(evidence: Evidence, dy: Any, between: Callable[[Layer], None] | None = None) -> bool:
    again = _backward(evidence, dy, between)
    return again is not None and evidence.fits(again)


def _backward(evidence: Evidence, dy: Any, between: Callable[[Layer], None] | None = None) -> Array | None:
    """What backward gives now; None if it does not like the change."""
    try:
        return evidence.point.backward(dy, between)[evidence.target]
    except Exception:
        return None
