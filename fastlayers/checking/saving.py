"""Can the layer be made again, from its configuration and its weights?"""

from __future__ import annotations

import json
import re

from fastlayers.checking.causes import Cause, cause
from fastlayers.checking.copies import changed_attributes, clone
from fastlayers.checking.findings import Findings, Unsettled
from fastlayers.checking.subject import Subject
from fastlayers.checking.values import copied, difference, labels, parts
from fastlayers.comparison import rounding
from fastlayers.layer import Layer


def check_configuration(subject: Subject, found: Findings) -> None:
    """get_config, through JSON, and from_config make a layer with the same configuration and output shape."""
    layer = clone(subject.given)
    try:
        config = json.loads(json.dumps(layer.get_config()))
        again = type(layer).from_config(config)
    except Exception as error:
        found.raised(error, "get_config and from_config", "argument not stored")
        return
    if type(again) is not type(layer):
        found.fail(f"from_config makes a {type(again).__name__}, expected a {type(layer).__name__}")
        return
    back = json.loads(json.dumps(again.get_config()))
    if back != config:
        keys = [key for key in {**config, **back} if config.get(key) != back.get(key)]
        shown = "; ".join(f"{key} was {config.get(key)!r}, is {back.get(key)!r}" for key in keys)
        found.fail(f"the configuration changes on its way through from_config: {shown}", cause("argument not stored"))
        return
    declared, now = layer.compute_output_shape(subject.shape), again.compute_output_shape(subject.shape)
    if declared != now:
        message = f"the output shape is {now} after from_config, before it was {declared}"
        found.fail(message, cause("argument not stored"))


def check_weights(subject: Subject, found: Findings) -> None:
    """A layer that is made from the configuration has the same weights; with their values, the same y."""
    try:
        again = _made_again(subject)
    except Exception:
        raise Unsettled("the layer cannot be made again, see the check configuration") from None
    original = subject.fresh(subject.dtype)
    x = subject.x(subject.dtype)
    values = {name: parameter.value for name, parameter in original.named_parameters().items()}
    mine = {name: parameter.shape for name, parameter in again.named_parameters().items()}
    if mine != {name: value.shape for name, value in values.items()}:
        expected = {name: value.shape for name, value in values.items()}
        message = f"a layer made from the configuration has weights {mine}, expected {expected}"
        found.fail(message, cause("argument not stored"))
        return
    for name, parameter in again.named_parameters().items():
        parameter.value = values[name]
    y = original.forward(copied(x), training=False)[0]
    restored = again.forward(copied(x), training=False)[0]
    for label, a, b in zip(labels("y", y), parts(restored), parts(y), strict=True):
        if a.shape != b.shape or difference(a, b, rounding(b, b.dtype)) is not None:
            likely = _what_is_missing(subject, original, again)
            found.same(f"after configuration and weights are read back, {label}", a, b, 0.0, "before it", likely)
            return
    found.row.note = ", ".join(f"{name} {shape}" for name, shape in mine.items())


def _made_again(subject: Subject) -> Layer:
    again: Layer = type(subject.given).from_config(json.loads(json.dumps(subject.given.get_config())))
    again.dtype = subject.dtype
    again.build(subject.shape)
    again.forward(subject.x(subject.dtype), training=False)  # builds what is built on first use
    return again


def _what_is_missing(subject: Subject, original: Layer, again: Layer) -> Cause:
    """An argument, if attributes differ as soon as the layer is made; else state."""
    made = type(subject.given).from_config(json.loads(json.dumps(subject.given.get_config())))
    for name, one, other in (
        ("argument not stored", subject.given, made),
        ("state outside the weights", original, again),
    ):
        changed = [path for path in changed_attributes(one, other) if not _is_bookkeeping(path)]
        if changed and not (one.built and not other.built):
            return cause(name, f"different now: {', '.join(changed)}")
    return cause("state outside the weights")


def _is_bookkeeping(path: str) -> bool:
    """Whether an attribute is the library's own, which may differ."""
    return not _OWN.isdisjoint(re.split(r"[/.]", path))


_OWN = {"_arguments", *Layer.__annotations__}
