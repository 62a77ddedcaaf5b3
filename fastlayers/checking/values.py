"""What goes into a layer and comes out, as lists of arrays: it may be one array or a tuple of several."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastlayers.checks import Array


def parts(value: Any) -> list[Any]:
    """The arrays of an input or output, in order."""
    return list(value) if isinstance(value, tuple) else [value]


def labels(what: str, value: Any) -> list[str]:
    """A name for each of the `parts` of value: "dx", or "dx[0]", "dx[1]", …"""
    return [f"{what}[{i}]" for i in range(len(value))] if isinstance(value, tuple) else [what]


def like(value: Any, arrays: list[Any]) -> Any:
    """The inverse of `parts`: a tuple if value is one."""
    return tuple(arrays) if isinstance(value, tuple) else arrays[0]


def copied(value: Any) -> Any:
    return like(value, [np.array(part) for part in parts(value)])


def vector(value: Any) -> Array:
    """All numbers of value in one float64 array of its own."""
    return np.concatenate([np.array(part, np.float64).ravel() for part in parts(value)])


def arrays_in(value: Any) -> Iterator[Array]:
    """Every array in a cache, however deep in tuples, lists, dicts and plain objects."""
    stack, seen = [value], set()
    while stack:
        item = stack.pop()
        if isinstance(item, np.ndarray):
            yield item
        elif id(item) not in seen:
            seen.add(id(item))
            stack += _members(item)


def _members(item: Any) -> list[Any]:
    if isinstance(item, (tuple, list)):
        return list(item)
    if isinstance(item, dict):
        return list(item.values())
    return list(getattr(item, "__dict__", {}).values()) if not callable(item) else []


@dataclass(frozen=True)
class Difference:
    """Where two arrays are furthest apart, in units of what is allowed."""

    index: tuple[int, ...]
    got: float
    expected: float
    count: int  # of entries that are too far apart
    size: int

    def describe(self, what: str, source: str) -> str:
        at = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        few = f"; {self.count} of {self.size} entries differ" if self.size > 1 else ""
        return f"{what}{at} is {self.got:.9g}, {source} is {self.expected:.9g}{few}"


def difference(got: Any, expected: Any, tolerance: Any = 0.0) -> Difference | None:
    """The worst of the entries that differ by more than `tolerance`; NaN equals NaN. Shapes are equal."""
    got, expected = np.asarray(got), np.asarray(expected)
    if not got.size:
        return None
    with np.errstate(all="ignore"):
        equal = (got == expected) | (np.isnan(got) & np.isnan(expected))
        distance = np.where(equal, 0.0, abs(got.astype(np.float64) - expected) - tolerance)
    distance = np.nan_to_num(distance, nan=np.inf, posinf=np.inf)
    if not (distance > 0).any():
        return None
    index = tuple(int(i) for i in np.unravel_index(int(distance.argmax()), distance.shape))
    return Difference(index, float(got[index]), float(expected[index]), int((distance > 0).sum()), got.size)


def is_float(array: Any) -> bool:
    """Whether there is a gradient for it."""
    return bool(getattr(array, "dtype", None) is not None and array.dtype.kind == "f")


def typical(value: Array) -> float:
    """The root of the mean square; 1 if that is 0 or there are no numbers."""
    return float(np.sqrt(np.mean(np.square(value, dtype=np.float64)))) or 1.0 if value.size else 1.0
