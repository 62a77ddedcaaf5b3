"""The layer under test: copies of it in float32 and float64, and inputs for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastlayers.checking.copies import changed_attributes, clone
from fastlayers.checking.findings import Unsettled
from fastlayers.checking.values import copied, is_float, labels, like, parts, typical, vector
from fastlayers.checks import F32, F64, Array
from fastlayers.comparison import same_bits
from fastlayers.layer import Layer, Parameter
from fastlayers.protocol import Shape, checked_shape

Inputs = Callable[[np.random.Generator, Any, np.dtype[Any]], Any]
DTYPES: dict[str, np.dtype[Any]] = {"float32": F32, "float64": F64}
COPIES = 3  # that must give the same y
WARM_UP = 2  # training forwards that move running statistics away from where they start


class Trace(NamedTuple):
    """One step: forward and backward. dx has zeros for what backward gave None."""

    y: Any
    dx: Any
    gradients: dict[str, Array]

    def results(self) -> dict[str, Array]:
        """All arrays by name: "y", "dx", "kernel.grad", …"""
        named = dict(zip(labels("y", self.y), parts(self.y), strict=True))
        named |= zip(labels("dx", self.dx), parts(self.dx), strict=True)
        return named | {f"{name}.grad": gradient for name, gradient in self.gradients.items()}

    def equals(self, other: Trace) -> bool:
        """Whether another step gave the same bits."""
        return all(map(same_bits, self.results().values(), other.results().values()))


class Subject:
    """Copies of `layer`, built, with weights that hide nothing.

    Zeros and ones as first weights would let pass a backward that forgets them, so trainable weights are
    moved a little; running statistics move in training forwards. All that a check runs is a `fresh` copy.
    """

    def __init__(
        self,
        layer: Layer,
        shape: Shape,
        inputs: Inputs | None = None,
        batch_size: int | None = None,
        seed: int = 0,
        perturb: bool = True,
        tolerance: float = 1e-6,
    ) -> None:
        self.shape = checked_shape(layer.name, shape)
        self.several = bool(self.shape) and isinstance(self.shape[0], tuple)
        self.inputs = inputs
        self.seed = seed
        self.tolerance = tolerance
        self.given = layer
        self.n = 0 if batch_size is None else batch_size
        base = clone(layer)
        base.trainable = True
        for _, item in base._walk("", set()):
            if isinstance(item, Parameter):
                item.clear_gradient()
        self.dtype = base.dtype
        self._layers = {self.dtype: base}
        self._repeatable: dict[bool, bool] = {}
        self._drifts: dict[bool, bool] = {}
        self._prepare(base, perturb)

    def _prepare(self, base: Layer, perturb: bool) -> None:
        if not base.built and base._seed is None:
            base._seed = np.random.SeedSequence(self.seed)
        base.build(self.shape)
        if not self.n:
            self.n = _telling_size((self.shape, base.compute_output_shape(self.shape)))
        base.forward(self.x(self.dtype), training=False)  # builds what is built on first use
        if perturb:
            self._move(base)
        for draw in range(WARM_UP):
            base.forward(self.x(self.dtype, draw=100 + draw), training=True)
        for name in DTYPES:
            if name != self.dtype:
                other = clone(base)
                other.dtype = name
                self._layers[name] = other

    def _move(self, layer: Layer) -> None:
        """Trainable weights ± 40 % of their size, those of zeros to ± 0.4; float32 holds them exactly."""
        rng = np.random.default_rng([self.seed, 1])
        for parameter in layer.parameters():
            if parameter.declared_trainable:
                moved = parameter.value + typical(parameter.value) * rng.uniform(-0.4, 0.4, parameter.shape)
                parameter.value = moved.astype(np.float32)

    def fresh(self, dtype: str) -> Layer:
        """A copy, in the state in which they all start."""
        return clone(self._layers[dtype])

    def x(self, dtype: str, draw: int = 0, n: int | None = None) -> Any:
        """A batch; another one for each `draw`."""
        rng = np.random.default_rng([self.seed, 2, draw])
        size = self.n if n is None else n
        shapes: list[Shape] = [(size, *part) for part in (self.shape if self.several else (self.shape,))]
        if self.inputs is None:
            drawn = [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]
            return tuple(drawn) if self.several else drawn[0]
        shape = tuple(shapes) if self.several else shapes[0]
        x = self.inputs(rng, shape, DTYPES[dtype])
        fits = isinstance(x, tuple) == self.several and list(map(np.shape, parts(x))) == shapes
        if not fits or any(is_float(part) and part.dtype != dtype for part in parts(x)):
            raise ValueError(f"check_layer expects inputs(rng, {shape}, {dtype}) to return such an x, got {x!r}")
        return x

    def dy(self, layer: Layer, y: Any, draw: int = 0) -> Any:
        """A gradient for the y of a layer, in the layer's dtype; another one for each `draw`."""
        rng = np.random.default_rng([self.seed, 3, draw])
        return like(y, [rng.standard_normal(part.shape).astype(layer.dtype) for part in parts(y)])

    def step(self, layer: Layer, x: Any, training: bool, draw: int = 0, dy: Any = None) -> Trace:
        """Forward and backward on copies of x and dy; the weights' gradients are collected and cleared."""
        y, cache = layer.forward(copied(x), training=training)
        y_then = copied(y)
        dx = backward(layer, x, self.dy(layer, y, draw) if dy is None else copied(dy), cache)
        return Trace(y_then, dx, collect(layer))

    def repeatable(self, training: bool) -> bool:
        """Whether copies of the layer in the same state give the same y."""
        if training not in self._repeatable:
            x = self.x("float64")
            first, *others = (_y(self.fresh("float64"), x, training) for _ in range(COPIES))
            self._repeatable[training] = all(np.array_equal(first, y, equal_nan=True) for y in others)
        return self._repeatable[training]

    def require_repeatable(self) -> None:
        """Raise Unsettled if results cannot be compared because they are others each time."""
        if not (self.repeatable(True) and self.repeatable(False)):
            raise Unsettled("forward gives other results each time, see the check repeat")

    def drifts(self, training: bool) -> bool:
        """Whether forward may give something else when called again, and so must be run on copies."""
        if training not in self._drifts:
            layer, x = self.fresh("float64"), self.x("float64")
            before = clone(layer)
            first = _y(layer, x, training)
            changed = changed_attributes(before, layer)
            restore(layer, state(before))
            again = _y(layer, x, training)
            self._drifts[training] = bool(changed) or not np.array_equal(first, again, equal_nan=True)
        return self._drifts[training]


