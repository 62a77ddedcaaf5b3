"""Layers one after another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastlayers.graph_engine import Composite
from fastlayers.graph_plan import Use
from fastlayers.graph_symbols import Symbol
from fastlayers.layer import Layer
from fastlayers.registry import decode, deserialize_all, encode, notation, serialize_all
from fastlayers.training import Model

__all__ = ["Model", "Sequential"]


class Sequential(Composite):
    """y = layer_n(… layer_1(x))

    layers        the layers, which may be models themselves; the same one may stand in several places. An Input
                  may come first, in place of input_shape
    input_shape   the shape of one example: with it the weights are made at once, else on first use
    seed          of all random numbers in the layers (first weights, dropout), with each layer's place
    name, dtype, trainable
                  as in every `Layer`; dtype and trainable=False are handed down to the layers

    Layers without a name of their own get one that is unique here: dense, dense_1, … `model.layers` is the
    tuple of them. A training step never computes gradients below the lowest layer that trains.
    """

    def __init__(
        self,
        layers: Iterable[Layer | Symbol],
        input_shape: Iterable[int] | None = None,
        seed: int | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        found = tuple(layers)
        if input_shape is None and found and isinstance(found[0], Symbol) and found[0].call.layer is None:
            input_shape, found = found[0].shape, found[1:]
        self.layers = _layer_objects(self.name, found)
        self._compose([Use(layer, i, i + 1) for i, layer in enumerate(self.layers)], 0, len(self.layers))
        self.n_inputs = self.layers[0].n_inputs if self.layers else None
        self._sources = ("", *self._names)[: len(self._names)]
        self.seed = seed
        if seed is not None:
            self._seed = np.random.SeedSequence(seed)
        if input_shape is not None:
            self.build(tuple(input_shape))

    def summary(self) -> str:
        """A table of layers, output shapes and numbers of parameters."""
        self._require_built()
        rows = [("Layer", "Output shape", "Parameters"), *self._rows()]
        return f"{self.name}: input shape {self._built_for}\n{self._table(rows)}"

    def get_config(self) -> dict[str, Any]:
        """As in `Layer`; a layer that stands in several places is written down at the first of them."""
        if type(self).__init__ is not Sequential.__init__:  # a subclass has arguments of its own
            return super().get_config()
        known = self._built_for is not None and notation().keeps_input_shapes
        shape = encode(list(self._built_for or ()), "input_shape") if known else None
        layers = serialize_all(self.layers)
        return self._with_options({"layers": layers, "input_shape": shape, "seed": encode(self.seed, "seed")})

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Sequential:
        """A new model with the layers in `config`, built if the one it describes was; its weights are new."""
        if cls.__init__ is not Sequential.__init__:
            return super().from_config(config)
        options = {key: decode(value) for key, value in config.items() if key != "layers"}
        return cls(deserialize_all(config["layers"]), **options)


def _layer_objects(who: str, layers: Iterable[Any]) -> tuple[Layer, ...]:
    """`layers` as a tuple; TypeError for what is no layer."""
    found = tuple(layers)
    for index, layer in enumerate(found):
        if not isinstance(layer, Layer):
            got = f"the class {layer.__name__}" if isinstance(layer, type) else type(layer).__name__
            raise TypeError(f"{who} expects layers[{index}] to be a Layer object, got {got}")
    return found
