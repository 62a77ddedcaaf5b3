"""Layers one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from fastlayers.layer import Layer, snake_case
from fastlayers.parameter import Parameter
from fastlayers.protocol import Shape
from fastlayers.registry import decode, deserialize, encode, serialize
from fastlayers.training import Model

__all__ = ["Model", "Sequential"]


class Sequential(Model):
    """y = layer_n(… layer_1(x))

    layers        the layers, which may be Sequentials themselves; the same one may stand in several places
    input_shape   the shape of one example: with it the weights are made at once, else on first use
    seed          of all random numbers in the layers (first weights, dropout), with each layer's place
    name, dtype, trainable
                  as in every `Layer`; dtype and trainable=False are handed down to the layers

    Layers without a name of their own get one that is unique here: dense, dense_1, … `model.layers` is the
    tuple of them. A training step never computes gradients below the lowest layer that trains.
    """

    def __init__(
        self,
        layers: Iterable[Layer],
        input_shape: Iterable[int] | None = None,
        seed: int | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        self.layers = _layer_objects(self.name, layers)
        self._names = _unique_names(self.name, self.layers)
        self.seed = seed
        if seed is not None:
            self._seed = np.random.SeedSequence(seed)
        if input_shape is not None:
            self.build(tuple(input_shape))

    def build(self, input_shape: Shape) -> None:
        shape = input_shape
        for index, layer in enumerate(self.layers):
            try:
                if not layer.built:
                    layer.build(shape)
                shape = layer.compute_output_shape(shape)
            except Exception as error:
                self._explain(error, index, "build", f"input shape {shape}")
                raise

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = input_shape
        for layer in self.layers:
            shape = layer.compute_output_shape(shape)
        return shape

    def check_input(self, x: Any) -> Any:
        return x  # the first layer knows

    def check_gradient(self, dy: Any) -> Any:
        return dy  # the last layer knows

    def infer(self, x: Any) -> Any:
        done = 0
        try:
            for layer in self.layers:
                x = layer(x)
                done += 1
        except Exception as error:
            self._explain(error, done, "inference", f"input {_shape_of(x)}")
            raise
        return x

    def forward(self, x: Any, training: bool = False) -> tuple[Any, list[Any]]:
        caches: list[Any] = []
        try:
            for layer in self.layers:
                x, cache = layer.forward(x, training=training)
                caches.append(cache)
        except Exception as error:
            self._explain(error, len(caches), "forward", f"input {_shape_of(x)}")
            raise
        return x, caches

    def backward(self, dy: Any, cache: list[Any]) -> Any:
        return self._descend(dy, list(cache), 0, True)

    def backward_parameters(self, dy: Any, cache: list[Any]) -> None:
        self._backward_once(dy, list(cache))

    def _backward_once(self, dy: Any, cache: list[Any]) -> None:
        for lowest, layer in enumerate(self.layers):
            if any(parameter.trainable for parameter in layer.parameters()):
                self._descend(dy, cache, lowest, False)
                return

    def _descend(self, dy: Any, caches: list[Any], lowest: int, with_dx: bool) -> Any:
        """Backward from the last layer to `lowest`. Takes each cache off the list, to free its memory."""
        if len(caches) != len(self.layers):
            raise ValueError(f"{self.name} expects the cache of its forward, one entry for each layer")
        try:
            while len(caches) > lowest:
                layer, cache = self.layers[len(caches) - 1], caches.pop()
                if len(caches) > lowest or with_dx:
                    dy = layer.backward(dy, cache)
                else:
                    layer.backward_parameters(dy, cache)
        except Exception as error:
            self._explain(error, len(caches), "backward", f"dy {_shape_of(dy)}")
            raise
        return dy

    def summary(self) -> str:
        """A table of layers, output shapes and numbers of parameters."""
        self._require_built()
        rows = [("Layer", "Output shape", "Parameters")]
        shape: Shape = self._built_for or ()
        seen: set[Parameter] = set()
        for name, layer in zip(self._names, self.layers, strict=True):
            shape = layer.compute_output_shape(shape)
            own = [parameter for parameter in layer.parameters() if parameter not in seen]
            seen.update(own)
            rows.append((f"{name} ({type(layer).__name__})", str(shape), f"{sum(p.size for p in own):,}"))
        total = sum(parameter.size for parameter in seen)
        frozen = sum(parameter.size for parameter in seen if not parameter.trainable)
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
        lines.insert(1, "-" * len(lines[0]))
        end = f"{total:,} parameters" + (f", {frozen:,} of them frozen" if frozen else "")
        return "\n".join([f"{self.name}: input shape {self._built_for}", *lines, end])

    def get_config(self) -> dict[str, Any]:
        """As in `Layer`; a layer that stands in several places is written down at the first of them."""
        if type(self).__init__ is not Sequential.__init__:  # a subclass has arguments of its own
            return super().get_config()
        first = [self.layers.index(layer) for layer in self.layers]
        layers = [
            serialize(layer) if first[index] == index else {"same_as": first[index]}
            for index, layer in enumerate(self.layers)
        ]
        shape = None if self._built_for is None else list(self._built_for)
        return self._with_options({"layers": layers, "input_shape": shape, "seed": encode(self.seed, "seed")})

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Sequential:
        """A new model with the layers in `config`, built if the one it describes was; its weights are new."""
        if cls.__init__ is not Sequential.__init__:
            return super().from_config(config)
        layers: list[Any] = []
        for entry in config["layers"]:
            layers.append(layers[entry["same_as"]] if "same_as" in entry else deserialize(entry))
        return cls(layers, **{key: decode(value) for key, value in config.items() if key != "layers"})

    def _children(self) -> Iterator[tuple[str, Layer | Parameter]]:
        return zip(self._names, self.layers, strict=True)

    def _explain(self, error: Exception, index: int, what: str, with_what: str) -> None:
        """Say in the message where in the model it happened."""
        layer, name = self.layers[index], self._names[index]
        before = f" from {self._names[index - 1]}" if index and what != "backward" else ""
        place = f"layer {index + 1} of {len(self.layers)} in {self.name}"
        add_note(error, f"in {name} ({type(layer).__name__}, {place}): {what}, {with_what}{before}")


def add_note(error: Exception, note: str) -> None:
    """Add a line to what is shown of an error; Python 3.10 can do so only in the message itself."""
    if hasattr(error, "add_note"):
        error.add_note(note)
    elif type(error).__str__ is Exception.__str__ and len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (f"{error.args[0]}\n{note}",)


def _layer_objects(who: str, layers: Iterable[Any]) -> tuple[Layer, ...]:
    """`layers` as a tuple; TypeError for what is no layer."""
    found = tuple(layers)
    for index, layer in enumerate(found):
        if not isinstance(layer, Layer):
            got = f"the class {layer.__name__}" if isinstance(layer, type) else type(layer).__name__
            raise TypeError(f"{who} expects layers[{index}] to be a Layer object, got {got}")
    return found


def _unique_names(who: str, layers: tuple[Layer, ...]) -> tuple[str, ...]:
    """A name for each layer: its own, or that of its class with a number; one layer has one name."""
    names: dict[int, str] = {}
    taken: set[str] = set()
    for layer in layers:
        if layer._named and id(layer) not in names:
            if layer.name in taken:
                raise ValueError(f"{who} has two layers named {layer.name!r}: give them different names")
            names[id(layer)] = layer.name
            taken.add(layer.name)
    for layer in layers:
        if id(layer) not in names:
            base = snake_case(type(layer).__name__)
            name, number = base, 0
            while name in taken:
                number += 1
                name = f"{base}_{number}"
            names[id(layer)] = layer.name = name
            taken.add(name)
    return tuple(names[id(layer)] for layer in layers)


def _shape_of(value: Any) -> str:
    if isinstance(value, tuple):
        return f"of {len(value)} arrays"
    return f"shape {value.shape}" if isinstance(value, np.ndarray) else f"of type {type(value).__name__}"
