"""A weight and its gradient."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from fastlayers.checks import Array, float_array, native_dtype


class Parameter:
    """A weight of a layer: `.value`, and `.grad`, to which backward adds.

    Both are C-contiguous arrays that may be written into (`p.value[...] = w`); assigning (`p.value = w`)
    copies into them. The gradient is zero, and takes no memory, until something is added to it. Where
    several threads go backward at once, `p.grad += g` may lose a sum; `add_gradient` does not.
    """

    __slots__ = ("__weakref__", "_grad", "_lock", "_value", "declared_trainable", "name", "trainable")

    def __init__(self, name: str, value: Array, trainable: bool = True) -> None:
        array = float_array(name, "its value", value)
        self.name = name
        self._value: Array = np.require(array, native_dtype(array), ["C", "A", "W"])
        self._grad: Array | None = None
        self._lock = threading.Lock()
        self.declared_trainable = trainable
        self.trainable = trainable

    @property
    def value(self) -> Array:
        return self._value

    @value.setter
    def value(self, new: Array) -> None:
        self._copy_into(self._value, new, "value")

    @property
    def grad(self) -> Array:
        if self._grad is None:
            with self._lock:
                if self._grad is None:
                    self._grad = np.zeros_like(self._value)
        return self._grad

    @grad.setter
    def grad(self, new: Array) -> None:
        self._copy_into(self.grad, new, "grad")

    def add_gradient(self, gradient: Array) -> None:
        """grad += gradient, safely from many threads at once.

        `gradient` must be a new array that nobody else holds: the first one is kept instead of being copied.
        """
        if gradient.shape != self._value.shape or gradient.dtype != self._value.dtype:
            expected, got = f"{self.shape} {self.dtype}", f"{gradient.shape} {gradient.dtype}"
            raise ValueError(f"{self.name} expects a gradient of {expected}, got {got}")
        with self._lock:
            if self._grad is None:
                self._grad = gradient
            else:
                self._grad += gradient

    def clear_gradient(self) -> None:
        """Set the gradient to zero. The array that held it is let go, not overwritten."""
        self._grad = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self._value.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._value.dtype

    @property
    def size(self) -> int:
        return self._value.size

    def convert(self, dtype: np.dtype[Any]) -> None:
        """Make value (and grad, if any) arrays of another dtype."""
        self._value = self._value.astype(dtype, copy=False)
        if self._grad is not None:
            self._grad = self._grad.astype(dtype, copy=False)

    def _copy_into(self, array: Array, new: Array, what: str) -> None:
        if new is array:  # the last step of p.grad += dw
            return
        if np.shape(new) != array.shape:
            raise ValueError(f"{self.name}.{what} has shape {array.shape}, got {np.shape(new)}")
        np.copyto(array, new, casting="same_kind")

    def __repr__(self) -> str:
        frozen = "" if self.trainable else ", trainable=False"
        return f"<Parameter {self.name!r} {self.shape} {self.dtype}{frozen}>"

    def __reduce__(self) -> Any:
        return _restored, (self.name, self._value, self._grad, self.declared_trainable, self.trainable)


def _restored(name: str, value: Array, grad: Array | None, declared: bool, trainable: bool) -> Parameter:
    """What copy.deepcopy and the pickles of multiprocessing make of a Parameter; a lock can't be copied."""
    parameter = Parameter(name, value, declared)
    parameter.trainable = trainable
    parameter._grad = grad
    return parameter
