"""JSON without what makes it ambiguous or dangerous to read."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from fastlayers.saving.errors import FileFormatError

_MOST_VALUES = 200_000
_DEEPEST = 100
_LONGEST_NUMBER = 100  # characters


def parse(text: str, what: str) -> Any:
    """The value that `text` stands for. FileFormatError, naming `what`, for

    syntax errors, a name that occurs twice in one object, NaN and infinities, numbers beyond float64 or of
    more than 100 characters, more than 200,000 values, and nesting deeper than 100.
    """
    if text.count(",") + text.count("[") + text.count("{") > _MOST_VALUES:
        raise FileFormatError(f"{what} has more than {_MOST_VALUES:,} values")
    try:
        value = json.loads(
            text,
            parse_int=lambda digits: int(_short(digits, what)),
            parse_float=lambda digits: _finite(digits, what),
            parse_constant=lambda name: _refuse(f"{what} holds {name}, which is no number"),
            object_pairs_hook=lambda pairs: _unique(pairs, what),
        )
    except FileFormatError:
        raise
    except RecursionError:
        raise FileFormatError(f"{what} is nested deeper than {_DEEPEST}") from None
    except ValueError as error:
        raise FileFormatError(f"{what} is not JSON: {error}") from None
    _check_depth(value, what)
    return value


def dump(value: Any) -> str:
    """`value` as short ASCII text. ValueError for NaN and infinities."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _short(digits: str, what: str) -> str:
    if len(digits) > _LONGEST_NUMBER:
        raise FileFormatError(f"{what} holds a number of {len(digits):,} characters")
    return digits


def _finite(digits: str, what: str) -> float:
    number = float(_short(digits, what))
    if not math.isfinite(number):
        raise FileFormatError(f"{what} holds {digits}, which is beyond float64")
    return number


def _unique(pairs: list[tuple[str, Any]], what: str) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        for name, _ in pairs:  # the first that is not taken off is there for the second time
            if found.pop(name, pairs) is pairs:
                raise FileFormatError(f"{what} has {shown(name)} twice in one object")
    return found


def _refuse(message: str) -> NoReturn:
    raise FileFormatError(message)


def _check_depth(value: Any, what: str) -> None:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            item
            for entry in level
            if isinstance(entry, (dict, list))
            for item in (entry.values() if isinstance(entry, dict) else entry)
        ]
        if not level:
            return
    raise FileFormatError(f"{what} is nested deeper than {_DEEPEST}")


def shown(value: object, most: int = 80) -> str:
    """`value` as it may appear in a message: on one line, and cut where it is long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"
