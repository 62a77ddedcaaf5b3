"""What is measured: one op on one shape, or one whole net."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """One row of the suite.

    group, network, layer, op   its place: conv3x3/resnet50.conv2/forward
    function    what the contenders call it
    shape       its sizes, for people
    make        dtype -> the arguments, named as those of the reference function
    flops       of one call, those of a direct convolution whatever the algorithm; 0 where memory is the limit
    elements    numbers that one call must read and write, each counted once
    quick       whether it belongs to the quick subset
    options     settings that ours needs, for fl.use
    tolerance   in units of the suite's: whole nets amplify rounding errors
    only        the peers that take part, all when empty
    """

    group: str
    network: str
    layer: str
    op: str
    function: str
    shape: str
    make: Callable[[str], Arguments] = field(repr=False, compare=False)
    flops: float = 0.0
    elements: float = 0.0
    quick: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 1.0
    only: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.network}.{self.layer}" if self.layer else self.network

    @property
    def key(self) -> str:
        return f"{self.group}/{self.name}/{self.op}"

    def matches(self, pattern: str) -> bool:
        """Whether a pattern "group", "group/name" or "group/name/op" with * and ? fits, in any case."""
        wanted = pattern.lower().split("/")
        have = self.key.lower().split("/")
        return len(wanted) <= 3 and all(fnmatchcase(part, glob) for part, glob in zip(have, wanted, strict=False))


def select(tasks: list[Task], patterns: list[str], quick: bool) -> list[Task]:
    """The tasks that fit one of the patterns, all of them without any; ValueError for a pattern that none fits."""
    for pattern in patterns:
        if not any(task.matches(pattern) for task in tasks):
            groups = ", ".join(dict.fromkeys(task.group for task in tasks))
            raise ValueError(f"--only: nothing fits {pattern!r}; a pattern is GROUP/NAME/OP, the groups are {groups}")
    chosen = [task for task in tasks if not patterns or any(map(task.matches, patterns))]
    starred = [task for task in chosen if task.quick]
    return starred if quick and starred else chosen


def words(line: str) -> tuple[list[str], dict[str, str]]:
    """ "conv k=3 o=8" -> ["conv"], {"k": "3", "o": "8"}"""
    parts = line.split()
    return [part for part in parts if "=" not in part], dict(part.split("=", 1) for part in parts if "=" in part)


def sizes(text: str) -> tuple[int, ...]:
    """ "28x28x1" -> (28, 28, 1)"""
    if not re.fullmatch(r"\d+(x\d+)*", text):
        raise ValueError(f"expected sizes such as 28x28x1, got {text!r}")
    return tuple(map(int, text.split("x")))


def pair(text: str) -> tuple[int, int]:
    """ "3" -> (3, 3), "1x7" and "1,7" -> (1, 7)"""
    first, *rest = sizes(text.replace(",", "x"))
    return first, (rest[0] if rest else first)


def around(text: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Padding alike on both sides: "1" -> ((1, 1), (1, 1)), "0,3" -> ((0, 0), (3, 3))"""
    rows, columns = pair(text)
    return (rows, rows), (columns, columns)
