"""The weights of a layer in a file, and what of them fits another layer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from fastlayers.checks import Array
from fastlayers.layer import Layer
from fastlayers.parameter import Parameter
from fastlayers.saving.atomic import replacing
from fastlayers.saving.content import Content, write_content
from fastlayers.saving.errors import about
from fastlayers.saving.safetensors import Entry, check_name, open_to_read


class WeightsReport(NamedTuple):
    """What a file and a layer have in common, as names of weights. `str` of it is a list of what they have not.

    missing      in the layer only
    unexpected   in the file only
    mismatched   in both, with another shape or dtype
    """

    loaded: list[str]
    missing: list[str]
    unexpected: list[str]
    mismatched: list[str]
    lines: list[str]

    @property
    def complete(self) -> bool:
        """Whether file and layer have the same weights."""
        return not self.lines

    def __str__(self) -> str:
        return "\n".join([f"{len(self.loaded)} weights loaded", *(f"  {line}" for line in self.lines)])


def save_weights(layer: Layer, path: str | os.PathLike[str]) -> None:
    """Write all weights to `path`. The file appears there whole or, after an error, not at all."""
    arrays = arrays_of(layer)
    with replacing(path) as file:
        write_content(file, arrays)
        file.seek(0)
        Content(file).read({})


def load_weights(layer: Layer, path: str | os.PathLike[str], strict: bool = True) -> WeightsReport:
    """Read the weights of `layer` from a file of `save_weights` or `save`, or another safetensors file.

    Arrays are found by the names in `layer.named_parameters()`. ValueError lists every one that is missing,
    unexpected or of another shape or dtype. With strict=False those that fit are read and the report that is
    returned lists the others. After an error nothing is changed.
    """
    parameters = layer.named_parameters()
    with about(path), open_to_read(path) as file:
        content = Content(file)
        report = compare(layer.name, parameters, content.entries)
        if strict and not report.complete:
            listed = "\n  ".join(report.lines)
            raise ValueError(f"{os.fspath(path)} does not fit {layer.name}:\n  {listed}")
        arrays = {name: np.empty_like(parameters[name].value) for name in report.loaded}
        content.read(arrays)
    for name, array in arrays.items():
        parameters[name].value[...] = array
    return report


def compare(who: str, parameters: Mapping[str, Parameter], entries: Mapping[str, Entry]) -> WeightsReport:
    """What fits and what does not, between the weights of layer `who` and those in a file."""
    missing = [name for name in parameters if name not in entries]
    unexpected = [name for name in entries if name not in parameters]
    lines = [f"missing: {name} {parameters[name].shape}" for name in missing]
    lines += [f"unexpected: {name} {entries[name].shape}" for name in unexpected]
    loaded, mismatched = [], []
    for name, parameter in parameters.items():
        entry = entries.get(name)
        if entry is not None and (entry.shape, entry.dtype) == (parameter.shape, parameter.dtype):
            loaded.append(name)
        elif entry is not None:
            mismatched.append(name)
            is_now = f"{parameter.shape} {parameter.dtype}"
            lines.append(f"mismatch: {name} is {is_now} in {who}, {entry} in the file")
    return WeightsReport(loaded, missing, unexpected, mismatched, lines)


def arrays_of(layer: Layer) -> dict[str, Array]:
    """name -> value of all weights. ValueError for a name that a file cannot hold."""
    arrays = {name: parameter.value for name, parameter in layer.named_parameters().items()}
    for name in arrays:
        check_name(name)
    return arrays
