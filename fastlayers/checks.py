"""What may be handed in: plain float32 or float64 arrays in any memory layout and byte order; real numbers.

`who` is the name of the layer or op on whose behalf a value is checked; it opens every message.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastlayers._kernels.runtime import plain_floats

Array = np.ndarray[tuple[Any, ...], np.dtype[Any]]

F32 = np.dtype(np.float32)
F64 = np.dtype(np.float64)


def float_dtype(who: str, dtype: object) -> np.dtype[Any]:
    """The dtype that "float32", np.float64, … stands for; TypeError for all but these two."""
    try:
        found: np.dtype[Any] | None = None if dtype is None else np.dtype(dtype)  # type: ignore[call-overload]
    except TypeError:
        found = None
    if found is not None and found in (F32, F64):
        return found
    raise TypeError(f'{who} expects dtype to be "float32" or "float64", got {dtype!r}')


def axis_number(who: str, axis: object) -> int:
    """`axis` as it is, counted as NumPy does; TypeError unless it is an int."""
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise TypeError(f"{who} expects axis to be an int, got {axis!r}")
    return axis


def feature_axis(who: str, axis: object) -> int:
    """An axis that counts the batch axis as 0, and is another; ValueError for 0."""
    number = axis_number(who, axis)
    if number == 0:
        raise ValueError(f"{who} expects axis other than 0, the batch, got {axis}")
    return number


def native_dtype(x: Array) -> np.dtype[Any]:
    """The dtype of x in this machine's byte order: the one in which results come back."""
    return x.dtype if x.dtype.isnative else x.dtype.newbyteorder("=")


def plain_array(who: str, what: str, value: object) -> Array:
    """`value` as an exact ndarray: views of memory maps and matrices, no masked arrays, no lists."""
    if isinstance(value, np.ma.MaskedArray) or not isinstance(value, np.ndarray):
        raise TypeError(f"{who} expects {what} to be a NumPy array, got {type(value).__name__}")
    return np.asarray(value)


def float_array(who: str, what: str, value: object, dtype: np.dtype[Any] | None = None) -> Array:
    """`value` as an exact ndarray of float32 or float64, or of `dtype` alone; TypeError otherwise."""
    array = plain_array(who, what, value)
    found = native_dtype(array)
    if found == dtype or (dtype is None and found in (F32, F64)):
        return array
    expected = "float32 or float64" if dtype is None else str(dtype)
    advice = "" if dtype is None else _conversion(what, found, dtype)
    raise TypeError(f"{who} expects {what} of dtype {expected}, got {array.dtype}{advice}")


def _conversion(what: str, found: np.dtype[Any], dtype: np.dtype[Any]) -> str:
    """How an array of real numbers gets the layer's dtype."""
    other = f', or give the layer dtype="{found}"' if found in (F32, F64) else ""
    return f': convert it with {what}.astype("{dtype}"){other}' if found.kind in "fiub" else ""


def same_floats(who: str, names: tuple[str, ...], *arrays: Any) -> tuple[Array, ...]:
    """All arrays as exact ndarrays of the first one's dtype, float32 or float64; None stays None."""
    return arrays if plain_floats(*arrays) else _same_floats(who, names, arrays)


def _same_floats(who: str, names: tuple[str, ...], arrays: tuple[Any, ...]) -> tuple[Array, ...]:
    first = float_array(who, names[0], arrays[0])
    dtype = native_dtype(first)
    checked = [first]
    for name, value in zip(names[1:], arrays[1:], strict=True):
        if value is not None:
            value = plain_array(who, name, value)
            if native_dtype(value) != dtype:
                raise TypeError(
                    f"{who} expects one dtype in all its arrays, float32 or float64, "
                    f"got {names[0]} of {dtype} and {name} of {value.dtype}"
                )
        checked.append(value)
    return tuple(checked)


def real(who: str, name: str, value: object, low: float = 0.0, below: float = math.inf) -> float:
    """`value` as a float in [low, below); TypeError for what is no real number, else ValueError."""
    if isinstance(value, (bool, str, bytes)):
        number = None
    else:
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = None
    if number is not None and low <= number < below:
        return number
    expected = f"a finite number >= {low:g}" if below == math.inf else f"a number in [{low:g}, {below:g})"
    raise (TypeError if number is None else ValueError)(f"{who} expects {name} to be {expected}, got {value!r}")


def uint64(who: str, what: str, value: int) -> int:
    """`value` if it is an int in 0 … 2⁶⁴ - 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{who} expects {what} to be an int, got {value!r}")
    if not 0 <= value < 2**64:
        raise ValueError(f"{who} expects {what} in 0 … 2⁶⁴ - 1, got {value}")
    return value
