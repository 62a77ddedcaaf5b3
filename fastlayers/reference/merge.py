"""Sums and products of two arrays of one shape, element by element."""

from __future__ import annotations

from fastlayers.reference.arrays import Array, plain


def add(a: Array, b: Array) -> Array:
    """y = a + b      a, b, y of one shape"""
    return plain(plain(a) + plain(b))


def multiply(a: Array, b: Array) -> Array:
    """y = a · b      a, b, y of one shape"""
    return plain(plain(a) * plain(b))
