"""What the table holds for one op, and where its numbers come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Rng = np.random.Generator
Arguments = tuple[Any, ...]


class Data(NamedTuple):
    """Where the numbers of a call come from; `integers` are whole, from -4 to 4, so that sums are exact."""

    rng: Rng
    dtype: np.dtype[Any]
    integers: bool = False

    def array(self, *shape: int) -> Array:
        if self.integers:
            return np.asarray(self.rng.integers(-4, 5, shape), self.dtype)
        return np.asarray(self.rng.standard_normal(shape), self.dtype)

    def uniform(self, *shape: int) -> Array:
        """Numbers in [0, 1], among them exact zeros and ones."""
        u = self.rng.random(shape)
        return np.asarray(np.where(u < 0.05, 0, np.where(u > 0.95, 1, u)), self.dtype)


def never(case: Any) -> bool:
    return False


class OpCases(NamedTuple):
    """The cases of one op.

    rows        named cases
    draw        a random case
    arguments   the op's positional arguments for a case
    returns     names of the results, in order; None may stand for a result
    bounds      (arguments, results, eps) -> how far each result may lie from the reference: arguments and
                results of the reference in float64, and the precision of the dtype under test
    exact       whether a case with integers as data has results without rounding
    written     positions of the arguments that the op changes in place: these are its results
    own_dtype   compare with the reference in the dtype of the call, to the bit
    """

    rows: Mapping[str, Any]
    draw: Callable[[Rng], Any]
    arguments: Callable[[Any, Data], Arguments]
    returns: tuple[str, ...]
    bounds: Callable[[Arguments, list[Any], float], list[Any]]
    exact: Callable[[Any], bool] = never
    written: tuple[int, ...] = ()
    own_dtype: bool = False


def sometimes(rng: Rng, probability: float) -> bool:
    return bool(rng.random() < probability)


def size(rng: Rng, *sizes: int) -> int:
    """One of these sizes: around the tiles and vectors of kernels, not multiples of any."""
    return int(rng.choice(sizes or (1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 24, 31, 33)))
