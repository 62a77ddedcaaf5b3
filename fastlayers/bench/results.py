"""What a measurement leaves behind, as it is kept in JSON, and the medians and ratios that follow from it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, NamedTuple

from fastlayers.bench.contenders import OURS

ITEMSIZE = {"float32": 4, "float64": 8}
BEYOND_CACHE = 32 << 20  # bytes; what is smaller may be quicker than copying memory


@dataclass
class Timing:
    """One mode of one contender: seconds a call, one entry for each round."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # CPU seconds a call, over all threads
    faults: list[float] = field(default_factory=list)  # page faults a call

    def add(self, seconds: float, cpu: float, faults: float) -> None:
        self.seconds.append(seconds)
        self.cpu.append(cpu)
        self.faults.append(faults)


@dataclass
class Outcome:
    """What one contender did: its modes that took part in the rounds, and a note where not all went well.

    dropped   modes that were so slow in the warm-up that the rounds were spared, with the seconds of a call
    single    whether a call took so long that it was timed once
    peak      bytes that the process had in memory at most, its libraries included; 0 if that is not known
    """

    modes: dict[str, Timing] = field(default_factory=dict)
    dropped: dict[str, float] = field(default_factory=dict)
    note: str = ""
    single: bool = False
    peak: int = 0

    def best(self) -> Timing | None:
        """The quickest mode by its median."""
        return min(self.modes.values(), key=lambda timing: median(timing.seconds), default=None)


@dataclass
class Result:
    """One task on one number of threads. The limits are rates, one for each round: flops and bytes a second."""

    group: str
    name: str
    op: str
    shape: str
    threads: int
    dtype: str
    flops: float
    elements: float
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    limits: dict[str, list[float]] = field(default_factory=dict)
    others: float = 0.0  # part of the CPUs' time that went to other programs meanwhile

    @property
    def key(self) -> str:
        return f"{self.group}/{self.name}/{self.op}"

    def seconds(self, contender: str = OURS) -> float | None:
        """Median over the rounds."""
        timing = self._timing(contender)
        return median(timing.seconds) if timing else None

    def faults(self, contender: str = OURS) -> float | None:
        timing = self._timing(contender)
        return median(timing.faults) if timing and timing.faults else None

    def _timing(self, contender: str) -> Timing | None:
        return self.outcomes[contender].best() if contender in self.outcomes else None

    def ratio(self, peer: str) -> Ratio | None:
        """How many times as long as ours the peer took, worked out in each round."""
        ours, theirs = self._timing(OURS), self._timing(peer)
        if ours is None or theirs is None:
            return None
        if len(theirs.seconds) == 1 or len(ours.seconds) == 1:
            return Ratio.of([median(theirs.seconds) / median(ours.seconds)])
        return Ratio.of([b / a for a, b in zip(ours.seconds, theirs.seconds, strict=False)])

    def rate(self) -> tuple[float, str] | None:
        """(1e9 a second, "GF/s" or "GB/s") of ours."""
        seconds = self.seconds()
        if not seconds or not (self.flops or self.elements):
            return None
        return (self.flops / seconds / 1e9, "GF/s") if self.flops else (self.bytes() / seconds / 1e9, "GB/s")

    def bytes(self) -> float:
        return self.elements * ITEMSIZE[self.dtype]

    def share(self) -> float | None:
        """The least time that the machine allows, by its multiply-adds and by its copying, over our time.

        Winograd's algorithm does fewer multiply-adds than the direct convolution that is counted, so it may exceed 1.
        Arrays that fit the caches have no limit by copying.
        """
        timing = self._timing(OURS)
        bounds: list[list[float]] = []
        if self.flops and self.limits.get("flops"):
            bounds.append([self.flops / rate for rate in self.limits["flops"]])
        if self.bytes() > BEYOND_CACHE and self.limits.get("bytes"):
            bounds.append([self.bytes() / rate for rate in self.limits["bytes"]])
        if timing is None or not bounds:
            return None
        least = [max(times) for times in zip(*bounds, strict=False)]
        return float(median(bound / seconds for bound, seconds in zip(least, timing.seconds, strict=False)))


class Ratio(NamedTuple):
    """A median over rounds, and the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Ratio:
        ordered = sorted(values)
        return cls(median(ordered), _quantile(ordered, 0.25), _quantile(ordered, 0.75))


def _quantile(ordered: Sequence[float], q: float) -> float:
    """Linear between the two values around it."""
    at = q * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def geometric_mean(values: Iterable[float]) -> float:
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs))


def to_json(result: Result) -> dict[str, Any]:
    return asdict(result)


def from_json(entry: dict[str, Any]) -> Result:
    outcomes = {
        name: Outcome(**{**fields, "modes": {mode: Timing(**timing) for mode, timing in fields["modes"].items()}})
        for name, fields in entry["outcomes"].items()
    }
    return Result(**{**entry, "outcomes": outcomes})
