"""PyTorch with torch.compile, for whole nets: a column of its own, since it needs a C++ compiler, and time for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import torch

from fastlayers.bench.contenders import Arguments, Modes, find, installed
from fastlayers.bench.contenders import pytorch_net as net


class Library:
    """torch with `threads` threads; ImportError where there is no C++ compiler."""

    def __init__(self, threads: int, dtype: str) -> None:
        if not any(map(shutil.which, ("c++", "g++", "clang++"))):
            raise ImportError("torch.compile needs a C++ compiler (g++ or clang++), and there is none here")
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)

    def versions(self) -> dict[str, str]:
        return installed("torch", "numpy")

    def modes(self, op: str, arguments: Arguments, options: dict[str, Any]) -> Modes:
        return find(OPS, op)(**arguments)


OPS: dict[str, Callable[..., Modes]] = {"infer": net.compiled_infer, "train_step": net.compiled_train_step}
