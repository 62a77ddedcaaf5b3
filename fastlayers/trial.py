"""A compiled function on trial: one call of it beside its NumPy twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastlayers._kernels.arguments import prepare
from fastlayers.comparison import VerificationError, check_inputs, compare_twins, snapshot

Arguments = tuple[Any, ...]


def check_reference(who: str, value: Any) -> None:
    """TypeError unless the NumPy function returned an array, a number or a tuple of such."""
    for part in value if isinstance(value, tuple) else (value,):
        if not (part is None or isinstance(part, (np.ndarray, np.generic, bool, int, float))):
            raise TypeError(f"{who}: expected the NumPy function to return arrays, got {type(part).__name__}")


def trial(
    name: str,
    compiled: Callable[..., Any],
    given: Arguments,
    expected: Any,
    bound: tuple[float, float] | None,
) -> tuple[Any, float]:
    """The compiled function's result, and its largest error in units of what is allowed.

    name       of the compiled function, which opens every message
    given      what the NumPy function got; the compiled one gets copies, so that it can spoil nothing
    expected   what the NumPy function returned
    bound      rtol and atol, or None for the rounding of sums

    Raises VerificationError where the two disagree, and whatever the compiled function raises.
    """
    own = prepare(snapshot(given), ("",) * len(given), 0)[1]
    result = compiled(*own)
    check_inputs(name, given, own)
    if bound is None:
        return result, compare_twins(name, given, result, expected)
    rtol, atol = bound
    return result, compare_twins(name, given, result, expected, lambda value: atol + rtol * abs(value))


def reason(name: str, problem: Exception) -> str:
    """Why a function whose trial ended so is not used."""
    if isinstance(problem, VerificationError):
        return str(problem)
    hint = "; inputs are not to be written to: declare them const" if "read-only" in str(problem) else ""
    return f"{name} raises {type(problem).__name__}: {problem}{hint}"
