"""The one table of ops and their cases; kernel tests, gradient tests, `verify` and benchmarks run from it.

A case is data: the sizes and options of one call. `TABLE[op]` knows the cases of an op, how to make the
arguments of a call from one, and how far results may lie from the reference. Cases are numbered: those
below `len(rows)` are the named rows, every other number is the seed of a random case, so a number alone
reproduces a case.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np

from fastlayers.cases import activation, conv, dense, dropout, loss, merge, optimizer, pool
from fastlayers.cases.layouts import LAYOUTS, lay_out
from fastlayers.cases.table import Arguments, Data, OpCases, Rng

__all__ = ["LAYOUTS", "TABLE", "Arguments", "Data", "OpCases", "arguments", "case", "generator", "lay_out"]

TABLE: dict[str, OpCases] = {
    **dense.TABLE,
    **conv.TABLE,
    **pool.TABLE,
    **activation.TABLE,
    **loss.TABLE,
    **optimizer.TABLE,
    **dropout.TABLE,
    **merge.TABLE,
}


def generator(op: str, number: int) -> Rng:
    """The random numbers of case `number` of an op."""
    return np.random.default_rng((crc32(op.encode()), number))


def case(op: str, number: int) -> tuple[str, Any]:
    """Name and data of case `number` of an op."""
    cases = TABLE[op]
    if number < len(cases.rows):
        return list(cases.rows.items())[number]
    return f"random {number}", cases.draw(generator(op, number))


def arguments(op: str, number: int, dtype: Any, integers: bool = False) -> Arguments:
    """The op's positional arguments for case `number`: always the same for the same number and dtype."""
    data = Data(generator(op, number), np.dtype(dtype), integers)
    return TABLE[op].arguments(case(op, number)[1], data)
