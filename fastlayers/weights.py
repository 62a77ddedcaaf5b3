"""Weights in a file: an .npz archive with an array for each parameter, under its path. No pickle."""

from __future__ import annotations

import os
import secrets
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastlayers.checks import Array, native_dtype

if TYPE_CHECKING:
    from fastlayers.layer import Layer

# what zipfile and NumPy raise for bytes that make no sense
_DAMAGE = (ValueError, EOFError, OSError, RuntimeError, KeyError, zipfile.BadZipFile, zlib.error)


def save_weights(layer: Layer, path: str | os.PathLike[str]) -> None:
    """Write all weights to `path`. The file appears there whole or, after an error, not at all."""
    arrays = {name: parameter.value for name, parameter in layer.named_parameters().items()}
    target = Path(path)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(draft, "xb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                for name, array in arrays.items():
                    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, array, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def load_weights(layer: Layer, path: str | os.PathLike[str]) -> None:
    """Read the weights of `layer` from `path`, which `save_weights` wrote.

    ValueError lists every array that is missing, unexpected or of another shape or dtype; then nothing is
    changed.
    """
    parameters = layer.named_parameters()
    arrays = _read(path)
    problems = [f"missing: {name} {p.shape}" for name, p in parameters.items() if name not in arrays]
    problems += [f"unexpected: {name} {a.shape}" for name, a in arrays.items() if name not in parameters]
    for name, parameter in parameters.items():
        array = arrays.get(name, parameter.value)
        if array.shape != parameter.shape or native_dtype(array) != parameter.dtype:
            expected, got = f"{parameter.shape} {parameter.dtype}", f"{array.shape} {array.dtype}"
            problems.append(f"mismatch: {name} is {expected} in {layer.name}, {got} in the file")
    if problems:
        raise ValueError(f"{os.fspath(path)} does not fit {layer.name}:\n  " + "\n  ".join(problems))
    for name, parameter in parameters.items():
        parameter.value[...] = arrays[name]


def _read(path: str | os.PathLike[str]) -> dict[str, Array]:
    """All arrays of an .npz file; ValueError for a file of another kind and for a damaged one."""
    with open(path, "rb") as file:
        try:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.lib.npyio.NpzFile):
                return {name: np.asarray(loaded[name]) for name in loaded.files}
        except _DAMAGE as error:
            raise ValueError(f"{os.fspath(path)} is not a weights file, or it is damaged: {error}") from error
    raise ValueError(f"{os.fspath(path)} is not a weights file: it holds a single array")
