"""What a file of ours says about itself, in the metadata of the safetensors format.

    fastlayers_format     the version of all this: "1"
    fastlayers_version    the library that wrote the file
    fastlayers_model      the model, as `configuration` describes it; not in a file of weights alone
    fastlayers_checksum   SHA-256 of names, dtypes, shapes, metadata and arrays, sorted by name

So a file that changed on its way is told from one that did not, while any program may write the same content
anew in another order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from io import BufferedRandom, BufferedReader

from fastlayers.checks import Array
from fastlayers.saving.errors import FileFormatError
from fastlayers.saving.safetensors import Reader, code_of, each_chunk, write
from fastlayers.saving.strict_json import dump, shown

_OURS = "fastlayers_"
_FORMAT, _VERSION, _MODEL, _CHECKSUM = (_OURS + what for what in ("format", "version", "model", "checksum"))
FORMATS = ("1",)  # that can be read; the last is the one that is written

Layout = Mapping[str, tuple[str, tuple[int, ...]]]  # name -> the format's dtype, shape


def write_content(file: BufferedRandom, arrays: Mapping[str, Array], model: str | None = None) -> None:
    """Write the arrays and, if there is one, the description of the model that they belong to."""
    from fastlayers import __version__

    metadata = {_FORMAT: FORMATS[-1], _VERSION: __version__} | ({} if model is None else {_MODEL: model})
    digest = _begun({name: (code_of(array.dtype), array.shape) for name, array in arrays.items()}, metadata)
    for name in sorted(arrays):
        each_chunk(arrays[name], digest.update)
    write(file, arrays, metadata | {_CHECKSUM: digest.hexdigest()})


class Content:
    """A file to read from: ours, or any other safetensors file.

    model     the description of a model, None if there is none
    entries   name -> what the header says of each array
    """

    def __init__(self, file: BufferedReader | BufferedRandom) -> None:
        self._reader = Reader(file)
        self._metadata = self._reader.metadata
        _check_metadata(self._metadata)
        self.model = self._metadata.get(_MODEL)
        self.entries = self._reader.entries

    @property
    def elements(self) -> int:
        """The number of elements in all arrays."""
        return self._reader.elements

    def read(self, into: Mapping[str, Array]) -> None:
        """Read these arrays. FileFormatError, with some or all of them overwritten, if the checksum is wrong."""
        layout = {name: (code_of(entry.dtype), entry.shape) for name, entry in self.entries.items()}
        digest = _begun(layout, {name: text for name, text in self._metadata.items() if name != _CHECKSUM})
        for name in sorted(self.entries):
            self._reader.read(name, into.get(name), digest.update)
        if self._metadata.get(_CHECKSUM, digest.hexdigest()) != digest.hexdigest():
            raise FileFormatError("it is damaged, or was changed by another program: its checksum is wrong")


def _begun(layout: Layout, metadata: Mapping[str, str]) -> hashlib._Hash:
    """The digest of everything but the elements of the arrays."""
    named = [[name, code, list(shape)] for name, (code, shape) in sorted(layout.items())]
    return hashlib.sha256(dump([sorted(metadata.items()), named]).encode("ascii"))


def _check_metadata(metadata: Mapping[str, str]) -> None:
    """FileFormatError for metadata that is neither ours nor that of another program."""
    ours = {name for name in metadata if name.startswith(_OURS)}
    if not ours:
        return
    version = metadata.get(_FORMAT)
    if version is None:
        raise FileFormatError(f"it is damaged: {_FORMAT} is missing from its metadata")
    if version not in FORMATS:
        raise FileFormatError(
            f"it has format {shown(version)}, written by fastlayers {shown(metadata.get(_VERSION, '?'))}; "
            f"this version reads {', '.join(FORMATS)}"
        )
    if ours - {_MODEL} != {_FORMAT, _VERSION, _CHECKSUM}:
        raise FileFormatError(f"it is damaged: its metadata holds {', '.join(map(shown, sorted(ours)))}")
