"""Tests of one's own layers, for pytest.

test_scale = fastlayers.testing.layer_tests(Scale, (5, 5, 3))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fastlayers.checking import CHECKS, CheckError, check_layer
from fastlayers.layer import Layer

__all__ = ["layer_tests"]


def layer_tests(
    layer: Layer | Callable[[], Layer], input_shape: Any = None, *, skip: Iterable[str] = (), **options: Any
) -> Callable[[str], None]:
    """A test function with a case for each check of `check_layer`, `test_scale[output_shape]` and so on.

    layer                  a layer, or a class or function that makes one: it is called once for each case
    input_shape, skip, …   as in `check_layer`

    A check that cannot decide is reported as skipped, with the reason.
    """
    import pytest

    left_out = tuple(skip)
    for name in left_out:
        if name not in CHECKS or name == "run":
            raise ValueError(f"layer_tests expects skip out of {', '.join(CHECKS)} but run, got {name!r}")

    @pytest.mark.parametrize("check", [name for name in CHECKS if name not in left_out])
    def test_layer(check: str) -> None:
        __tracebackhide__ = True
        made = layer if isinstance(layer, Layer) else layer()
        report = check_layer(made, input_shape, checks=[check], raise_on_failure=False, **options)
        row = next(row for row in report.rows if row.check == check)
        if row.unsettled:
            pytest.skip(f"not checked: {row.unsettled}")
        if not report.ok:
            raise CheckError(report)

    return test_layer
