"""The machine itself: multiply-adds in registers and copying beyond the caches, on as many threads as the others."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from fastlayers import settings
from fastlayers._kernels import peak
from fastlayers.bench.contenders import Arguments, Call, Modes, find, installed

COPY_BYTES = 64 << 20
ROUND_SECONDS = 0.003


class Library:
    """Op `limits`: a call does as much in ROUND_SECONDS as the machine can."""

    def __init__(self, threads: int, dtype: str) -> None:
        self.threads, self.double = threads, dtype == "float64"
        self.isa = settings.current().isa

    def versions(self) -> dict[str, str]:
        return installed("fastlayers")

    def modes(self, op: str, arguments: Arguments, options: dict[str, Any]) -> Modes:
        return find({"limits": self.limits}, op)()

    def limits(self) -> Modes:
        """Modes "flops" and "bytes"; the one output says how many of them a call does."""
        rounds = self._rounds()
        flops = peak.multiply_adds(rounds, self.double, self.isa, self.threads)
        source = np.ones(COPY_BYTES // 4, np.float32)
        target = np.zeros_like(source)
        copied = peak.copy(target, source, self.threads)
        return {
            "flops": Call(
                lambda: peak.multiply_adds(rounds, self.double, self.isa, self.threads),
                lambda _: [np.array([flops], float)],
            ),
            "bytes": Call(lambda: peak.copy(target, source, self.threads), lambda _: [np.array([copied], float)]),
        }

    def _rounds(self) -> int:
        """So many that a call takes about ROUND_SECONDS."""
        rounds, seconds = 1000, 0.0
        while seconds < ROUND_SECONDS:
            rounds *= 2
            start = time.perf_counter()
            peak.multiply_adds(rounds, self.double, self.isa, 1)
            seconds = time.perf_counter() - start
        return rounds
