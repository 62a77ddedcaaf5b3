"""`fl.use(debug=True)`: every layer's arrays are looked at, and the first that is wrong is an error.

Looked at are, of each layer as it runs, in models and blocks as well as alone: x, y, dy, dx and the gradients
of its weights. They must be finite and of the layer's dtype; y must have the shape that
`compute_output_shape` declares, and dx, within a model, that of x. Nothing here runs otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlayers import settings

if TYPE_CHECKING:
    from fastlayers.layer import Layer

SHOWN = 3  # how many positions a message names


def watched_inference(layer: Layer, x: Any) -> Any:
    """layer._inference(x)"""
    watching = settings.current().debug
    if watching:
        _check_input(layer, x)
    y = layer._inference(x)
    if watching:
        _check_output(layer, x, y)
    return y


def watched_forward(forward: Callable[..., Any], layer: Layer, x: Any, training: bool) -> tuple[Any, Any]:
    """forward(layer, x, training=training)"""
    watching = settings.current().debug
    if watching:
        _check_input(layer, x)
    result = forward(layer, x, training=training)
    if type(result) is not tuple or len(result) != 2:
        from fastlayers.protocol import not_a_pair  # not above: it imports this module

        raise not_a_pair(layer, result)
    if watching:
        _check_output(layer, x, result[0])
    return result


def watched_backward(backward: Callable[..., Any], layer: Layer, dy: Any, cache: Any) -> Any:
    """backward(layer, dy, cache)"""
    watching = settings.current().debug
    if watching:
        _check_numbers(layer, "dy", dy)
    dx = backward(layer, dy, cache)
    if watching:
        for name, weight in layer._weights.items():
            if weight._grad is not None:
                _check_finite(f"{layer.name}: the gradient of {name}", weight._grad)
        if dx is not None:
            _check_kind(layer, "dx", dx)
            _check_numbers(layer, "dx", dx)
    return dx


def check_gradient_shape(layer: Layer, dx: Any, shapes: Any) -> None:
    """ValueError unless dx has the shape(s) that x had; None stands for no gradient."""
    found = tuple(None if part is None else np.shape(part) for part in dx) if type(dx) is tuple else np.shape(dx)
    several = bool(shapes) and isinstance(shapes[0], tuple)
    pairs = zip(found, shapes, strict=True) if several and len(found) == len(shapes) else [(found, shapes)]
    if dx is not None and any(part is not None and part != shape for part, shape in pairs):
        raise ValueError(f"{layer.name}: backward must return dx of the shape of x, {shapes}, got {found}")


def _check_input(layer: Layer, x: Any) -> None:
    _check_numbers(layer, "x", x)


def _check_output(layer: Layer, x: Any, y: Any) -> None:
    _check_kind(layer, "y", y)
    arrays = x if type(x) is tuple else (x,)
    batch = arrays[0].shape[:1]
    shapes = tuple(part.shape[1:] for part in arrays)
    declared = layer.compute_output_shape(shapes if type(x) is tuple else shapes[0])
    several = bool(declared) and isinstance(declared[0], (tuple, list))
    expected = tuple(batch + tuple(shape) for shape in declared) if several else batch + tuple(declared)
    found = tuple(part.shape for part in y) if type(y) is tuple else y.shape
    if found != expected:
        got = f"x of shape {shapes if type(x) is tuple else shapes[0]}"
        raise ValueError(
            f"{layer.name}: y has shape {found}, but compute_output_shape declares {expected} (batch axis "
            f"included) for examples of {got}"
        )
    _check_numbers(layer, "y", y)


def _check_kind(layer: Layer, what: str, value: Any) -> None:
    """TypeError unless `value` is an array of the layer's dtype, or a tuple of such."""
    for part in value if type(value) is tuple else (value,):
        if part is None and what == "dx":
            continue
        if not isinstance(part, np.ndarray):
            raise TypeError(f"{layer.name}: {what} must be an array (or a tuple of arrays), got {type(part).__name__}")
        if layer._one_dtype and part.dtype != layer._dtype:
            raise TypeError(f"{layer.name}: {what} has dtype {part.dtype}, the layer has {layer.dtype}")


def _check_numbers(layer: Layer, what: str, value: Any) -> None:
    parts = value if type(value) is tuple else (value,)
    for index, part in enumerate(parts):
        if part is not None:
            _check_finite(f"{layer.name}: {what}" + (f"[{index}]" if len(parts) > 1 else ""), part)


def _check_finite(what: str, array: Any) -> None:
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        return
    wrong = ~np.isfinite(array)
    if wrong.any():
        first = [tuple(map(int, place)) for place in np.argwhere(wrong)[:SHOWN]]
        shown = ", ".join(f"{array[place]} at {place}" for place in first)
        raise FloatingPointError(
            f"{what} has {np.count_nonzero(wrong):,} of {array.size:,} numbers that are not finite: {shown}"
        )
