"""Messages between the benchmark and a contender's process.

A message is one line of JSON, followed by the bytes of the arrays that it mentions, in their order: an array stands in
the JSON as {"array": [dtype, shape]}.
"""

from __future__ import annotations

import json
import math
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Message = dict[str, Any]


class ProtocolError(Exception):
    """What came is no message, or only a part of one."""


class Unsupported(Exception):  # noqa: N818 - an answer, not a failure
    """A contender has no such op; the text says why."""


def send(stream: BinaryIO, message: Message) -> None:
    arrays: list[Array] = []

    def placeholder(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays.append(np.ascontiguousarray(value))
            return {"array": [value.dtype.str, value.shape]}
        if isinstance(value, np.generic):
            return value.item()
        raise TypeError(f"cannot send a {type(value).__name__}")

    stream.write(json.dumps(message, default=placeholder).encode() + b"\n")
    for array in arrays:
        stream.write(array.tobytes() if array.size < 1 << 16 else array.data.cast("B"))
    stream.flush()


def receive(stream: BinaryIO) -> Message | None:
    """The next message, None where the stream ends before one; ProtocolError where it ends within one."""
    line = stream.readline()
    if not line:
        return None

    def restore(value: Message) -> Any:
        return _read_array(stream, *value["array"]) if value.keys() == {"array"} else value

    try:
        message = json.loads(line, object_hook=restore)
    except ValueError as error:
        raise ProtocolError(f"expected a line of JSON, got {line[:80]!r}: {error}") from error
    if not isinstance(message, dict):
        raise ProtocolError(f"expected a JSON object, got {line[:80]!r}")
    return message


def _read_array(stream: BinaryIO, dtype: str, shape: list[int]) -> Array:
    """An array in memory of NumPy's own, as a user's would be: large ones in huge pages, where the system has them."""
    array: Array = np.empty(math.prod(shape), dtype)
    got = stream.readinto(array.view(np.uint8).data)  # type: ignore[attr-defined]
    if got != array.nbytes:
        raise ProtocolError(f"expected {array.nbytes} bytes of an array, got {got}")
    return array.reshape(shape)
