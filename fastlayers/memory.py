"""The pool that large results and workspaces return to: fresh pages from the system cost far more than reused ones."""

from __future__ import annotations

import os

from fastlayers._kernels import runtime

LIMIT_VARIABLE = "FASTLAYERS_POOL_MB"


def _limit_from_environment() -> None:
    text = os.environ.get(LIMIT_VARIABLE)
    if text is None:
        return
    if not text.isdigit():
        raise ImportError(f"{LIMIT_VARIABLE}: expected a whole number of megabytes, 0 for no reuse, got {text!r}")
    runtime.limit_idle_buffers(int(text) << 20)


def empty_cache() -> None:
    """Give the memory that waits for reuse back to the system. Arrays in use are not touched."""
    runtime.empty_buffers()


_limit_from_environment()
