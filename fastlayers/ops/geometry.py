"""Shapes of a call: results of window arithmetic, kept by their arguments, and the checks that ops share."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from fastlayers.checks import Array
from fastlayers.shapes import Window2D

R = TypeVar("R")


class Sliding(NamedTuple):
    """A window over batches of one shape, and what it gives."""

    window: Window2D
    y_shape: tuple[int, ...]  # batch axis included


def remembered(resolve: Callable[..., R]) -> Callable[..., R]:
    """`resolve` with its results kept by their arguments; for lists they are worked out anew each time."""
    quick = functools.lru_cache(maxsize=4096, typed=True)(resolve)

    @functools.wraps(resolve)
    def remembering(*args: Any) -> R:
        try:
            return quick(*args)
        except TypeError:  # an unhashable argument, or a wrong one: then it is raised again below
            pass
        return resolve(*args)

    return remembering


def expect_shape(who: str, what: str, array: Array, shape: tuple[int, ...]) -> None:
    """ValueError unless `array` has exactly this shape."""
    if array.shape != shape:
        raise ValueError(f"{who} expects {what} of shape {shape}, got {array.shape}")


def rows(x: Array) -> Array:
    """x (N, …, C) as (M, C)"""
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
