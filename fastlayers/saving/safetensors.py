"""The safetensors format: named arrays, and a dictionary of strings, in one file.

    8 bytes   n, the length of the header, little-endian
    n bytes   the header, JSON in UTF-8, spaces at its end:
              {"__metadata__": {"name": "text", …},
               "name": {"dtype": "F32", "shape": [5, 3], "data_offsets": [0, 60]}, …}
    the rest  the arrays, C order, little-endian; data_offsets count from the start of this part

The arrays fill that part without overlap, hole or remainder. Of the format's dtypes, F32 and F64 are known
here. Reading trusts nothing: all of the above is checked, against the size of the file, before any array is
made. Until then a header takes some twenty times its length, and 80 MB at the very most.

Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import math
import os
import stat
import sys
from collections.abc import Callable, Mapping
from io import BufferedRandom, BufferedReader
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from fastlayers.checks import F32, F64, Array
from fastlayers.saving.errors import FileFormatError
from fastlayers.saving.strict_json import dump, parse, shown

LONGEST_HEADER = 8 * 2**20  # bytes
LONGEST_NAME = 1000  # characters
_MOST_AXES = 32  # what every NumPy has
_CHUNK = 2**20  # bytes that are read, or written, at once
_METADATA = "__metadata__"
_DTYPES: dict[object, np.dtype[Any]] = {"F64": F64, "F32": F32}
_CODES = {F64: "F64", F32: "F32"}

Update = Callable[[Any], object]


class Entry(NamedTuple):
    """What the header says of one array. `start` and `stop` are places in the file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    stop: int

    def __str__(self) -> str:
        return f"{self.shape} {self.dtype}"


class Reader:
    """The header of a safetensors file, checked, and its arrays on demand.

    metadata   name -> text
    entries    name -> Entry
    """

    def __init__(self, file: BufferedReader | BufferedRandom) -> None:
        self._file = file
        size = os.fstat(file.fileno()).st_size
        raw = _read_header(file, size)
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise FileFormatError(f"its header is not UTF-8: {error}") from None
        header = parse(text, "its header")
        self.metadata = _checked_metadata(header.pop(_METADATA, {}))
        self.entries = {name: _checked_entry(name, value, 8 + len(raw)) for name, value in header.items()}
        _check_places(self.entries, 8 + len(raw), size)

    @property
    def elements(self) -> int:
        """The number of elements in all arrays."""
        return sum(math.prod(entry.shape) for entry in self.entries.values())

    def read(self, name: str, into: Array | None, update: Update) -> None:
        """Read one array into `into`, C-contiguous and of its shape and dtype, or, for None, nowhere.

        All bytes, as they are in the file, go through update(bytes).
        """
        entry = self.entries[name]
        self._file.seek(entry.start)
        room = bytes_of(into) if into is not None else np.empty(min(_CHUNK, entry.stop - entry.start), np.uint8)
        for place in range(0, entry.stop - entry.start, _CHUNK):
            wanted = min(_CHUNK, entry.stop - entry.start - place)
            chunk = room[place : place + wanted] if into is not None else room[:wanted]
            if self._file.readinto(chunk.data) != wanted:
                raise FileFormatError("it became shorter while it was read")
            update(chunk.data)
        if into is not None and sys.byteorder == "big":
            into.byteswap(inplace=True)


def open_to_read(path: str | os.PathLike[str]) -> BufferedReader:
    """The file at `path`. OSError where there is none, FileFormatError for pipes and devices."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # opening a directory says so itself
        raise FileFormatError("it is not a regular file")
    return open(path, "rb")


def write(file: BinaryIO, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write arrays of float32 and float64 and `metadata`. ValueError for names that `Reader` would refuse."""
    header: dict[str, Any] = {_METADATA: dict(metadata)}
    ordered = sorted(arrays, key=lambda name: -arrays[name].itemsize)  # so that all are aligned
    place = 0
    for name in ordered:
        check_name(name)
        array = arrays[name]
        stop = place + array.nbytes
        header[name] = {"dtype": code_of(array.dtype), "shape": list(array.shape), "data_offsets": [place, stop]}
        place = stop
    text = dump(header).encode("ascii")
    text += b" " * (-len(text) % 8)
    if len(text) > LONGEST_HEADER:
        raise ValueError(f"the header would take {len(text):,} bytes; at most {LONGEST_HEADER:,} can be read again")
    file.write(len(text).to_bytes(8, "little") + text)
    for name in ordered:
        each_chunk(arrays[name], file.write)


