"""Why is a gradient wrong? Each hypothesis is a function that tells its cause, or None; the first to fit is taken.

Those here look at the two gradients; those of `experiments` run backward again on something changed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

from fastlayers.checking.causes import Cause, cause
from fastlayers.checking.evidence import Evidence
from fastlayers.checking.experiments import (
    activation_derivative,
    dy_ignored,
    exchanged,
    turned_weight,
)


def diagnose(evidence: Evidence) -> Cause | None:
    """The likely cause of a wrong gradient, where it can be told."""
    with np.errstate(all="ignore"):
        for hypothesis in HYPOTHESES:
            found = hypothesis(evidence)
            if found is not None:
                return found
    return None


def zero(evidence: Evidence) -> Cause | None:
    return None if evidence.analytic.any() else cause("no gradient")


def factor(evidence: Evidence) -> Cause | None:
    """analytic = c · numeric"""
    known = np.isfinite(evidence.numeric)
    numeric, analytic = evidence.numeric[known], evidence.analytic[known]
    square = float(numeric @ numeric)
    if not square:
        return None
    c = float(numeric @ analytic) / square
    if abs(c) < 1e-9 or not evidence.fits(evidence.analytic / c):
        return None
    for value, name in ((2.0, "twice the gradient"), (0.5, "half the gradient"), (-1.0, "wrong sign")):
        if math.isclose(c, value, rel_tol=1e-4):
            return cause(name)
    for count, what in _counts(evidence):
        if math.isclose(c, 1 / count, rel_tol=1e-4):
            return cause("mean instead of sum", f"it is 1/{count} of what it should be: {what}")
        if math.isclose(c, count, rel_tol=1e-4):
            return cause("sum instead of mean", f"it is {count} times what it should be: {what}")
    return cause("constant factor", f"{c:.6g}") if numeric.size > 1 else None


def _counts(evidence: Evidence) -> list[tuple[int, str]]:
    """Numbers of things over which a mean may be taken: axes of y and x, and neighbouring axes together."""
    counts: dict[int, str] = {evidence.point.subject.n: "the size of the batch"}
    for name, shape in [("y", evidence.y_shape), *((k, v.shape) for k, v in evidence.point.inputs.items())]:
        for start, stop in itertools.combinations(range(len(shape) + 1), 2):
            count = math.prod(shape[start:stop])
            axes = f"axes {start} to {stop - 1}" if stop - start > 1 else f"axis {start}"
            if count > 1:
                counts.setdefault(count, f"the length of {axes} of {name}")
    return list(counts.items())


def weight_factor(evidence: Evidence) -> Cause | None:
    """analytic = numeric / w or numeric · w, w a weight that varies along the last axes or one of the others"""
    shape = evidence.analytic.shape
    for name, parameter in evidence.point.weights.items():
        if name == evidence.target or parameter.size < 2:
            continue
        for axis in range(len(shape) - parameter.value.ndim + 1):
            if shape[axis : axis + parameter.value.ndim] == parameter.shape:
                after = len(shape) - axis - parameter.value.ndim
                weight = parameter.value.reshape(parameter.shape + (1,) * after)
                if evidence.fits(evidence.analytic * weight):
                    return cause("weight's factor missing", name)
                if evidence.fits(evidence.analytic / weight):
                    return cause("weight's factor twice", name)
    return None


def missing_sum(evidence: Evidence) -> Cause | None:
    """Only the terms at one end of an axis of y were taken."""
    if evidence.pieces is None:
        return None
    before = evidence.analytic.ndim
    for axis, length in enumerate(evidence.y_shape):
        if length < 2:
            continue
        for index, which in ((0, "first"), (-1, "last")):
            terms = evidence.pieces.take(index, axis=before + axis)
            candidate = terms.reshape(*evidence.analytic.shape, -1).sum(axis=-1)
            if candidate.any() and evidence.is_analytic(candidate):
                what = "the batch" if axis == 0 else f"axis {axis} of y"
                return cause("missing sum", f"only the {which} entry along {what} is counted")
    return None


def too_many_sums(evidence: Evidence) -> Cause | None:
    """Each entry holds the sum over an axis, or over some, instead of its own."""
    axes = [axis for axis, length in enumerate(evidence.analytic.shape) if length > 1]
    for count in range(1, len(axes) + 1):
        for some in itertools.combinations(axes, count):
            candidate = np.broadcast_to(evidence.numeric.sum(axis=some, keepdims=True), evidence.analytic.shape)
            if evidence.is_analytic(candidate):
                return cause("sum over too many axes", f"axes {some} of the gradient")
            if evidence.is_analytic(candidate / math.prod(evidence.analytic.shape[axis] for axis in some)):
                return cause("sum over too many axes", f"the mean over axes {some} of the gradient")
    return None


def rearranged(evidence: Evidence) -> Cause | None:
    """The right numbers in other places."""
    shape = evidence.analytic.shape
    for order in itertools.permutations(range(len(shape))) if len(shape) <= 5 else ():
        turned = evidence.analytic.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))
        if evidence.fits(turned):
            return cause("transposed" if len(shape) == 2 else "axes in wrong order", f"axes {order}")
    axes = [axis for axis, length in enumerate(shape) if length > 1]
    for count in range(1, len(axes) + 1):
        for some in itertools.combinations(axes, count):
            if evidence.fits(np.flip(evidence.analytic, some)):
                return cause("flipped", f"along axes {some}")
    return None


def passed_through(evidence: Evidence) -> Cause | None:
    dy = evidence.point.dy
    if not isinstance(dy, tuple) and dy.shape == evidence.analytic.shape and evidence.is_analytic(dy):
        return cause("derivative missing")
    return None


HYPOTHESES: tuple[Callable[[Evidence], Cause | None], ...] = (
    zero,
    factor,
    dy_ignored,
    exchanged,
    weight_factor,
    missing_sum,
    too_many_sums,
    rearranged,
    activation_derivative,
    turned_weight,
    passed_through,
)
