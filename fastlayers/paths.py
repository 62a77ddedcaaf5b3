"""Where the files of this installation are."""

from __future__ import annotations

from pathlib import Path


def get_include() -> str:
    """The folder for the C compiler's -I, so that a kernel may `#include <fastlayers/varray.h>`."""
    return str(Path(__file__).parent / "include")
