"""Cases of sums and products of two arrays: a single rounding an element, so both paths agree to the bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastlayers.cases.table import Arguments, Array, Data, OpCases, Rng, size, sometimes


@dataclass(frozen=True)
class MergeCase:
    """Two arrays of one shape; "extreme" values are infinities, NaN, zeros of both signs and numbers that overflow."""

    shape: tuple[int, ...]
    values: str = "normal"


ROWS = {
    "one": MergeCase((1,)),
    "scalar": MergeCase(()),
    "empty": MergeCase((3, 0, 2)),
    "image": MergeCase((2, 7, 9, 33)),
    "several blocks": MergeCase((3, 6671)),
    "threads": MergeCase((5, 41, 37, 19)),
    "extreme": MergeCase((17, 23), "extreme"),
}
EXTREMES = (0.0, 1e-30, 1.0, 3e38, np.inf, np.nan)


def draw(rng: Rng) -> MergeCase:
    shape = tuple(size(rng) for _ in range(size(rng, 1, 2, 3)))
    return MergeCase(shape, "extreme" if sometimes(rng, 0.2) else "normal")


def arguments(case: MergeCase, data: Data) -> Arguments:
    return _values(case, data), _values(case, data)


def _values(case: MergeCase, data: Data) -> Array:
    if data.integers or case.values == "normal":
        return data.array(*case.shape)
    return np.asarray(data.rng.choice(EXTREMES, case.shape) * data.rng.choice([-1, 1], case.shape), data.dtype)


def bounds(args: Arguments, results: list[Any], eps: float) -> list[Any]:
    return [np.zeros(results[0].shape)]


TABLE = {
    "add": OpCases(ROWS, draw, arguments, ("y",), bounds, own_dtype=True),
    "multiply": OpCases(ROWS, draw, arguments, ("y",), bounds, own_dtype=True),
}
