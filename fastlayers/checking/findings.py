"""Where a check writes down what it found."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

from fastlayers.checking.causes import Cause, cause
from fastlayers.checking.report import Failure, Row
from fastlayers.checking.values import Difference, difference

_PACKAGE = Path(__file__).parent.parent


class Unsettled(Exception):  # noqa: N818, it is no error
    """Raised by a check that cannot decide; its text says why."""


class Findings:
    """The outcome of one check, growing."""

    def __init__(self, check: str) -> None:
        self.row = Row(check)

    def fail(self, message: str, likely: Cause | None = None, where: Difference | None = None) -> None:
        found = (None, None, None) if where is None else (where.index, where.got, where.expected)
        self.row.failures.append(Failure(self.row.check, message, likely, *found))

    def same(
        self, what: str, got: Any, expected: Any, tolerance: Any, source: str, likely: Cause | None = None
    ) -> bool:
        """Whether two arrays are equal up to `tolerance`; a failure if not.

        The message reads: `what`[index] is …, `source` is …
        """
        if got.shape != expected.shape:
            self.fail(f"{what} has shape {got.shape}, {source} has {expected.shape}", likely)
            return False
        found = difference(got, expected, tolerance)
        if found is not None:
            self.fail(found.describe(what, source), likely, found)
        return found is None

    def raised(self, error: Exception, during: str, otherwise: str | None = None) -> None:
        """A failure for an exception inside the layer; `otherwise` names a cause if its text tells none."""
        likely = explain(error) or (cause(otherwise) if otherwise else None)
        self.fail(f"{during} raises {type(error).__name__}{_place(error)}: {error}", likely)


def explain(error: Exception) -> Cause | None:
    """The likely cause of an exception in a layer."""
    text = str(error)
    for pattern, name in _IN_MESSAGES:
        if re.search(pattern, text, re.DOTALL):
            return cause(name)
    return None


# what NumPy and the library say -> cause
_IN_MESSAGES = (
    (r"non-broadcastable output operand", "missing sum"),
    (r"\.grad has shape .*got|expects a gradient of (\(.*?\)) .*got (?!\1)", "missing sum"),
    (r"^matmul: .*mismatch in its core dimension|^shapes \(.* not aligned", "transposed"),
)


def _place(error: Exception) -> str:
    """in file:line, of the innermost frame that is not the library's own."""
    frames = traceback.extract_tb(error.__traceback__)
    outside = [frame for frame in frames if _PACKAGE not in Path(frame.filename).parents]
    outside = [frame for frame in outside if "numpy" not in Path(frame.filename).parts]
    if not outside or outside[-1].lineno is None:
        return ""
    return f" ({Path(outside[-1].filename).name}:{outside[-1].lineno})"
