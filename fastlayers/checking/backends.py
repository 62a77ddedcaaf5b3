"""Do the compiled kernels of a layer, its author's own among them, compute what NumPy does?"""

from __future__ import annotations

from typing import Any

from fastlayers import settings
from fastlayers.checking.findings import Findings, Unsettled
from fastlayers.checking.subject import DTYPES, Subject
from fastlayers.comparison import VerificationError, rounding
from fastlayers.twin import CompiledTwin, compiled_twins

Twins = list[CompiledTwin[..., Any]]


def check_backends(subject: Subject, found: Findings) -> None:
    """Every op and every compiled twin in a step agrees with its NumPy function, and so, in float64, do y, dx and the
    weights' gradients from one end to the other.
    """
    subject.require_repeatable()
    before = {twin.name: twin.comparisons for twin in compiled_twins()}
    for dtype in DTYPES:
        for training in (True, False):
            try:
                with settings.use(verifying=True):
                    subject.step(subject.fresh(dtype), subject.x(dtype), training)
            except VerificationError as error:
                refused = any(verdict.state == "refused" for twin in _used(before) for verdict in twin.verdicts)
                likely = "compiled twin differs" if refused else None
                found.raised(error, f"a {dtype} step under fl.verifying()", likely)
                return
    if not all(_equal(subject, training, found) for training in (True, False)):
        return
    used = _used(before)
    absent = [f"{twin.name} has no compiled function, {twin.absent}" for twin in used if twin.absent]
    if absent:
        raise Unsettled("; ".join(absent))
    found.row.note = ", ".join(twin.name for twin in used)


def _used(before: dict[str, int]) -> Twins:
    """The twins that have been called since."""
    return [twin for twin in compiled_twins() if twin.comparisons > before.get(twin.name, 0)]


def _equal(subject: Subject, training: bool, found: Findings) -> bool:
    """Whether the compiled step gives what the one in NumPy does, but for the order of sums."""
    steps = {}
    for backend in settings.BACKENDS:
        with settings.use(backend=backend, verifying=False):
            steps[backend] = subject.step(subject.fresh("float64"), subject.x("float64"), training).results()
    # of the largest number anywhere: a gradient may be a sum of such that is 0
    tolerance = max(rounding(expected, expected.dtype) for expected in steps["reference"].values())
    return all(
        found.same(name, steps["compiled"][name], expected, tolerance, "NumPy's")
        for name, expected in steps["reference"].items()
    )
