from typing import Any

from fastlayers.shapes import Window2D

ALGORITHMS: list[str]
PASSES: tuple[str, ...]

def block_sizes(isa: int) -> dict[str, Any]: ...
def algorithm(
    window: Window2D,
    batch: int,
    channels: int,
    filters: int,
    groups: int,
    double_precision: bool,
    which: str,
    wish: str,
    isa: int = 0,
) -> str: ...
def workspace(
    window: Window2D,
    batch: int,
    channels: int,
    filters: int,
    groups: int,
    double_precision: bool,
    which: str,
    wish: str,
    isa: int,
    threads: int,
) -> int: ...
