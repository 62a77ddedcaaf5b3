"""Who takes part: one module for each contender, which knows the suite's ops in its own library.

A contender gets an op's arguments under the names of the reference function, images as (N, H, W, C), kernels as
(KH, KW, C/groups, O) or (I, O). It converts them to the layout it likes best before the clock starts, and its outputs
back to ours only for the comparison. It may offer an op in several modes; the quickest of them counts.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple, Protocol, TypeVar

from fastlayers.bench.protocol import Array, Unsupported

Arguments = dict[str, Any]
R = TypeVar("R")


class Call(NamedTuple):
    """One op, ready to be called over and over."""

    run: Callable[[], Any]
    outputs: Callable[[Any], list[Array]]  # what run returned, as arrays of our layout
    scope: Callable[[], AbstractContextManager[Any]] = nullcontext  # held around the calls


Modes = dict[str, Call]


class Contender(Protocol):
    """What a contender's module calls `Library`: made once in a process, for a number of threads and a dtype."""

    def __init__(self, threads: int, dtype: str) -> None: ...

    def versions(self) -> dict[str, str]:
        """Versions of the packages that matter."""

    def modes(self, op: str, arguments: Arguments, options: dict[str, Any]) -> Modes:
        """The op in every mode worth trying; Unsupported where there is none."""


class Row(NamedTuple):
    """Where a contender is, and the package to install for it."""

    module: str
    package: str


CONTENDERS = {
    "fastlayers": Row("ours", "fastlayers"),
    "torch": Row("pytorch", "torch"),
    "torch.compile": Row("compiled_pytorch", "torch"),
    "onnxruntime": Row("onnx_runtime", "onnxruntime onnx"),
    "jax": Row("xla", "jax"),
    "numpy": Row("openblas", "numpy"),
    "limit": Row("limit", "fastlayers"),
}
OURS = "fastlayers"
PEERS = ("torch", "onnxruntime", "jax", "numpy")
COMPILED = "torch.compile"


def load(name: str, threads: int, dtype: str) -> Contender:
    """The contender, in this process; ImportError where its package is missing."""
    library: type[Contender] = import_module(f"{__name__}.{CONTENDERS[name].module}").Library
    return library(threads, dtype)


def find(table: dict[str, R], op: str) -> R:
    """table[op]; Unsupported where it is missing."""
    if op not in table:
        raise Unsupported(f"has no {op}")
    return table[op]


def installed(*packages: str) -> dict[str, str]:
    """Their versions, as far as they are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def present(*outputs: Any) -> list[Array]:
    """The outputs that are not None."""
    return [output for output in outputs if output is not None]
