"""Models and weights in files: one safetensors file each, without pickle, written whole or not at all.

    fl.save(model, "digits.safetensors")     # proves that the file will load before it appears
    model = fl.load("digits.safetensors")

    errors.py          FileFormatError
    strict_json.py     JSON that is refused where it is ambiguous
    safetensors.py     the format, and nothing of ours
    content.py         our metadata: version, checksum
    configuration.py   layers <-> JSON
    states.py          what became of layers since they were made
    weights_file.py    weights alone, into a layer that is there
    model_file.py      save and load

Each of these needs only those above it.
"""

from typing import TYPE_CHECKING

from fastlayers._lazy import loaded_on_use

if TYPE_CHECKING:
    from fastlayers.saving.errors import FileFormatError
    from fastlayers.saving.model_file import load, save
    from fastlayers.saving.weights_file import WeightsReport, load_weights, save_weights

__all__ = ["FileFormatError", "WeightsReport", "load", "load_weights", "save", "save_weights"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = loaded_on_use(
        __name__,
        __all__,
        homes={"FileFormatError": "errors", "load": "model_file", "save": "model_file"},
        others="weights_file",
    )
