"""Does a call leave traces, on what it was given or on the layer?"""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np

from fastlayers.checking.causes import Cause, cause
from fastlayers.checking.copies import changed_attributes, clone
from fastlayers.checking.findings import Findings
from fastlayers.checking.subject import Subject, restore, state
from fastlayers.checking.values import arrays_in, copied, labels, parts
from fastlayers.comparison import same_bits
from fastlayers.layer import Layer

# what may change in a layer that draws random numbers
RANDOM = (
    *(np.random.Generator, np.random.BitGenerator, np.random.RandomState, np.random.SeedSequence),
    *(random.Random, int, np.integer, itertools.count),
)


def check_unchanged(subject: Subject, found: Findings) -> None:
    """Two steps on the same x and dy leave x, dy and their caches as they were, and the trainable weights."""
    for training in (True, False):
        layer, x = subject.fresh(subject.dtype), subject.x(subject.dtype)
        for parameter in layer.parameters():
            parameter.value *= 1.5  # a layer that has brought them in order already would do it again
        x_before, weights = copied(x), state(layer)
        y, cache = layer.forward(x, training=training)
        _unchanged(found, "x", x_before, x, "forward", cause("x modified"))
        dy = subject.dy(layer, y)
        dy_before, kept = copied(dy), [(array, array.copy()) for array in arrays_in(cache)]
        layer.backward(dy, cache)
        spoilt = [now for now, before in kept if not same_bits(now, before)]
        again, cache_again = layer.forward(copied(x_before), training=training)
        layer.backward(subject.dy(layer, again), cache_again)  # adds to what the first one may have kept of dy
        _unchanged(found, "dy", dy_before, dy, "backward", cause("dy modified"))
        _unchanged(found, "x", x_before, x, "backward", cause("x modified"))
        if spoilt and not found.row.failures:
            found.fail(f"backward changes the cache, an array of shape {spoilt[0].shape}", cause("cache modified"))
        _weights_kept(found, layer, weights, training)
        if found.row.failures:
            return


def _unchanged(found: Findings, what: str, before: Any, now: Any, culprit: str, likely: Cause) -> None:
    if found.row.failures:
        return
    for label, a, b in zip(labels(what, now), parts(now), parts(before), strict=True):
        if not same_bits(a, b):
            found.same(f"after {culprit}, {label}", a, b, 0.0, "before, it", likely)
            return


def _weights_kept(found: Findings, layer: Layer, before: dict[str, Any], training: bool) -> None:
    for name, parameter in layer.named_parameters().items():
        if not same_bits(parameter.value, before[name]):
            if parameter.declared_trainable:
                found.fail(f"forward or backward changes the trainable weight {name}", cause("weight modified"))
            elif not training:
                found.fail(f"forward(x, training=False) changes {name}", cause("state modified in inference"))


def check_repeat(subject: Subject, found: Findings) -> None:
    """The same call gives the same bits again; in training, random numbers may differ."""
    for training in (False, True):
        layer, x = subject.fresh(subject.dtype), subject.x(subject.dtype)
        before, weights = clone(layer), state(layer)
        first = subject.step(layer, x, training)
        restore(layer, weights)
        again = subject.step(layer, x, training)
        if not first.equals(again) and not _explained(subject, found, before, layer, training):
            return


def _explained(subject: Subject, found: Findings, before: Layer, after: Layer, training: bool) -> bool:
    """Whether results that differ come from random numbers of the layer's own; a failure if not."""
    x = subject.x(subject.dtype)
    copies = [subject.step(clone(before), x, training) for _ in range(2)]
    changed = changed_attributes(before, after)
    names = f"calls change {', '.join(changed)}" if changed else ""
    what = f"forward(x, training={training}) and backward give other results when called again"
    if not copies[0].equals(copies[1]):
        found.fail(f"{what}, even on copies of the layer", cause("random numbers from outside"))
    elif not changed or not all(isinstance(value, RANDOM) for value in changed.values()):
        found.fail(what, cause("state between calls", names))
    elif not training:
        found.fail(what, cause("state modified in inference", names))
    else:
        found.row.note = f"random in training: {names}"
        return True
    return False
