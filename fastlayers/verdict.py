"""What is known about a compiled function: for which calls it agrees with its NumPy twin, and why not for others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastlayers.settings import isa_name

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the first call of a shape class.

    state        "verified", "refused" or "absent"
    shape_class  the calls it holds for, in words
    function     what runs for them: the compiled function, or the NumPy one
    reason       why it is not the compiled one
    error        largest error of the compiled results, in units of what is allowed
    """

    state: str
    shape_class: str
    function: Callable[..., Any]
    reason: str = ""
    error: float = 0.0

    def __str__(self) -> str:
        detail = f"error {self.error:.2g} of its bound" if self.state == "verified" else self.reason
        return f"{self.state} for {self.shape_class}: {detail}"


def describe(key: Key) -> str:
    """A shape class in words, such as "float32 (2…3, 16…112 by 16), 'same' on avx2"."""
    isa, *arguments = key
    return f"{', '.join(map(_argument, arguments)) or 'no arguments'} on {isa_name(isa)}"


def _argument(part: Any) -> str:
    """An array's dtype and buckets, or the text of a plain value; see `_kernels.arguments.prepare`."""
    if isinstance(part, bytes):
        dtype, sizes = np.dtype(chr(part[0])), ", ".join(map(_sizes, part[1:]))
        return f"{dtype} ({sizes}{',' if len(part) == 2 else ''})"
    if isinstance(part, tuple) and part and isinstance(part[0], type):
        return str(part[1])
    return f"({', '.join(map(_argument, part))})" if isinstance(part, tuple) else str(part)


def _sizes(bucket: int) -> str:
    if bucket < 2:
        return str(bucket)
    first, whole = 1 << (bucket // 2 - 1), bucket % 2
    last = 2 * first - 1
    if whole:
        first, last = max(16, first), max(16, last - 15)
    else:
        first += first >= 16
    return str(first) if first == last else f"{first}…{last}{' by 16' if whole else ''}"
