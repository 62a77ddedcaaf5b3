"""The seam: op name -> compiled kernel or NumPy reference.

An op is one function in `fastlayers._kernels.<family>` and one of the same name in `fastlayers.reference.<family>`,
with the same positional arguments; the compiled one takes the instruction set and the number of threads after them.
A family is loaded when one of its ops is first run. An op that lacks one of the two is an error then (and in the
tests, which run every op), so there is never a silent change of path.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from fastlayers.settings import current

FAMILIES: dict[str, tuple[str, ...]] = {
    "dense": ("dense", "dense_backward_input", "dense_backward_weight"),
    "conv": ("conv2d", "conv2d_backward_input", "conv2d_backward_weight"),
    "pool": ("max_pool2d", "max_pool2d_backward", "average_pool2d", "average_pool2d_backward"),
    "activation": ("activation", "activation_backward", "softmax", "softmax_backward"),
    "loss": (
        "sparse_categorical_crossentropy",
        "categorical_crossentropy",
        "binary_crossentropy",
        "mean_squared_error",
    ),
    "optimizer": ("sgd_update", "adam_update"),
    "dropout": ("dropout",),
    "merge": ("add", "multiply"),
}

FAMILY = {name: family for family, names in FAMILIES.items() for name in names}


class Op(NamedTuple):
    """The two twins of one op."""

    name: str
    compiled: Callable[..., Any]
    reference: Callable[..., Any]


def kernels(family: str) -> Any:
    """The compiled module of a family, loaded when it is first asked for."""
    return import_module(f"fastlayers._kernels.{family}")


class _Ops(dict[str, Op]):
    """name -> op, for the ops whose families have been loaded; asking for one loads it."""

    def __missing__(self, name: str) -> Op:
        family = FAMILY[name]
        compiled = kernels(family)
        reference = import_module(f"fastlayers.reference.{family}")
        op = self[name] = Op(name, getattr(compiled, name), getattr(reference, name))
        return op


OPS = _Ops()


def run(name: str, *args: Any) -> Any:
    """Run op `name` on the path that the current settings choose."""
    op = OPS[name]
    settings = current()
    if settings.verifying:
        return _run_both(op, args, settings.isa, settings.threads)
    if settings.backend == "reference":
        return op.reference(*args)
    return op.compiled(*args, settings.isa, settings.threads)


def _run_both(op: Op, args: tuple[Any, ...], isa: int, threads: int) -> Any:
    """The compiled result, after the reference has agreed with it; VerificationError otherwise."""
    from fastlayers.verification import compare, snapshot  # not above: verification runs ops through the seam

    before = snapshot(args)
    result = op.compiled(*args, isa, threads)
    compare(op.name, before, args, result)
    return result
