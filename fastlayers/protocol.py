"""What holds for every layer without its author writing it.

Around `build`: once, under a lock, with its seed; around `forward` and `backward`: dtypes checked, weights
there. So a custom layer is its equations and nothing else.
"""

from __future__ import annotations

import functools
import inspect
import operator
import os
import threading
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from fastlayers.debugging import watched_backward, watched_forward
from fastlayers.errors import leaving
from fastlayers.registry import location
from fastlayers.settings import debugging

if TYPE_CHECKING:
    from fastlayers.layer import Layer

Method = Callable[..., Any]
Shape = tuple[Any, ...]  # ints; for several inputs, a tuple of such shapes


class _Builds:
    """The layers being built now, innermost last, and those that were built for their sake.

    One build at a time: they are rare, and so nothing can deadlock.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.under_way: list[Layer] = []
        self.done: list[Layer] = []


builds = _Builds()
if hasattr(os, "register_at_fork"):  # a build in another thread does not go on in the child
    os.register_at_fork(after_in_child=builds.__init__)  # type: ignore[misc]


def building(layer: Layer) -> bool:
    """Whether `layer`'s own build is running."""
    return bool(builds.under_way) and builds.under_way[-1] is layer


def checked_build(build: Method) -> Method:
    """Build once, with a seed. A build that fails leaves no weights, here or in the layers it built."""

    @functools.wraps(build)
    def checked(self: Layer, input_shape: Shape) -> None:
        with builds.lock:
            if building(self):  # super().build(input_shape)
                build(self, input_shape)
                return
            shape = checked_shape(self.name, input_shape)
            if self.built:
                if shape != self._built_for:
                    raise ValueError(f"{self.name} was built for input shape {self._built_for}, not {shape}")
                return
            if self._seed is None:
                self._seed = _seed_of_a_child()
            builds.under_way.append(self)
            done_before = len(builds.done)
            try:
                self._hand_down()
                build(self, shape)
                self._hand_down()
            except BaseException:
                for layer in [*builds.done[done_before:], self]:
                    layer._forget_build()
                del builds.done[done_before:]
                raise
            finally:
                builds.under_way.pop()
            self._built_for, self.built = shape, True
            builds.done.append(self)
            if not builds.under_way:
                builds.done.clear()

    return checked


def _seed_of_a_child() -> np.random.SeedSequence:
    """A seed from the layer within whose build we are; fresh entropy where there is none."""
    if builds.under_way and builds.under_way[-1]._seed is not None:
        seed: np.random.SeedSequence = builds.under_way[-1]._seed.spawn(1)[0]
        return seed
    return np.random.SeedSequence()


def checked_forward(forward: Method) -> Method:
    """Check dtypes, build on first use, see that (y, cache) comes back, and say where an error happened."""

    @functools.wraps(forward)
    def checked(self: Layer, x: Any, training: bool = False) -> tuple[Any, Any]:
        if type(x) is not ndarray or x.dtype is not self._dtype:
            x = self.check_input(x)
        if not self.built:
            self.build_for(x)
        try:
            if debugging:
                return watched_forward(forward, self, x, training)
            result = forward(self, x, training=training)
            if type(result) is not tuple or len(result) != 2:
                raise not_a_pair(self, result)
            return result
        except Exception as error:
            leaving(error, self, "forward", x)
            raise

    return checked


def not_a_pair(layer: Layer, result: Any) -> TypeError:
    """The error for a forward that did not return (y, cache)."""
    return TypeError(f"{type(layer).__name__}.forward must return (y, cache), got {_described(result)}")


def checked_backward(backward: Method) -> Method:
    """Check the dtype of dy."""

    @functools.wraps(backward)
    def checked(self: Layer, dy: Any, cache: Any) -> Any:
        if type(dy) is not ndarray or dy.dtype is not self._dtype:
            dy = self.check_gradient(dy)
        try:
            if debugging:
                return watched_backward(backward, self, dy, cache)
            return backward(self, dy, cache)
        except Exception as error:
            leaving(error, self, "backward", dy)
            raise

    return checked


# method -> what goes around it, and how it is called
_AROUND: dict[str, tuple[Callable[[Method], Method], tuple[str, ...], dict[str, Any]]] = {
    "build": (checked_build, ("self", "input_shape"), {}),
    "compute_output_shape": (lambda method: method, ("self", "input_shape"), {}),
    "forward": (checked_forward, ("self", "x"), {"training": False}),
    "backward": (checked_backward, ("self", "dy", "cache"), {}),
    "backward_parameters": (checked_backward, ("self", "dy", "cache"), {}),
}

# the shorter way, the method it stands for, and the name under which it is called
_SHORTCUTS = (("infer", "forward", "_inference"), ("backward_parameters", "backward", "_weights_only"))


def enforce(cls: type[Layer], base: type[Layer]) -> None:
    """Check the methods of a new layer class and put the library's part around them.

    Raises TypeError, naming class and file, for a forward without a backward and for signatures that cannot
    be called the way the library will.
    """
    if cls.forward is not base.forward and cls.backward is base.backward:
        raise TypeError(
            f"{cls.__name__} ({location(cls)}) defines forward without backward: define "
            "backward(self, dy, cache), which adds to the gradients of its weights and returns dx"
        )
    for name, (around, arguments, keywords) in _AROUND.items():
        method = inspect.getattr_static(cls, name)
        if method is vars(base)[name] or hasattr(method, "__fastlayers__"):
            continue
        _check_signature(cls, name, method, arguments, keywords)
        wrapped = around(method)
        wrapped.__fastlayers__ = True  # type: ignore[attr-defined]
        setattr(cls, name, wrapped)
    _keep_shortcuts_honest(cls, base)


def _keep_shortcuts_honest(cls: type[Layer], base: type[Layer]) -> None:
    """A class that overrides `forward` leaves behind the `infer` it inherits, which would answer without it.

    The same holds for `backward` and `backward_parameters`.
    """
    for shortcut, method, used in _SHORTCUTS:
        newer = next(ancestor for ancestor in cls.__mro__ if shortcut in vars(ancestor) or method in vars(ancestor))
        source = cls if shortcut in vars(newer) else base
        setattr(cls, used, inspect.getattr_static(source, shortcut))


def _check_signature(
    cls: type, name: str, method: object, arguments: tuple[str, ...], keywords: dict[str, Any]
) -> None:
    call = ", ".join((*arguments, *(f"{key}={value}" for key, value in keywords.items())))
    if not isinstance(method, FunctionType):
        raise TypeError(f"{cls.__name__}.{name} ({location(cls)}) must be a plain method {name}({call})")
    try:
        inspect.signature(method).bind(*arguments, **keywords)
    except TypeError as error:
        written = f"{name}{inspect.signature(method)}"
        raise TypeError(
            f"{cls.__name__}.{name} ({location(cls)}) is called as {name}({call}), but it is defined as "
            f"{written}: {error}"
        ) from None


def checked_shape(who: str, shape: Any) -> Shape:
    """An input shape (without the batch axis) as a tuple of ints, or of such tuples for several inputs."""
    if isinstance(shape, (tuple, list)):
        if shape and all(isinstance(entry, (tuple, list)) for entry in shape):
            return tuple(checked_shape(who, entry) for entry in shape)
        try:
            sizes = tuple(operator.index(size) for size in shape)
        except TypeError:
            sizes = (-1,)
        if all(size >= 0 for size in sizes):
            return sizes
    raise TypeError(
        f"{who} expects an input shape: a tuple of ints >= 0, without the batch axis (or a tuple of such "
        f"tuples for several inputs), got {shape!r}"
    )


def _described(value: Any) -> str:
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
