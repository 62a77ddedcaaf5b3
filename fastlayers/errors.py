"""What an error says about where it happened: a note for each layer that it passes through."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastlayers.layer import Layer


def add_note(error: BaseException, note: str) -> None:
    """Add a line to what is shown of an error; Python 3.10 can do so only in the message itself."""
    if hasattr(error, "add_note"):
        error.add_note(note)
    elif type(error).__str__ is Exception.__str__ and len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (f"{error.args[0]}\n{note}",)


def explain(error: Exception, outer: Layer, name: str, layer: Layer, place: str, what: str) -> None:
    """Note that `layer`, which is `name` in `outer`, failed doing `what`; the error's path grows by that name."""
    inside: str = getattr(error, "layer_path", "")
    path = f"{name}/{inside}" if inside else name
    nested = f" [{outer.name}/{path}]" if inside else ""
    add_note(error, f"in {name} ({type(layer).__name__}, {place}): {what}{nested}")
    _mark(error, layer=outer, layer_path=path)


def leaving(error: Exception, layer: Layer, what: str, value: Any) -> None:
    """The error leaves `layer`. If it came out of a layer inside, say which one that is, by its path."""
    inner: Layer | None = getattr(error, "layer", None)
    if inner is layer:  # it has been explained, or comes through super()
        return
    for path, item in layer._walk("", set()) if inner is not None else ():
        if item is inner:
            explain(error, layer, path.rstrip("/"), inner, f"inside {layer.name}", getattr(error, "layer_doing", what))
            break
    _mark(error, layer=layer, layer_doing=f"{what}, {shape_of(value)}")


def _mark(error: Exception, **facts: Any) -> None:
    """Remember facts on the error; one that refuses attributes stays as it is."""
    with suppress(AttributeError, TypeError):
        for name, fact in facts.items():
            setattr(error, name, fact)


def shape_of(value: Any) -> str:
    """ "shape (5, 8)", "shapes (5, 8), (5, 3)" for a tuple, or the type of what has no shape."""
    if isinstance(value, tuple) and value and all(isinstance(part, np.ndarray) for part in value):
        return "shapes " + ", ".join(str(part.shape) for part in value)
    return f"shape {value.shape}" if isinstance(value, np.ndarray) else f"of type {type(value).__name__}"
