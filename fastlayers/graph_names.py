"""Names that are unique within a model."""

from __future__ import annotations

from fastlayers.layer import Layer, snake_case


def unique_names(who: str, layers: tuple[Layer, ...]) -> tuple[str, ...]:
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
            names[id(layer)] = layer.name = number_name(snake_case(type(layer).__name__), taken)
    return tuple(names[id(layer)] for layer in layers)


def number_name(base: str, taken: set[str]) -> str:
    """base, base_1, … : the first that is not taken; it is now."""
    name, number = base, 0
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    taken.add(name)
    return name
