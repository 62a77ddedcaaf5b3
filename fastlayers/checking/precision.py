"""Is float32 as near to float64 as its rounding allows?"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlayers.checking.causes import cause
from fastlayers.checking.findings import Findings
from fastlayers.checking.subject import Subject
from fastlayers.checking.values import Difference, difference, is_float, labels, like, parts
from fastlayers.checks import Array

EPS = float(np.finfo(np.float32).eps)
TRIALS = 2  # times that x, dy and weights are shaken
ROUNDINGS = 64  # of the largest number
SHAKEN = 32  # times what a rounding of all inputs does
CANCELLED = 4  # roundings of the largest gradient: another may be a sum of such numbers that is 0
REDRAWS = 3  # inputs to try: at one, two numbers may be so close that rounding decides which is larger


def check_float32(subject: Subject, found: Findings) -> None:
    """y, dx and the weights' gradients in float32 against float64.

    What a rounding error does depends on the layer, so it is tried: inputs and weights are shaken in their last
    bit of float32, in float64. The bound is a multiple of what that changes, plus roundings of the largest number.
    """
    subject.require_repeatable()
    worst: tuple[float, str, Difference] | None = None
    for draw in range(REDRAWS):
        ratio, label, where = _compared(subject, draw)
        if where is None:
            found.row.note = f"largest error {ratio:.2g} of its bound ({label})"
            return
        if worst is None or ratio < worst[0]:
            worst = ratio, label, where
    if worst is not None:
        _, label, where = worst
        found.fail(where.describe(f"{label} in float32", "in float64 it"), cause("precision lost"), where)


def _compared(subject: Subject, draw: int) -> tuple[float, str, Difference | None]:
    """The largest error in units of its bound, of what it is, and where if it is over 1."""
    x, layer = subject.x("float32", draw), subject.fresh("float32")
    trace = subject.step(layer, x, True, draw)
    narrow = trace.results()
    wide_x, wide_dy = _widened(x), _widened(subject.dy(layer, trace.y, draw))
    wide = subject.step(subject.fresh("float64"), wide_x, True, dy=wide_dy).results()
    shaken = [_shaken(subject, wide_x, wide_dy, trial) for trial in range(TRIALS)]
    worst: tuple[float, str, Difference | None] = (0.0, "y", None)
    outputs = labels("y", trace.y)
    largest = max(float(abs(array).max(initial=0.0)) for name, array in wide.items() if name not in outputs)
    for name, expected in wide.items():
        if not expected.size:
            continue
        moved = max(float(abs(other[name] - expected).max()) for other in shaken)
        bound = ROUNDINGS * EPS * float(abs(expected).max()) + SHAKEN * moved + float(np.finfo(np.float32).tiny)
        if name not in outputs:
            bound += CANCELLED * EPS * largest
        ratio = float(abs(narrow[name] - expected).max()) / bound
        if not ratio <= worst[0]:
            worst = ratio, name, difference(narrow[name], expected, bound)
    return worst


def _shaken(subject: Subject, x: Any, dy: Any, trial: int) -> dict[str, Array]:
    """The results in float64 after x, dy and the weights change by about a rounding in float32."""
    rng = np.random.default_rng([subject.seed, 6, trial])
    layer = subject.fresh("float64")

    def shaken(array: Array) -> Array:
        if not is_float(array):
            return array
        moved = array * (1 + EPS * rng.choice([-1.0, 1.0], array.shape))
        return np.where(array == np.round(array), array, moved)  # whole numbers may have to be such

    for parameter in layer.parameters():
        parameter.value = shaken(parameter.value)
    x, dy = (like(value, [shaken(part) for part in parts(value)]) for value in (x, dy))
    return subject.step(layer, x, True, dy=dy).results()


def _widened(value: Any) -> Any:
    return like(value, [part.astype(np.float64) if is_float(part) else part for part in parts(value)])
