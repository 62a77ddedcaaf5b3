"""What became of the layers of a model since they were made: names, dtypes, input shapes, what is frozen."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlayers.checks import float_dtype
from fastlayers.layer import Layer
from fastlayers.parameter import Parameter
from fastlayers.protocol import checked_shape
from fastlayers.saving.errors import FileFormatError
from fastlayers.saving.strict_json import shown

_KEYS = {"name", "dtype", "trainable", "input_shape"}


def layers_by_path(model: Layer) -> dict[str, Layer]:
    """path -> layer: the model itself at "", then those in it, each once."""
    found: dict[str, Layer] = {}
    for path, item in model._walk("", set()):
        if isinstance(item, Layer):
            path = path.removesuffix("/")
            if path in found:
                raise ValueError(f"{model.name} has two layers at {path!r}: give them different names")
            found[path] = item
    return found


def describe_states(model: Layer) -> dict[str, dict[str, Any]]:
    """path -> state of every layer in the model."""
    return {path: _state(layer) for path, layer in layers_by_path(model).items()}


def frozen_weights(model: Layer) -> list[str]:
    """The names of the weights that do not train."""
    return [name for name, parameter in model.named_parameters().items() if not parameter.trainable]


def restore_states(model: Layer, states: dict[str, Any]) -> None:
    """Build every layer that was built, and bring all into the state they were in.

    Layers get their dtype before they are built where they are there by then, and in any case afterwards,
    which may leave weights of another dtype: see `adopt_dtypes`.
    """
    for state in states.values():
        _check(state)
    while True:
        layers = layers_by_path(model)
        for path, layer in layers.items():
            if path in states and not layer.built:
                _set_dtype(layer, states[path])
        waiting = [
            (layer, states[path]["input_shape"])
            for path, layer in layers.items()
            if path in states and not layer.built and states[path]["input_shape"] is not None
        ]
        for layer, shape in waiting:
            layer.build(checked_shape(layer.name, shape))
        if not waiting:
            break
    _check_paths(layers, states)
    for path, layer in layers.items():
        state = states[path]
        _set_dtype(layer, state)
        layer.name, layer._trainable = state["name"], state["trainable"]
        if _shape(layer) != state["input_shape"]:
            raise FileFormatError(f"{shown(path)} was built for {shown(state['input_shape'])}, now for {_shape(layer)}")


def adopt_dtypes(model: Layer, dtypes: dict[str, Any]) -> None:
    """Make all weights zeros of the dtype that their layers have by now.

    A Parameter that its layer did not make with `add_weight` takes the dtype in `dtypes` (weight -> dtype) if
    that is its own or that of the layer.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters().items()}
    for layer in layers_by_path(model).values():
        own = layer._weights.values()
        for _, child in layer._children():
            if isinstance(child, Parameter) and id(child) in names:
                wanted = layer._dtype if child in own else dtypes.get(names[id(child)])
                if wanted != child.dtype and wanted == layer._dtype:
                    _make_zeros(child, wanted)


def _make_zeros(parameter: Parameter, dtype: np.dtype[Any]) -> None:
    shape = parameter.shape
    parameter._value = np.zeros(0, dtype)  # lets the old memory go first
    parameter._value = np.zeros(shape, dtype)


def restore_frozen(model: Layer, frozen: list[Any]) -> None:
    """Let all weights train but those in `frozen`."""
    parameters = model.named_parameters()
    kept = set()
    for name in frozen:
        if not isinstance(name, str) or name not in parameters:
            raise FileFormatError(f"{shown(name)} is frozen and no weight of its model")
        kept.add(name)
    for name, parameter in parameters.items():
        parameter.trainable = name not in kept


def _state(layer: Layer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "dtype": layer.dtype,
        "trainable": layer.trainable,
        "input_shape": _shape(layer),
    }


def _shape(layer: Layer) -> Any:
    """The input shape a layer was built for, as JSON has it; None if it was not built."""
    return None if layer._built_for is None else _lists(layer._built_for)


def _lists(shape: Any) -> Any:
    return [_lists(part) for part in shape] if isinstance(shape, tuple) else shape


def _set_dtype(layer: Layer, state: dict[str, Any]) -> None:
    """As the setter, but for this layer alone, and its weights stay as they are."""
    dtype = float_dtype(layer.name, state["dtype"])
    if layer._dtype != dtype:
        layer._dtype, layer._dtype_given = dtype, True


def _check(state: Any) -> None:
    if not isinstance(state, dict) or state.keys() != _KEYS:
        raise FileFormatError(f"its model has {shown(state)} in the place of a layer's state")
    name, trainable = state["name"], state["trainable"]
    if not isinstance(name, str) or not name.isprintable() or not isinstance(trainable, bool):
        raise FileFormatError(f"its model has a layer with the state {shown(state)}")


def _check_paths(layers: dict[str, Layer], states: dict[str, Any]) -> None:
    missing, new = states.keys() - layers.keys(), layers.keys() - states.keys()
    if missing or new:
        listed = [f"\n  missing: {shown(path)}" for path in sorted(missing)]
        listed += [f"\n  not in the file: {shown(path)}" for path in sorted(new)]
        raise FileFormatError(f"its model comes out with other layers in it:{''.join(listed)}")
