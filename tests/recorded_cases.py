"""Read the recorded results: (name, attributes, arrays) of every case of a file in tests/recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

RECORDED = Path(__file__).parent / "recorded"


class Recorded(NamedTuple):
    name: str
    attributes: dict[str, Any]
    arrays: dict[str, np.ndarray]


def read(family: str) -> list[Recorded]:
    """Every case of one file, in the order of recording."""
    cases: dict[str, Recorded] = {}
    with np.load(RECORDED / f"{family}.npz", allow_pickle=False) as file:
        for key in file.files:
            name, what = key.split("/")
            case = cases.setdefault(name, Recorded(name, {}, {}))
            if what == "attributes":
                case.attributes.update(json.loads(str(file[key])))
            else:
                case.arrays[what] = file[key]
    return list(cases.values())
