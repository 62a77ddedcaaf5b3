"""Slopes from differences, with an estimate of their error, and kinks told from curves.

Along a line t -> y(t), with D(h) = dy·(y(h) - y(-h)) / 2h, the slope at 0 is (4·D(h/2) - D(h)) / 3, an
extrapolation whose error is of the order h⁴. Where the line is smooth, D(h) and D(h/2) hardly differ, and the
difference of the slopes to the right and to the left halves with h; where it has a kink or a jump, neither holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastlayers.checks import Array

STEPS = (1e-5, 1e-6, 1e-4, 1e-7, 1e-3)  # the first that gives a trustworthy slope is taken
USABLE = 1e-3  # error of a slope, relative to it, beyond which it decides nothing
NOISE = 64 * float(np.finfo(np.float64).eps)  # roundings in y, relative to y


class Slope(NamedTuple):
    """dy · dy(t)/dt at 0 and how far it may be off; `terms` are its summands, one for each entry of y."""

    value: float
    error: float
    terms: Array


class Verdict(NamedTuple):
    """`agrees` is None where the line has kinks at all distances from 0, so that nothing can be said."""

    agrees: bool | None
    slope: Slope


class Line:
    """t -> y(t), with `center` = y(0), weighed with dy."""

    def __init__(self, y: Callable[[float], Array], center: Array, dy: Array) -> None:
        self.y, self.center, self.dy = y, center, dy
        self.roundings = NOISE * float(np.linalg.norm(dy * center))

    def slope(self, h: float, matters: float) -> Slope:
        """The slope with step h; its error is infinite at a kink that changes it by more than `matters`."""
        above, below = self.y(h), self.y(-h)
        right, left = self.y(h / 2), self.y(-h / 2)
        wide = float(self.dy @ (above - below)) / (2 * h)
        terms = self.dy * (right - left) / h
        narrow = float(terms.sum())
        bend_wide = abs(float(self.dy @ (above - 2 * self.center + below))) / h
        bend_narrow = abs(float(self.dy @ (right - 2 * self.center + left))) / (h / 2)
        noise = self.roundings / h
        kink = bend_narrow > 0.75 * bend_wide and bend_narrow > 8 * noise + matters
        error = np.inf if kink else abs(wide - narrow) + noise
        return Slope((4 * narrow - wide) / 3, float(np.nan_to_num(error, nan=np.inf)), terms)

    def compare(self, analytic: float, scale: float, tolerance: float) -> Verdict:
        """Whether the slope at 0 is `analytic`.

        scale       the size of the terms of which `analytic` is the sum
        tolerance   how far off it may be, relative to its own size and that of its terms
        """
        best = Slope(np.nan, np.inf, np.zeros(0))
        for h in STEPS:
            noise = self.roundings / h
            slope = self.slope(h, tolerance * max(scale, abs(analytic)))
            if slope.error < best.error:
                best = slope
            size = max(scale, abs(slope.value))
            if slope.error <= tolerance * size + 2 * noise and noise <= 10 * tolerance * size:
                break
        size = max(scale, abs(best.value))
        if not best.error <= USABLE * size + 2 * self.roundings / STEPS[0]:
            return Verdict(None, best)
        return Verdict(abs(analytic - best.value) <= tolerance * size + 4 * best.error, best)
