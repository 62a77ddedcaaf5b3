"""Record what PyTorch and the ONNX node tests say an op computes, as small .npz files beside this script.

    python tests/recorded/make_recorded.py        (needs torch and onnx; the tests themselves need neither)

One file per source and family; a case is a set of arrays named `case/array`, its attributes a JSON text
named `case/attributes`. Layouts are those of the source: images (N, C, H, W), convolution kernels
(O, C/groups, KH, KW). PyTorch computes in float64 from inputs that float32 holds exactly. The two sources
say where they differ from us.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import from_onnx
import from_torch
import numpy as np

HERE = Path(__file__).parent
Case = tuple[str, dict[str, Any], dict[str, np.ndarray]]  # name, attributes, arrays


def write(path: Path, cases: Iterator[Case]) -> None:
    arrays: dict[str, np.ndarray] = {}
    for name, attributes, values in cases:
        arrays[f"{name}/attributes"] = np.array(json.dumps(attributes))
        arrays.update({f"{name}/{key}": value for key, value in values.items()})
    np.savez_compressed(path, **arrays)
    count = sum(key.endswith("/attributes") for key in arrays)
    print(f"{path.name}: {count} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    for source in (from_torch, from_onnx):
        for family, cases in source.FAMILIES.items():
            write(HERE / f"{source.__name__.removeprefix('from_')}_{family}.npz", cases())
