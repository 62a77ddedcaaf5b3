"""What models do with a layer: add up gradients, take shortcuts, freeze weights, hand over any memory layout."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from fastlayers.cases.layouts import LAYOUTS, lay_out
from fastlayers.checking.causes import Cause, cause
from fastlayers.checking.findings import Findings
from fastlayers.checking.subject import Subject, Trace, backward, collect
from fastlayers.checking.values import copied, difference, labels, like, parts
from fastlayers.comparison import rounding, same_bits


def check_accumulation(subject: Subject, found: Findings) -> None:
    """backward adds to the gradients that are there."""
    subject.require_repeatable()
    layer, x = subject.fresh(subject.dtype), subject.x(subject.dtype)
    alone = subject.step(subject.fresh(subject.dtype), x, True)
    rng = np.random.default_rng([subject.seed, 5])
    there = {}
    for name, parameter in layer.named_parameters().items():
        size = abs(alone.gradients[name]).max(initial=0.0) or 1.0
        there[name] = (size * rng.standard_normal(parameter.shape)).astype(parameter.dtype)
        parameter.grad = there[name]
    both = subject.step(layer, x, True)
    for name, gradient in both.gradients.items():
        expected = there[name] + alone.gradients[name]
        if difference(gradient, expected, rounding(expected, subject.dtype)) is not None:
            lost = same_bits(gradient, alone.gradients[name])
            likely = cause("gradient overwritten") if lost else None
            found.same(f"{name}.grad", gradient, expected, 0.0, "the sum of old and new", likely)
            return


def check_shortcuts(subject: Subject, found: Findings) -> None:
    """layer(x) is the y of forward in inference; backward_parameters gives the gradients of backward."""
    subject.require_repeatable()
    x = subject.x(subject.dtype)
    y = subject.fresh(subject.dtype).forward(copied(x), training=False)[0]
    inferred = subject.fresh(subject.dtype)(copied(x))
    for label, a, b in zip(labels("layer(x)", y), parts(inferred), parts(y), strict=True):
        if not same_bits(a, b):
            found.same(label, a, b, 0.0, "forward(x, training=False)", cause("infer differs"))
            return
    expected = subject.step(subject.fresh(subject.dtype), x, True).gradients
    layer = subject.fresh(subject.dtype)
    y, cache = layer.forward(copied(x), training=True)
    layer._weights_only(subject.dy(layer, y), cache)  # what models call for it
    for name, gradient in collect(layer).items():
        tolerance = rounding(expected[name], subject.dtype)
        source = "the one of backward"
        if not found.same(f"{name}.grad of backward_parameters", gradient, expected[name], tolerance, source):
            return


def check_frozen(subject: Subject, found: Findings) -> None:
    """With trainable=False, y and dx stay as they are; but in training running statistics may stand still."""
    subject.require_repeatable()
    free, frozen = subject.fresh(subject.dtype), subject.fresh(subject.dtype)
    frozen.trainable = False
    x = subject.x(subject.dtype)
    for training in (True, False):
        try:
            trace = subject.step(frozen, x, training)
        except Exception as error:
            found.raised(error, "a step with trainable=False")
            return
        expected = subject.step(free, x, training)._replace(gradients={})
        comparable = not training or all(parameter.declared_trainable for parameter in free.parameters())
        if comparable and not _compare(found, trace, expected, "with trainable=False, {}", "otherwise it", None):
            return


def check_memory_layouts(subject: Subject, found: Findings) -> None:
    """x and dy may lie in memory in any way: Fortran order, strides of either sign, read-only, …"""
    subject.require_repeatable()
    for training in (True, False):
        plain = subject.step(subject.fresh(subject.dtype), subject.x(subject.dtype), training)
        for layout, what in itertools.product(LAYOUTS, ("x", "dy")):
            try:
                trace = _odd_step(subject, training, layout, what)
            except Exception as error:
                if layout == "byteswapped":  # may be refused
                    continue
                modified = layout == "readonly" and "read-only" in str(error)
                found.raised(error, f"a step with {layout} {what}", f"{what} modified" if modified else "memory layout")
                return
            wording = f"with {layout} {what}, {{}}"
            if not _compare(found, trace, plain, wording, "with a plain one it", cause("memory layout")):
                return
    found.row.note = ", ".join(LAYOUTS)


def _odd_step(subject: Subject, training: bool, layout: str, what: str) -> Trace:
    """A step with x or dy in another layout."""
    layer, x = subject.fresh(subject.dtype), subject.x(subject.dtype)
    y, cache = layer.forward(_laid_out(x, layout) if what == "x" else copied(x), training=training)
    y_then, dy = copied(y), subject.dy(layer, y)
    dx = backward(layer, x, _laid_out(dy, layout) if what == "dy" else dy, cache)
    return Trace(y_then, dx, collect(layer))


def _laid_out(value: Any, layout: str) -> Any:
    return like(value, [lay_out(part, layout) for part in parts(value)])


def _compare(found: Findings, trace: Trace, expected: Trace, wording: str, source: str, likely: Cause | None) -> bool:
    """Whether two steps agree but for the order of sums; the first difference is a failure."""
    got = trace.results()
    return all(
        found.same(wording.format(name), got[name], wanted, rounding(wanted, wanted.dtype), source, likely)
        for name, wanted in expected.results().items()
    )
