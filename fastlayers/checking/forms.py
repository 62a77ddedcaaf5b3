"""Does it run, and do shapes and dtypes fit?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastlayers.checking.causes import Cause, cause
from fastlayers.checking.findings import Findings
from fastlayers.checking.subject import DTYPES, Subject
from fastlayers.checking.values import copied, is_float, labels, like, parts

BATCHES = (1, 0)


def check_run(subject: Subject, found: Findings) -> None:
    """forward and backward run in both dtypes and both modes, and give finite arrays."""
    for dtype in DTYPES:
        for training in (True, False):
            during = f"forward(x, training={training}) in {dtype}"
            try:
                layer, x = subject.fresh(dtype), subject.x(dtype)
                y, cache = layer.forward(copied(x), training=training)
                if not _arrays(found, "y", y, during):
                    return
                during = f"backward after {during}"
                dx = layer.backward(subject.dy(layer, y), cache)
            except Exception as error:
                found.raised(error, during)
                return
            if not _dx_form(found, dx, x, during) or not _arrays(found, "dx", dx, during):
                return
    found.row.note = f"x of shape {_shapes(subject.x(subject.dtype))}"


def _dx_form(found: Findings, dx: Any, x: Any, during: str) -> bool:
    """Whether dx is an array or a tuple as x is; None may stand for the gradient of one of several, or of integers."""
    optional = not is_float(x)
    same = isinstance(dx, tuple) == isinstance(x, tuple) and len(parts(dx)) == len(parts(x))
    if (dx is None and optional) or (
        same and all(isinstance(part, np.ndarray) or (part is None and optional) for part in parts(dx))
    ):
        return True
    name = "no gradient" if dx is None else "wrong dx"
    found.fail(f"{during} returns {_form(dx)}, expected dx, {_form(x)} like x", cause(name))
    return False


def _form(value: Any) -> str:
    """What it is: array, (array, array), None, …"""
    if isinstance(value, tuple):
        return f"({', '.join(map(_form, value))})"
    if isinstance(value, np.ndarray):
        return "array"
    return "None" if value is None else type(value).__name__


def _arrays(found: Findings, what: str, value: Any, during: str) -> bool:
    """Whether all parts are arrays of finite numbers; None is none of them."""
    for label, part in zip(labels(what, value), parts(value), strict=True):
        if not isinstance(part, np.ndarray):
            if what == "dx":
                continue
            found.fail(f"{during}: {label} is {_form(part)}, expected an array")
            return False
        wrong = np.argwhere(~np.isfinite(part)).tolist() if is_float(part) else []
        if wrong:
            found.fail(
                f"{during}: {label}{wrong[0]} is {part[tuple(wrong[0])]}; if the layer is not made for all numbers, "
                "give check_layer inputs=function(rng, shape, dtype) that draws x"
            )
            return False
    return True


def check_output_shape(subject: Subject, found: Findings) -> None:
    """compute_output_shape gives the shapes of y, in both modes and for any number of examples."""
    declared = subject.fresh(subject.dtype).compute_output_shape(subject.shape)
    for n in (subject.n, 1):
        for training in (True, False):
            y = subject.fresh(subject.dtype).forward(subject.x(subject.dtype, n=n), training=training)[0]
            real: Any = like(y, [part.shape[1:] for part in parts(y)])
            if any(part.shape[:1] != (n,) for part in parts(y)):
                message = f"y has shape {_shapes(y)} for a batch of {n}: its first axis must be the batch"
                found.fail(message, cause("batch size"))
                return
            if _plain(declared) != _plain(real):
                message = f"compute_output_shape({subject.shape}) is {declared}, y has shape {_shapes(y)}"
                found.fail(f"{message}: expected {real}", _shape_cause(declared, real, n))
                return
    found.row.note = f"{subject.shape} -> {_plain(declared)}"


def _shape_cause(declared: Any, real: Any, n: int) -> Cause:
    try:
        got, expected = np.array(declared).ravel().tolist(), np.array(real).ravel().tolist()
    except ValueError:
        return cause("wrong output shape")
    if got == [n, *expected] or got[:1] == [None]:
        return cause("batch axis in output shape")
    if sorted(map(str, got)) == sorted(map(str, expected)):
        return cause("output axes in another order")
    if all(isinstance(size, int) for size in got) and math.prod(expected) == math.prod(got):
        return cause("wrong output shape", "the number of entries is right")
    return cause("wrong output shape")


def _plain(shape: Any) -> Any:
    return tuple(_plain(entry) for entry in shape) if isinstance(shape, (tuple, list)) else shape


def check_gradient_shapes(subject: Subject, found: Findings) -> None:
    """dx has the shape of x, also for batches of 0 and 1; a batch of 0 leaves all gradients 0."""
    for n in (subject.n, *BATCHES):
        for training in (True, False):
            x, layer = subject.x(subject.dtype, n=n), subject.fresh(subject.dtype)
            try:
                trace = subject.step(layer, x, training)
            except Exception as error:
                found.raised(error, f"a batch of {n}", None if n == subject.n else "batch size" if n else "batch of 0")
                return
            for label, dx, part in zip(labels("dx", x), parts(trace.dx), parts(x), strict=True):
                if dx.shape != part.shape:
                    name = "axes in wrong order" if sorted(dx.shape) == sorted(part.shape) else "wrong dx"
                    found.fail(f"{label} has shape {dx.shape}, expected that of x, {part.shape}", cause(name))
                    return
            if n == 0 and not _nothing_happened(layer, trace.gradients, found):
                return


def _nothing_happened(layer: Any, gradients: dict[str, Any], found: Findings) -> bool:
    """Whether an empty batch left the gradients zero and the state finite."""
    for name, gradient in gradients.items():
        if not np.array_equal(gradient, np.zeros_like(gradient)):
            value = gradient.ravel()[np.flatnonzero(gradient)[0]]
            found.fail(f"a batch of 0 gives {name} a gradient of {value}, expected 0", cause("batch of 0"))
            return False
    for name, parameter in layer.named_parameters().items():
        if not np.isfinite(parameter.value).all():
            found.fail(f"a batch of 0 in training leaves NaN in {name}", cause("batch of 0"))
            return False
    return True


def check_dtypes(subject: Subject, found: Findings) -> None:
    """y and dx have the layer's dtype."""
    for dtype in DTYPES:
        layer = subject.fresh(dtype)
        for training in (True, False):
            x = subject.x(dtype)
            y, cache = layer.forward(x, training=training)
            outputs = list(zip(labels("y", y), parts(y), strict=True))
            dx = layer.backward(subject.dy(layer, y), cache)
            gradients = zip(labels("dx", x), parts(x), parts(dx), strict=True) if dx is not None else ()
            outputs += [(label, part) for label, array, part in gradients if is_float(array) and part is not None]
            for label, part in outputs:
                if part.dtype != dtype:
                    name = "float64 leak" if part.dtype == np.float64 else "float32 leak"
                    likely = cause(name) if part.dtype in (np.float32, np.float64) else None
                    found.fail(f"{label} is {part.dtype}, expected {dtype} as the layer has", likely)
                    return


def _shapes(value: Any) -> str:
    return " and ".join(str(part.shape) for part in parts(value))
