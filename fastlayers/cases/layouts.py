"""The ways in which an array of the same numbers may lie in memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastlayers.cases.table import Array


def _sliced(x: Array) -> Array:
    """Every second number of rows that hold others in between."""
    spread = np.full((*x.shape[:-1], 2 * x.shape[-1] + 1), 77, x.dtype)
    spread[..., 1::2] = x
    return spread[..., 1::2]


def _negative(x: Array) -> Array:
    """All strides negative."""
    backwards = (slice(None, None, -1),) * x.ndim
    return np.asarray(np.ascontiguousarray(x[backwards])[backwards])


def _readonly(x: Array) -> Array:
    copy: Array = x.copy()
    copy.flags.writeable = False
    return copy


def _misaligned(x: Array) -> Array:
    """One byte off the alignment of its dtype."""
    y: Array = np.ndarray(x.shape, x.dtype, np.empty(x.nbytes + 1, np.uint8), 1)
    y[...] = x
    return y


def _byteswapped(x: Array) -> Array:
    return x.astype(x.dtype.newbyteorder("S"))


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "C": np.copy,
    "F": lambda x: np.array(x, order="F"),
    "sliced": _sliced,
    "negative": _negative,
    "readonly": _readonly,
    "byteswapped": _byteswapped,
    "misaligned": _misaligned,
}


def lay_out(x: Array, layout: str) -> Array:
    """A copy of x, the same shape and numbers, laid out as LAYOUTS names it; a scalar has but one layout."""
    return LAYOUTS[layout](x) if x.ndim else x.copy()
