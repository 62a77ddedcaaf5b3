"""Sums and products of two arrays, element by element."""

from __future__ import annotations

from fastlayers.backend import run
from fastlayers.checks import Array, same_floats
from fastlayers.ops.geometry import expect_shape


def add(a: Array, b: Array, *, name: str = "add") -> Array:
    """y = a + b      a, b of one shape -> y; ValueError where they differ"""
    return _merged("add", a, b, name)


def multiply(a: Array, b: Array, *, name: str = "multiply") -> Array:
    """y = a · b      a, b of one shape -> y; ValueError where they differ"""
    return _merged("multiply", a, b, name)


def _merged(op: str, a: Array, b: Array, name: str) -> Array:
    a, b = same_floats(name, ("a", "b"), a, b)
    expect_shape(name, "b", b, a.shape)
    y: Array = run(op, a, b)
    return y
