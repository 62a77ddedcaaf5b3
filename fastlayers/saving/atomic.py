"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedRandom
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BufferedRandom]:
    """A new file that takes the place of the one at `path` when the block ends, and vanishes after an error.

    It is on disk by then, so that a crash leaves the old file or the new one. It keeps the permissions of the
    old one, and a symbolic link goes on pointing to where it did. ValueError if what is at `path` is no file.
    """
    target = Path(os.path.realpath(path))
    mode = _mode_of(target)
    draft = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with open(draft, "x+b") as file:
            if mode is not None:
                os.chmod(draft, mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except FileNotFoundError as error:
        if error.filename != os.fspath(draft):
            raise
        raise FileNotFoundError(error.errno, error.strerror, os.fspath(path)) from None
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(target.parent)


def _mode_of(target: Path) -> int | None:
    """The permissions of a file that is to be replaced, None where there is none yet."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise ValueError(f"{target} is there already and is not a regular file")
    return stat.S_IMODE(mode)


def _sync_folder(folder: Path) -> None:
    """Have the new name of a file on disk too, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
