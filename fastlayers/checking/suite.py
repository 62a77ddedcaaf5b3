"""`check_layer`: every check in turn, on copies of the layer."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from fastlayers.checking.backends import check_backends
from fastlayers.checking.calls import check_interleaved_calls, check_threads
from fastlayers.checking.findings import Findings, Unsettled
from fastlayers.checking.forms import check_dtypes, check_gradient_shapes, check_output_shape, check_run
from fastlayers.checking.gradients import check_every_weight, check_input_gradient, check_weight_gradients
from fastlayers.checking.precision import check_float32
from fastlayers.checking.report import CheckError, Report, Row
from fastlayers.checking.saving import check_configuration, check_weights
from fastlayers.checking.state import check_repeat, check_unchanged
from fastlayers.checking.subject import Inputs, Subject
from fastlayers.checking.use import check_accumulation, check_frozen, check_memory_layouts, check_shortcuts
from fastlayers.layer import Layer
from fastlayers.shapes import positive_int

Check = Callable[[Subject, Findings], None]

CHECKS: dict[str, Check] = {
    "run": check_run,
    "output_shape": check_output_shape,
    "gradient_shapes": check_gradient_shapes,
    "dtypes": check_dtypes,
    "unchanged": check_unchanged,
    "repeat": check_repeat,
    "interleaved_calls": check_interleaved_calls,
    "threads": check_threads,
    "memory_layouts": check_memory_layouts,
    "input_gradient": check_input_gradient,
    "weight_gradients": check_weight_gradients,
    "every_weight": check_every_weight,
    "accumulation": check_accumulation,
    "shortcuts": check_shortcuts,
    "frozen": check_frozen,
    "configuration": check_configuration,
    "weights": check_weights,
    "float32": check_float32,
    "backends": check_backends,
}
LONGEST = 100  # characters of a layer's repr that open a report


def check_layer(
    layer: Layer,
    input_shape: Any = None,
    *,
    inputs: Inputs | None = None,
    batch_size: int | None = None,
    checks: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    perturb: bool = True,
    tolerance: float = 1e-6,
    seed: int = 0,
    raise_on_failure: bool = True,
) -> Report:
    """Does a layer keep its contract? Raises CheckError naming what is wrong, where, and the likely cause.

    layer             built or not; copies of it are tested, and it stays as it is
    input_shape       of one example, or a tuple of shapes for several inputs; by default what it was built for
    inputs            (rng, shape, dtype) -> x, for a layer that is not made for all numbers; shape has the batch
                      axis. By default x is drawn from a normal distribution
    batch_size        by default one that no axis of x and y has
    checks, skip      names of the checks to run, of `CHECKS`, and to leave out
    perturb           move the trainable weights a little first, for zeros and ones hide mistakes
    tolerance         how far gradients may be off, relative to their size; for a forward that only converges
    seed              of all random numbers here
    raise_on_failure  False: return the report, whatever it says

    Forward and backward run in float32 and float64 and in both modes. Gradients are compared with differences in
    float64, along random directions and, where they are small, entry by entry. A point with a kink or a tie
    nearby is drawn anew, then moved off what `inputs` gave; where forward refuses that (an input that must be
    whole numbers), the report says "not checked". A layer that draws random numbers keeps their generator or
    counter in an attribute; each forward then runs on a copy in the same state, so that the numbers are the same
    and the slope is well-defined.

    A layer whose gradient is not meant to be that of its forward (straight-through, reversed) skips
    "input_gradient".
    """
    names = _chosen(layer, checks, skip)
    shape = _shape_of(layer, input_shape)
    if batch_size is not None:
        positive_int("check_layer", "batch_size", batch_size)
    start = time.perf_counter()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        rows = _run(layer, (shape, inputs, batch_size, seed, perturb, tolerance), names)
    shown = repr(layer) if len(repr(layer)) <= LONGEST else f"{layer.name} ({type(layer).__name__})"
    report = Report(f"{shown} on input shape {shape}", rows, time.perf_counter() - start)
    if raise_on_failure and not report.ok:
        raise CheckError(report)
    return report


def _run(layer: Layer, options: tuple[Any, ...], names: list[str]) -> list[Row]:
    """A row for each check. If the layer does not even run, the others say so."""
    first = Findings("run")
    try:
        subject = Subject(layer, *options)
        check_run(subject, first)
    except Exception as error:
        first.raised(error, "build, compute_output_shape or forward")
    rows = [first.row] if "run" in names or first.row.failures else []
    for name in names:
        if name == "run":
            continue
        if first.row.failures:
            rows.append(Row(name, unsettled="the layer does not run"))
        else:
            rows.append(_checked(name, subject))
    return rows


def _checked(name: str, subject: Subject) -> Row:
    found = Findings(name)
    try:
        CHECKS[name](subject, found)
    except Unsettled as reason:
        found.row.unsettled = str(reason)
    except Exception as error:
        found.raised(error, "the layer")
    return found.row


def _chosen(layer: Any, checks: Iterable[str] | None, skip: Iterable[str]) -> list[str]:
    if not isinstance(layer, Layer):
        got = f"the class {layer.__name__}" if isinstance(layer, type) else type(layer).__name__
        raise TypeError(f"check_layer expects a Layer object, got {got}")
    wanted, unwanted = (CHECKS if checks is None else tuple(checks)), tuple(skip)
    for name in (*wanted, *unwanted):
        if name not in CHECKS:
            raise ValueError(f"check_layer expects checks out of {', '.join(CHECKS)}, got {name!r}")
    return [name for name in CHECKS if name in wanted and name not in unwanted]


def _shape_of(layer: Layer, input_shape: Any) -> Any:
    shape = layer._built_for if input_shape is None else input_shape
    if shape is None:
        raise TypeError(f"check_layer expects the input_shape of {layer.name}, which is not built yet")
    return shape
