"""The numeric gradient, entry by entry, of one that is wrong; what a diagnosis is made from."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from fastlayers.checking.points import Point
from fastlayers.checking.values import Difference, difference
from fastlayers.checks import Array

FULL = 1500  # entries up to which the whole gradient is computed; of larger ones, this many
BUDGET = 2.0  # seconds; then the other entries stay unknown
PIECES = 2_000_000  # numbers up to which the terms of each entry are kept
CLOSE = 1e-4  # how close two gradients are, relative to their largest entry, that are meant to be the same


@dataclass
class Evidence:
    """A gradient that is wrong, beside the right one.

    numeric   NaN where it is not known: at kinks, and at entries left out
    error     how far each entry of numeric may be off
    pieces    (*shape of the gradient, *shape of y): the terms of each sum; None if they are too many
    """

    point: Point
    target: str
    analytic: Array
    numeric: Array
    error: Array
    pieces: Array | None

    def worst(self) -> Difference | None:
        """The entry that is furthest off."""
        known = np.isfinite(self.numeric)
        if not known.any():
            return None
        allowed = (
            self.point.subject.tolerance * (abs(self.numeric[known]).max() + 10 * abs(self.numeric)) + 4 * self.error
        )
        return difference(np.where(known, self.analytic, np.nan), self.numeric, np.where(known, allowed, 0.0))

    def fits(self, candidate: Array) -> bool:
        """Whether `candidate` is the numeric gradient, as far as that is known."""
        known = np.isfinite(self.numeric)
        size = abs(self.numeric[known]).max(initial=0.0)
        if candidate.shape != self.numeric.shape or not size:
            return False
        return bool((abs(candidate - self.numeric)[known] <= CLOSE * size + 4 * self.error[known]).all())

    def is_analytic(self, candidate: Array) -> bool:
        """Whether `candidate`, made from numeric, is what backward gave."""
        known = np.isfinite(candidate)
        size = abs(self.analytic).max(initial=0.0)
        return bool(size and known.any() and (abs(candidate - self.analytic)[known] <= CLOSE * size).all())

    @property
    def y_shape(self) -> tuple[int, ...]:
        """Of the only output; () if there are several."""
        return () if isinstance(self.point.trace.y, tuple) else self.point.trace.y.shape


def gather(point: Point, target: str) -> Evidence:
    """Differentiate by every entry of the target, or by a sample of them."""
    analytic = point.analytic[target]
    numeric, error = np.full(analytic.shape, np.nan), np.zeros(analytic.shape)
    y = point.trace.y
    keep = not isinstance(y, tuple) and analytic.size <= FULL and analytic.size * y.size <= PIECES
    pieces = np.full((*analytic.shape, *y.shape), np.nan) if keep else None
    scale, end = point.size(target), time.perf_counter() + BUDGET
    for index in _order(analytic):
        if time.perf_counter() > end:
            break
        slope = point.at_entry(target, index).slope
        if np.isfinite(slope.error):
            numeric[index], error[index] = slope.value / scale, slope.error / scale
            if pieces is not None:
                pieces[index] = slope.terms.reshape(y.shape) / scale
    return Evidence(point, target, analytic, numeric, error, pieces)


def _order(analytic: Array) -> list[tuple[int, ...]]:
    """Indices of up to FULL entries: the largest, which tell most, then others at random."""
    largest = np.argsort(-abs(analytic).ravel(), kind="stable")[: FULL // 3]
    others = np.random.default_rng(0).permutation(np.setdiff1d(np.arange(analytic.size), largest))
    picked = np.concatenate([largest, others[: FULL - len(largest)]])
    return [tuple(int(i) for i in np.unravel_index(flat, analytic.shape)) for flat in picked]
