"""Copies of layers: what a check does to one, the next does not see, and random numbers can be replayed."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from fastlayers.layer import Layer, Parameter


def clone(layer: Layer) -> Layer:
    """A copy that shares nothing with `layer` but what cannot be copied, such as locks and C functions."""
    try:
        return copy.deepcopy(layer)
    except Exception:  # whatever an attribute's own way of copying raises
        return _piece_by_piece(layer)


def _piece_by_piece(layer: Layer) -> Layer:
    originals = [item for _, item in layer._walk("", set()) if isinstance(item, Layer)]
    memo: dict[int, Any] = {id(original): object.__new__(type(original)) for original in originals}
    for original in originals:
        for name, value in vars(original).items():
            try:
                mine = copy.deepcopy(value, memo)
            except Exception:
                mine = value
            vars(memo[id(original)])[name] = mine
    twin: Layer = memo[id(layer)]
    return twin


def changed_attributes(before: Layer, after: Layer) -> dict[str, Any]:
    """What is not as it was in the attributes of a layer and of those in it: path -> value now. Weights are left out.

    `before` is a clone of `after`, made earlier.
    """
    changed: dict[str, Any] = {}
    for (path, was), (_, now) in zip(before._walk("", set()), after._walk("", set()), strict=False):
        if isinstance(was, Layer) and isinstance(now, Layer):
            _compare_members(vars(was), vars(now), path, changed, {id(now)})
    return changed


def _compare_members(
    was: dict[Any, Any], now: dict[Any, Any], path: str, changed: dict[str, Any], seen: set[int]
) -> None:
    for name, value in now.items():
        if name not in was:
            changed[f"{path}{name}"] = value
        else:
            _compare(was[name], value, f"{path}{name}", changed, seen)


def _compare(was: Any, now: Any, path: str, changed: dict[str, Any], seen: set[int]) -> None:
    """Enter into `changed` whatever differs, going into containers and plain objects."""
    state = next((state for kind, state in _STATES if isinstance(now, kind)), None)
    if type(was) is not type(now):
        changed[path] = now
        return
    if state is not None:
        if state(was) != state(now):
            changed[path] = now
        return
    if id(now) in seen or isinstance(now, (Layer, Parameter, type, ModuleType)):
        return
    seen.add(id(now))
    if isinstance(now, (list, tuple)):
        if len(was) != len(now):
            changed[path] = now
        else:
            _compare_members(dict(enumerate(was)), dict(enumerate(now)), f"{path}/", changed, seen)
    elif isinstance(now, dict):
        _compare_members(was, now, f"{path}/", changed, seen)
    else:
        _compare_members(getattr(was, "__dict__", {}), getattr(now, "__dict__", {}), f"{path}.", changed, seen)


# kind of value -> what is compared of it
_STATES: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (np.ndarray, lambda array: (array.shape, array.dtype.str, array.tobytes())),
    (np.random.Generator, lambda generator: str(generator.bit_generator.state)),
    (np.random.BitGenerator, lambda generator: str(generator.state)),
    (np.random.RandomState, lambda generator: str(generator.get_state())),
    (np.random.SeedSequence, lambda sequence: str(sequence)),
    (random.Random, lambda generator: generator.getstate()),
    ((bool, int, float, complex, str, bytes, type(None), np.generic, itertools.count), repr),
)
