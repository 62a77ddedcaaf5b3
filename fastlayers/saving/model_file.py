"""A whole model in one file: its configuration and weights, and the proof that it comes back."""

from __future__ import annotations

import math
import os
from io import BufferedRandom, BufferedReader
from typing import Any

import numpy as np

from fastlayers import initializers
from fastlayers.checks import Array
from fastlayers.layer import Layer
from fastlayers.protocol import Shape
from fastlayers.saving.atomic import replacing
from fastlayers.saving.configuration import Maker, check_document, describe_layers
from fastlayers.saving.content import Content, write_content
from fastlayers.saving.errors import FileFormatError, about
from fastlayers.saving.safetensors import open_to_read
from fastlayers.saving.states import adopt_dtypes, describe_states, frozen_weights, restore_frozen, restore_states
from fastlayers.saving.strict_json import dump, parse
from fastlayers.saving.weights_file import arrays_of, compare


def save(model: Layer, path: str | os.PathLike[str], x: Any = None) -> None:
    """Write a model, or any layer that is built, to one safetensors file, and prove that it comes back.

    Before the file appears at `path`, the model in it is made anew from what is on disk, and its
    configuration, weights and outputs are compared with those of `model`, bit by bit. The outputs are those
    for `x`, by default two random examples. Outputs of a model that does not repeat its own are compared in
    shape and dtype only.

    Raises TypeError or ValueError for a model that cannot be written down, RuntimeError for one that does
    not come back; then the file that was at `path` before stays.
    """
    if not isinstance(model, Layer):
        raise TypeError(f"save expects a layer or a model, got {type(model).__name__}")
    if not model.built:
        raise RuntimeError(
            f"{model.name} is not built yet, so there is nothing to save: call build(input_shape), or pass it a batch"
        )
    description, arrays = _described(model), arrays_of(model)
    with replacing(path) as file:
        write_content(file, arrays, description)
        file.flush()
        file.seek(0)
        try:
            again = _read(file)
        except FileFormatError as error:
            raise RuntimeError(f"{model.name} is not saved, for it would not come back: {error}") from error
        difference = _difference(model, again, description, x)
        if difference:
            raise RuntimeError(f"{model.name} is not saved, for it would come back changed: {difference}")


def load(path: str | os.PathLike[str]) -> Any:
    """The model in a file that `save` wrote.

    Nothing in the file is run: classes are found by the names under which this process knows them, and made
    with their own `from_config`. FileFormatError for any file that is not whole and right; if it needs
    classes that are not defined here, the message says which and where they were.
    """
    with about(path), open_to_read(path) as file:
        return _read(file)


def _described(model: Layer) -> str:
    table, place = describe_layers(model)
    states, frozen = describe_states(model), frozen_weights(model)
    return dump({"layers": table, "model": place, "states": states, "frozen": frozen})


def _read(file: BufferedReader | BufferedRandom) -> Layer:
    content = Content(file)
    if content.model is None:
        raise FileFormatError("it holds weights without a model: make the model, then call its load_weights(path)")
    document = check_document(parse(content.model, "its model"))
    maker = Maker(document["layers"])
    try:
        with initializers.instead(_Room(content.elements)):
            model: Layer = maker.layers()[document["model"]]
            _restore_states(model, document["states"], maker)
        adopt_dtypes(model, {name: entry.dtype for name, entry in content.entries.items()})
        restore_frozen(model, document["frozen"])
        parameters = model.named_parameters()
    except FileFormatError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}{maker.moved()}"
        raise FileFormatError(f"its model cannot be made again: {what}") from error
    report = compare(model.name, parameters, content.entries)
    if not report.complete:
        raise FileFormatError("its weights do not fit its model:\n  " + "\n  ".join(report.lines) + maker.moved())
    content.read({name: parameter.value for name, parameter in parameters.items()})
    return model


def _restore_states(model: Layer, states: dict[str, Any], maker: Maker) -> None:
    """`restore_states`; its error says, too, which classes are other ones now, for theirs are the default names."""
    try:
        restore_states(model, states)
    except FileFormatError as error:
        raise FileFormatError(f"{error}{maker.moved()}") from error


class _Room:
    """Zeros for the weights to come, as many as the file has elements and no more."""

    def __init__(self, elements: int) -> None:
        self.left = elements

    def __call__(self, who: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        self.left -= math.prod(shape)
        if self.left < 0:
            raise FileFormatError(f"its model has more weights than the file has: {who} asks for {shape}")
        return np.zeros(shape, dtype)


def _difference(model: Layer, again: Layer, description: str, x: Any) -> str | None:
    """In what `again`, made from `description`, is not `model`; None if it is the same in everything."""
    if type(again) is not type(model):
        return f"it is a {type(again).__name__}, not a {type(model).__name__}"
    now = _described(again)
    if now != description:
        return f"its configuration is other from here on: {_first_difference(description, now)}"
    originals = model.named_parameters()
    for name, parameter in again.named_parameters().items():
        if not np.array_equal(_bits(parameter.value), _bits(originals[name].value)):
            return f"the weight {name} is another; was the model trained meanwhile?"
    return _difference_of_outputs(model, again, x)


def _bits(array: Array) -> Array:
    return array.reshape(-1).view(np.uint32)


def _first_difference(text: str, other: str) -> str:
    place = next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
    start = max(place - 40, 0)
    return f"…{text[start : place + 40]}… is now …{other[start : place + 40]}…"


def _difference_of_outputs(model: Layer, again: Layer, x: Any) -> str | None:
    with np.errstate(all="ignore"):
        if x is None:
            x = _examples(model)
        y, y_again = model(x), again(x)
        if _same(y, y_again) or (not _same(y, model(x)) and _layout(y) == _layout(y_again)):
            return None
    return f"outputs are {_layout(y_again)}, not {_layout(y)}, or other numbers"


def _examples(model: Layer) -> Any:
    """Two random examples that the model takes, of its own dtype or the other one."""
    failure: Exception | None = None
    for dtype in dict.fromkeys((model.dtype, "float32", "float64")):
        x = _random(model._built_for or (), dtype)
        try:
            model(x)
            return x
        except Exception as error:
            failure = failure or error
    raise RuntimeError(
        f"{model.name} is not saved: it fails on random inputs ({type(failure).__name__}: {failure}). Call save "
        "with x=, a batch of inputs that it takes"
    ) from failure


def _random(shape: Shape, dtype: str) -> Any:
    if shape and isinstance(shape[0], tuple):
        return tuple(_random(part, dtype) for part in shape)
    return np.random.default_rng(0).standard_normal((2, *shape)).astype(dtype)


def _same(y: Any, other: Any) -> bool:
    if isinstance(y, tuple):
        return isinstance(other, tuple) and len(y) == len(other) and all(map(_same, y, other))
    return _layout(y) == _layout(other) and np.array_equal(y, other, equal_nan=True)


def _layout(y: Any) -> str:
    """Shape and dtype, in words."""
    if isinstance(y, tuple):
        return f"({', '.join(map(_layout, y))})"
    return f"{y.shape} {y.dtype}"
