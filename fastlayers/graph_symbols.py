"""Tensors without numbers: what layers are called on to describe a graph.

    x = fl.Input((28, 28, 1))
    h = fl.Conv2D(8, 3)(x)          # a Symbol of shape (26, 26, 8)

A symbol knows the call that makes it and nothing knows the symbol, so that a layer may be in any number of
graphs. Calls are numbered as they are made: a call has a larger number than those that it depends on, which
is why there are no cycles and why sorting by number is an order to run in.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlayers.errors import add_note
from fastlayers.protocol import Shape, checked_shape

if TYPE_CHECKING:
    from fastlayers.layer import Layer

_numbers = itertools.count()


class Call:
    """One use of a layer (none for an Input): what it is called on, and the shapes that come out."""

    __slots__ = ("layer", "number", "several", "shapes", "x")

    def __init__(self, layer: Layer | None, x: Any, shapes: tuple[Shape, ...], several: bool = False) -> None:
        self.layer = layer
        self.x: Symbol | tuple[Symbol, ...] = x
        self.shapes = shapes
        self.several = several  # whether the layer returns a tuple
        self.number = next(_numbers)

    @property
    def inputs(self) -> tuple[Symbol, ...]:
        return self.x if type(self.x) is tuple else (self.x,)  # type: ignore[return-value]


class Symbol:
    """A tensor of a graph: the shape of one example, and where it comes from. It holds no numbers.

    `a + b`, `a - b` and `a * b` stand for the layers Add, Subtract and Multiply.
    """

    __slots__ = ("__weakref__", "_dtype", "call", "index", "name")
    __array_ufunc__ = None

    def __init__(self, call: Call, index: int, name: str | None = None, dtype: np.dtype[Any] | None = None) -> None:
        self.call = call
        self.index = index
        self.name = name
        self._dtype = dtype

    @property
    def shape(self) -> Shape:
        """Without the batch axis."""
        return self.call.shapes[self.index]

    @property
    def dtype(self) -> str:
        if self.call.layer is not None:
            return self.call.layer.dtype
        return "float32" if self._dtype is None else str(self._dtype)

    def __repr__(self) -> str:
        return f"<Symbol {describe(self)}>"

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError(
            f"{describe(self)} is symbolic: it has a shape, but no numbers. Use a layer, such as fl.Lambda, "
            "for what is to be computed from it, and call the model on arrays"
        )

    def __add__(self, other: Any) -> Any:
        return _merged("Add", self, other)

    def __sub__(self, other: Any) -> Any:
        return _merged("Subtract", self, other)

    def __mul__(self, other: Any) -> Any:
        return _merged("Multiply", self, other)


def Input(shape: Iterable[int], dtype: Any = None, name: str | None = None) -> Symbol:  # noqa: N802
    """The place of a model's input: a symbol for arrays (N, *shape).

    shape   of one example, without the batch axis
    dtype   of the arrays: by default, that of the model; "float32" or "float64" is then also that of the layers
            that have none of their own. Whole numbers are for layers that take them
    name    in messages; by default "input", "input_1", …
    """
    sizes = checked_shape("Input", list(shape) if isinstance(shape, Iterable) else shape)
    if sizes and isinstance(sizes[0], tuple):
        raise TypeError(f"Input expects the shape of one array, got {shape!r}: make one Input for each")
    if name is not None and (not isinstance(name, str) or not name or "/" in name):
        raise ValueError(f"Input expects name to be a string without '/', got {name!r}")
    found = None if dtype is None else np.dtype(dtype)
    if found is not None and (found.kind not in "biuf" or found == np.float16 or found.itemsize > 8):
        raise TypeError(f'Input expects dtype to be "float32", "float64" or whole numbers, got {dtype!r}')
    return Symbol(Call(None, (), (sizes,)), 0, name, found)


def symbolic(x: Any) -> bool:
    """Whether a layer called on x is to be drawn into a graph, not run."""
    return type(x) is Symbol or (type(x) in (tuple, list) and any(type(part) is Symbol for part in x))


def connect(layer: Layer, x: Any) -> Any:
    """The symbols for `layer(x)`. The layer is not built: that is up to the model, which has the seed."""
    inputs = (x,) if type(x) is Symbol else tuple(x)
    for part in inputs:
        if type(part) is not Symbol:
            raise TypeError(
                f"{layer.name} expects symbols or arrays, not both: it was called on {type(part).__name__} and "
                f"{', '.join(describe(s) for s in inputs if type(s) is Symbol)}"
            )
    try:
        if layer.n_inputs is not None and len(inputs) != layer.n_inputs:
            raise TypeError(f"{layer.name} expects {count(layer.n_inputs, 'input')}, got {len(inputs)}")
        if layer.n_inputs == 1:
            x = inputs[0]
        shape = declared_shape(layer, x.shape if type(x) is Symbol else tuple(part.shape for part in inputs))
    except Exception as error:
        called_on = ", ".join(describe(part) for part in inputs)
        add_note(error, f"in {layer.name} ({type(layer).__name__}), called on {called_on}")
        raise
    several = bool(shape) and isinstance(shape[0], tuple)
    call = Call(layer, x if type(x) is Symbol else inputs, shape if several else (shape,), several)
    outputs = tuple(Symbol(call, index) for index in range(len(call.shapes)))
    return outputs if several else outputs[0]


def declared_shape(layer: Layer, shape: Shape) -> Shape:
    """What `layer.compute_output_shape` says; a layer that has to be built first is asked through a copy."""
    try:
        declared = layer.compute_output_shape(shape)
    except AttributeError:
        if layer.built:
            raise
        trial = copy.deepcopy(layer)
        trial.build(shape)
        declared = trial.compute_output_shape(shape)
    return checked_output_shape(layer, shape, declared)


def checked_output_shape(layer: Layer, shape: Shape, declared: Any) -> Shape:
    """`declared` as a shape or a tuple of shapes; TypeError where it is neither."""
    try:
        return checked_shape(layer.name, declared)
    except TypeError:
        raise TypeError(
            f"{type(layer).__name__}.compute_output_shape({shape}) must return a tuple of ints >= 0, without the "
            f"batch axis, or a tuple of such tuples for several outputs, got {declared!r}"
        ) from None


def describe(symbol: Symbol) -> str:
    """ "conv2d (8, 8, 3)" """
    layer = symbol.call.layer
    name = (symbol.name or "input") if layer is None else layer.name
    return f"{name}{f'[{symbol.index}]' if len(symbol.call.shapes) > 1 else ''} {symbol.shape}"


def count(number: int, thing: str) -> str:
    """ "1 input", "2 inputs" """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _merged(name: str, left: Symbol, right: Any) -> Any:
    from fastlayers.layers import merge  # not above: layers are made of what is here

    return getattr(merge, name)()((left, right)) if type(right) is Symbol else NotImplemented
