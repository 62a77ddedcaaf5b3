"""What runs where: backend, threads and instruction set, chosen per context.

The choice lives in a context variable, so that two threads or two asynchronous tasks never disturb each other, and it
is handed to the kernels as arguments: nothing below Python remembers it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from fastlayers import _cpu
from fastlayers._kernels import runtime

BACKENDS = ("compiled", "reference")
PRECISIONS = ("fast", "high")


@dataclass(frozen=True, slots=True)
class Settings:
    """One choice of path.

    `isa` is an index into `runtime.isa_names()`. A positive `threads` is an order (plus `runtime.FORCE_TEAM`: for
    small ops too); a negative one is the default, which the process's own OpenMP limit (`OMP_NUM_THREADS`,
    threadpoolctl) may lower at any time.
    """

    backend: str
    threads: int
    isa: int
    precision: str
    verifying: bool
    debug: bool = False


def available_isas() -> list[str]:
    """Names of the instruction sets that are both built in and present on this CPU, slowest first."""
    return [name for index, name in enumerate(runtime.isa_names()) if runtime.isa_supported(index)]


def isa_index(name: str) -> int:
    """Position of `name` in the kernels' tables; ValueError naming what is present when it can't run here."""
    present = available_isas()
    if name not in present:
        raise ValueError(f"isa: expected one of {', '.join(present)} (present on this machine), got {name!r}")
    return runtime.isa_names().index(name)


def isa_name(index: int) -> str:
    return runtime.isa_names()[index]


def _default() -> Settings:
    forced = os.environ.get("FASTLAYERS_ISA")
    try:
        isa = isa_index(forced if forced else available_isas()[-1])
    except ValueError as error:
        raise ImportError(f"FASTLAYERS_ISA={forced}: {error}") from None
    threads, _ = _cpu.default_threads()
    return Settings(backend="compiled", threads=-threads, isa=isa, precision="fast", verifying=False)


_DEFAULT = _default()
_current: ContextVar[Settings] = ContextVar("fastlayers_settings", default=_DEFAULT)
current = _current.get

debugging: list[object] = []  # one entry for each debug=True in use anywhere: while it is empty, layers look no further


@contextmanager
def use(
    *,
    backend: str | None = None,
    threads: int | None = None,
    isa: str | None = None,
    precision: str | None = None,
    verifying: bool | None = None,
    debug: bool | None = None,
    force_threads: bool = False,
) -> Iterator[None]:
    """Scope a choice of path to a `with` block, in this thread or asynchronous task only.

    backend     "compiled" or "reference" (the NumPy twin)
    threads     number of threads an op may use; small ops use one. OpenMP's own setting is never changed
    isa         an instruction set present here, see `show_config()`
    precision   "fast", or "high": convolutions keep to direct sums and the small Winograd tiles
    verifying   run both paths on every op and raise on disagreement
    debug       check every layer's shapes, dtypes and numbers, and name the first layer that breaks
    force_threads  with `threads`: small ops use all of them as well, which is slow, but shows that results don't change

    Raises ValueError or TypeError when a value is not one of these; settings left out keep their present value.
    """
    changes: dict[str, object] = {}
    if backend is not None:
        if backend not in BACKENDS:
            raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {backend!r}")
        changes["backend"] = backend
    if threads is not None:
        if isinstance(threads, bool) or not isinstance(threads, int):
            raise TypeError(f"threads: expected a positive int, got {threads!r}")
        if not 1 <= threads <= runtime.MAX_THREADS:
            raise ValueError(f"threads: expected 1 to {runtime.MAX_THREADS}, got {threads}")
        changes["threads"] = threads + runtime.FORCE_TEAM if force_threads else threads
    elif force_threads:
        raise ValueError("force_threads: expected together with threads, got it alone")
    if isa is not None:
        changes["isa"] = isa_index(isa)
    if precision is not None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
        changes["precision"] = precision
    if verifying is not None:
        changes["verifying"] = bool(verifying)
    if debug is not None:
        changes["debug"] = bool(debug)
    token = _current.set(replace(current(), **changes))  # type: ignore[arg-type]
    if debug:
        debugging.append(token)
    try:
        yield
    finally:
        if debug:
            debugging.remove(token)
        _current.reset(token)
