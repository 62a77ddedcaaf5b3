"""Cases of dropout, whose two paths agree to the bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastlayers.cases.table import Arguments, Data, OpCases, Rng, size


@dataclass(frozen=True)
class DropoutCase:
    shape: tuple[int, ...]
    rate: float = 0.5
    seed: int = 1
    counter: int = 0


LAST = 2**64 - 1
ROWS = {
    "one": DropoutCase((1,)),
    "scalar": DropoutCase(()),
    "empty": DropoutCase((0, 3)),
    "keep all": DropoutCase((5, 7), 0.0),
    "drop almost all": DropoutCase((9, 17), 0.99),
    "image": DropoutCase((2, 7, 9, 33), 0.25, 12345, 6),
    "seed 0": DropoutCase((65,), 0.3, 0, 0),
    "largest seed": DropoutCase((65,), 0.3, LAST, 0),
    "largest counter": DropoutCase((65,), 0.3, 0, LAST),
    "high words": DropoutCase((67,), 0.7, 2**40 + 3, 2**33 + 5),
    "several blocks": DropoutCase((20011,), 0.1, 7, 3),
}


def draw(rng: Rng) -> DropoutCase:
    shape = tuple(size(rng) for _ in range(size(rng, 1, 2, 3)))
    seed, counter = (int(n) for n in rng.integers(0, LAST, 2, np.uint64, endpoint=True))
    return DropoutCase(shape, float(rng.choice([0.0, 0.1, 0.5, 0.875, rng.random()])), seed, counter)


def arguments(case: DropoutCase, data: Data) -> Arguments:
    return data.array(*case.shape), case.rate, case.seed, case.counter


def bounds(args: Arguments, results: list[Any], eps: float) -> list[Any]:
    return [np.zeros(results[0].shape)]


TABLE = {"dropout": OpCases(ROWS, draw, arguments, ("y",), bounds, own_dtype=True)}
