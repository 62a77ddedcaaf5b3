"""Sums and products of two arrays of one shape, element by element."""

from __future__ import annotations

import numpy as np

from fastlayers.reference.arrays import Array, plain


@np.errstate(all="ignore")
def add(a: Array, b: Array) -> Array:
    """y = a + b      a, b, y of one shape"""
    return plain(plain(a) + plain(b))


@np.errstate(all="ignore")
def multiply(a: Array, b: Array) -> Array:
    """y = a · b      a, b, y of one shape"""
    return plain(plain(a) * plain(b))
