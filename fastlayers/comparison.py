"""Is this what the reference computes? Results of one call of an op, in float64, or of a user's kernel against its
NumPy twin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlayers import backend
from fastlayers.cases import TABLE

Array = NDArray[Any]
Arguments = tuple[Any, ...]


class VerificationError(AssertionError):
    """A compiled op and its reference disagree."""


class Expected(NamedTuple):
    """What the reference makes of one call, and how far from it a result of `dtype` may lie."""

    op: str
    inputs: str  # their shapes and dtype
    dtype: np.dtype[Any]
    names: tuple[str, ...]  # of the results
    results: list[Any]
    bounds: list[Any]


def snapshot(args: Arguments) -> Arguments:
    """The same arguments with copies of all arrays."""
    return tuple(arg.copy() if isinstance(arg, np.ndarray) else arg for arg in args)


def compare(op: str, before: Arguments, args: Arguments, result: Any) -> None:
    """Raise VerificationError unless `result`, or what op wrote into `args`, is what the reference makes of
    `before`.

    before    a snapshot of the arguments, taken before the call
    args      the arguments themselves: those that the op does not write must be unchanged
    """
    check_inputs(op, before, args, TABLE[op].written)
    judge(expect(op, before), outcome(op, args, result))


def expect(op: str, args: Arguments, exact: bool = False) -> Expected:
    """Run the reference on copies of `args`; `exact` results must be equal, once rounded to the dtype."""
    cases = TABLE[op]
    dtype = next(arg.dtype for arg in args if isinstance(arg, np.ndarray) and arg.dtype.kind == "f")
    dtype = dtype.newbyteorder("=")
    wide = snapshot(args) if cases.own_dtype else tuple(_widened(arg) for arg in args)
    working = snapshot(wide)
    results = outcome(op, working, backend.OPS[op].reference(*working))
    if exact or cases.own_dtype:
        bounds = [None if result is None else 0.0 for result in results]
    else:
        with np.errstate(all="ignore"):
            bounds = [_rounded_up(bound, dtype) for bound in cases.bounds(wide, results, precision(dtype))]
    return Expected(op, shapes(args), dtype, cases.returns, results, bounds)


def shapes(args: Arguments) -> str:
    """Shapes of the arrays, and their dtype."""
    arrays = [arg for arg in args if isinstance(arg, np.ndarray)]
    return f"{' '.join(str(array.shape) for array in arrays)} {arrays[0].dtype}" if arrays else "no arrays"


def precision(dtype: np.dtype[Any]) -> float:
    """eps of the dtype; twice that where the reference is no more precise than what it judges."""
    return float(np.finfo(dtype).eps) * (2 if dtype == np.float64 else 1)


def outcome(op: str, args: Arguments, result: Any) -> list[Any]:
    """The results of a call, in the order of `OpCases.returns`; of an op in place, what it wrote."""
    if TABLE[op].written:
        return [args[position] for position in TABLE[op].written]
    return list(result) if isinstance(result, tuple) else [result]


def check_inputs(op: str, before: Arguments, args: Arguments, written: tuple[int, ...] = ()) -> None:
    """VerificationError if the op changed an argument that is not among those it writes."""
    for position, (was, now) in enumerate(zip(before, args, strict=True)):
        if isinstance(was, np.ndarray) and position not in written and not same_bits(was, now):
            raise VerificationError(f"{op} changed its input number {position}, of shape {was.shape}")


def same_bits(a: Any, b: Any) -> bool:
    """Whether two results are equal to the bit (any NaN is as good as another)."""
    if a is None or b is None:
        return a is b
    a, b = np.asarray(a), np.asarray(b)
    signs = a.dtype.kind != "f" or np.array_equal(np.signbit(a) & (a == 0), np.signbit(b) & (b == 0))
    return a.shape == b.shape and signs and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def judge(expected: Expected, results: list[Any]) -> float:
    """The largest error, in units of its bound; VerificationError if it is more than 1 or a result is
    malformed.
    """
    worst = 0.0
    rows = zip(expected.names, results, expected.results, expected.bounds, strict=True)
    for name, result, reference, bound in rows:
        if result is None or reference is None:
            if result is not reference:
                raise VerificationError(f"{expected.op}: {name} is {result!r}, expected {reference!r}")
            continue
        if isinstance(result, np.ndarray):
            _check_form(expected, name, result, reference)
        worst = max(worst, _largest_error(expected, name, np.asarray(result), np.asarray(reference), bound))
    return worst


def compare_twins(
    who: str, args: Arguments, results: Any, reference: Any, bound: Callable[[Array], Any] | None = None
) -> float:
    """The largest error of a kernel's results in units of what is allowed; VerificationError if it is more than 1, or
    if number, shapes or dtypes of the results are not those of `reference`, what its NumPy twin made of `args`.

    bound   a result of the reference -> how far from it the kernel's may lie; `rounding` by default
    """
    got, wanted = _listed(results), _listed(reference)
    if (type(results) is not type(reference) and tuple in (type(results), type(reference))) or len(got) != len(wanted):
        raise VerificationError(f"{who}: returns {_counted(results)}; expected {_counted(reference)}")
    worst = 0.0
    for index, (result, expected) in enumerate(zip(got, wanted, strict=True)):
        name = f"result[{index}]" if isinstance(reference, tuple) else "result"
        if result is None or expected is None:
            allowed, dtype = None, np.dtype(np.float64)
        else:
            expected, dtype = np.asarray(expected), np.asarray(expected).dtype
            result = _of_form(who, name, result, expected)
            allowed = _allowed(expected, bound)
        worst = max(worst, judge(Expected(who, shapes(args), dtype, (name,), [expected], [allowed]), [result]))
    return worst


def rounding(value: Any, dtype: Any) -> float:
    """What another order of the sums may change in value: many roundings of its largest number."""
    finite = np.asarray(value)[np.isfinite(value)]
    return 256 * float(np.finfo(dtype).eps) * float(abs(finite).max(initial=0.0))


def _allowed(expected: Array, bound: Callable[[Array], Any] | None) -> Any:
    """Nothing where there is nothing to round: whole numbers, infinities and NaN."""
    if expected.dtype.kind != "f":
        return 0.0
    with np.errstate(all="ignore"):
        allowed = rounding(expected, expected.dtype) if bound is None else bound(expected)
        return np.where(np.isfinite(expected), allowed + float(np.finfo(expected.dtype).tiny), 0.0)


def _of_form(who: str, name: str, result: Any, expected: Array) -> Array:
    """The result as a C-contiguous array; VerificationError unless it has shape and dtype of the expected one."""
    array = np.asarray(result if isinstance(result, (np.ndarray, np.generic, bool, int, float)) else None)
    if array.shape != expected.shape or array.dtype != expected.dtype:
        raise VerificationError(
            f"{who}: {name} is {_described(result)}; expected {expected.dtype} of shape {expected.shape}"
        )
    return np.asarray(array, order="C")


def _described(result: Any) -> str:
    return f"{result.dtype} of shape {result.shape}" if hasattr(result, "dtype") else f"of type {type(result).__name__}"


def _listed(results: Any) -> list[Any]:
    return list(results) if isinstance(results, tuple) else [results]


def _counted(results: Any) -> str:
    return f"a tuple of {len(results)}" if isinstance(results, tuple) else f"{_described(results)}"


def _check_form(expected: Expected, name: str, result: Array, reference: Array) -> None:
    """Shape, dtype and layout of a result."""
    dtype = expected.dtype if reference.dtype.kind == "f" else reference.dtype
    if result.shape != reference.shape or result.dtype != dtype or not result.flags.c_contiguous:
        raise VerificationError(
            f"{expected.op}: {name} is {result.dtype} of shape {result.shape}, strides {result.strides}; "
            f"expected C-contiguous {dtype} of shape {reference.shape}"
        )


def _largest_error(expected: Expected, name: str, result: Array, reference: Array, bound: Any) -> float:
    """max |result - reference| / bound; no error where the two are equal once rounded, or both NaN."""
    if not result.size:
        return 0.0
    with np.errstate(all="ignore"):
        rounded = reference.astype(expected.dtype) if reference.dtype.kind == "f" else reference
        equal = (result == rounded) | (np.isnan(result) & np.isnan(rounded)) | np.isposinf(bound)
        error = np.where(equal, 0.0, abs(result.astype(np.float64) - reference) / bound)
    error = np.nan_to_num(error, nan=np.inf, posinf=np.inf)
    index = np.unravel_index(int(error.argmax()), error.shape)
    if error[index] > 1:
        at = ", ".join(str(i) for i in index)
        allowed = np.broadcast_to(bound, error.shape)[index]
        raise VerificationError(
            f"{expected.op}: {name}[{at}] is {result[index]!r}, the reference says {reference[index]!r}; "
            f"they may differ by {allowed:.3g}; {np.count_nonzero(error > 1)} of {error.size} differ by more "
            f"(inputs {expected.inputs})"
        )
    return float(error[index])


def _widened(arg: Any) -> Any:
    """Floating arrays as float64."""
    if isinstance(arg, np.ndarray) and arg.dtype.kind == "f":
        return arg.astype(np.float64)
    return arg


def _rounded_up(bound: Any, dtype: np.dtype[Any]) -> Any:
    """A bound plus what underflow may cost; without limit where the terms of a sum overflow the dtype."""
    if bound is None:
        return None
    limits = np.finfo(dtype)
    overflow = np.asarray(bound) >= limits.max * limits.eps
    return np.where(overflow, np.inf, bound + float(limits.tiny))