def each_chunk(array: Array, use: Update) -> None:
    """use(bytes) for the bytes of an array as they stand in a file, a part at a time."""
    flat = array.reshape(-1)
    step = _CHUNK // array.itemsize
    for place in range(0, flat.size, step):
        use(bytes_of(flat[place : place + step].astype(array.dtype.newbyteorder("<"), copy=False)).data)


def code_of(dtype: np.dtype[Any]) -> str:
    """The format's name for a dtype, "F32" or "F64"."""
    return _CODES[dtype.newbyteorder("=")]


def check_name(name: str) -> None:
    """ValueError for a name that no layer would give a weight, and that could lead a program astray.

    That is: empty or very long, with control characters, backslashes or lone surrogates in it, or with a part
    between slashes that is empty, "." or "..".
    """
    parts = name.split("/")
    if (
        len(name) > LONGEST_NAME
        or not name.isprintable()
        or "\\" in name
        or name == _METADATA
        or any(part in ("", ".", "..") for part in parts)
    ):
        raise ValueError(f"{shown(name)} cannot be the name of an array in a file")


def _read_header(file: BufferedReader | BufferedRandom, size: int) -> bytes:
    if size < 10:
        raise FileFormatError(f"it is not a safetensors file: it has {size} bytes")
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= size - 8:
        raise FileFormatError(
            f"it is not a safetensors file, or it is cut short: it has {size:,} bytes, and a header of {length:,}"
        )
    if length > LONGEST_HEADER:
        raise FileFormatError(f"its header takes {length:,} bytes, more than {LONGEST_HEADER:,}")
    raw = file.read(length)
    if len(raw) != length or not raw.startswith(b"{"):
        raise FileFormatError("it is not a safetensors file: there is no header")
    return raw


def _checked_metadata(found: Any) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise FileFormatError(f"{_METADATA} in its header does not map names to texts")
    return found


def _checked_entry(name: str, found: Any, data_start: int) -> Entry:
    """The Entry of one array, right in itself."""
    try:
        check_name(name)
    except ValueError as error:
        raise FileFormatError(str(error)) from None
    if not isinstance(found, dict) or found.keys() != {"dtype", "shape", "data_offsets"}:
        raise FileFormatError(f"the header does not give dtype, shape and data_offsets of {shown(name)}")
    if not isinstance(found["dtype"], str) or found["dtype"] not in _DTYPES:
        raise FileFormatError(f"{shown(name)} is of dtype {shown(found['dtype'])}; F32 and F64 can be read")
    dtype = _DTYPES[found["dtype"]]
    shape, offsets = found["shape"], found["data_offsets"]
    if not _are_sizes(shape) or len(shape) > _MOST_AXES:
        raise FileFormatError(f"{shown(name)} has the shape {shown(shape)}")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise FileFormatError(f"{shown(name)} has the data_offsets {shown(offsets)}")
    if math.prod(shape) * dtype.itemsize != offsets[1] - offsets[0]:
        raise FileFormatError(
            f"{shown(name)} has the shape {shown(shape)}, dtype {dtype} and {offsets[1] - offsets[0]:,} bytes"
        )
    return Entry(dtype, tuple(shape), data_start + offsets[0], data_start + offsets[1])


def _are_sizes(found: Any) -> bool:
    return isinstance(found, list) and all(type(size) is int and 0 <= size < 2**63 for size in found)


def _check_places(entries: Mapping[str, Entry], start: int, size: int) -> None:
    """Each array begins where another ends."""
    place = start
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].stop)):
        if entry.start != place:
            what = "overlaps another array" if entry.start < place else "leaves a hole before it"
            raise FileFormatError(f"{shown(name)} {what}: it begins at byte {entry.start:,}, not {place:,}")
        place = entry.stop
    if place != size:
        raise FileFormatError(f"it is cut short or too long: it has {size:,} bytes, and its arrays end at {place:,}")


def bytes_of(array: Array) -> Array:
    """The memory of a C-contiguous array."""
    return array.reshape(-1).view(np.uint8)