def _y(layer: Layer, x: Any, training: bool) -> Array:
    return vector(layer.forward(copied(x), training=training)[0])


def backward(layer: Layer, x: Any, dy: Any, cache: Any) -> Any:
    """A copy of dx, an array for each of x: zeros for None, which says that there is no gradient."""
    dx = layer.backward(dy, cache)
    given = parts(dx) if dx is not None else [None] * len(parts(x))
    return like(
        x,
        [
            np.zeros(array.shape, layer.dtype) if part is None else np.array(part)
            for part, array in zip(given, parts(x), strict=True)
        ],
    )


def collect(layer: Layer) -> dict[str, Array]:
    """The gradients of all weights, which are zero afterwards."""
    gradients = {}
    for name, parameter in layer.named_parameters().items():
        gradients[name] = parameter.grad.copy()
        parameter.clear_gradient()
    return gradients


def state(layer: Layer) -> dict[str, Array]:
    """Copies of the values of all weights."""
    return {name: parameter.value.copy() for name, parameter in layer.named_parameters().items()}


def restore(layer: Layer, values: dict[str, Array]) -> None:
    for name, parameter in layer.named_parameters().items():
        parameter.value = values[name]


def _telling_size(shapes: Any) -> int:
    """A batch size that no axis has, so that a factor 1/N or a wrong axis can be told."""
    taken: set[int] = set()
    stack: list[Any] = [shapes]
    while stack:
        item = stack.pop()
        if isinstance(item, (tuple, list)):
            stack += item
        elif isinstance(item, int):
            taken.add(item)
    return next(n for n in (3, 5, 7, 4, 6, 9, 11, 13) if n not in taken or n == 13)
