"""The one error for files that are not what they should be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


class FileFormatError(ValueError):
    """A file that is damaged, hostile, of another kind, or that needs a class or version not present here."""


@contextmanager
def about(path: str | os.PathLike[str]) -> Iterator[None]:
    """Open the message of every FileFormatError within the block with the name of the file."""
    try:
        yield
    except FileFormatError as error:
        raise FileFormatError(f"{os.fspath(path)}: {error}") from error.__cause__
