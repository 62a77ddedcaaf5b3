"""Groups of results in one line each: the typical ratio to every peer, the lowest one, and what we aim for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

from fastlayers.bench.results import Result, geometric_mean
from fastlayers.bench.suite import GROUPS

# What we want the typical ratio to PyTorch to be; no single case shall be below FLOOR.
GOALS: dict[str, dict[str, float]] = {
    "conv3x3": {"forward": 1.9, "dx": 1.7, "dW": 2.5},
    "conv3x3-high": {"forward": 1.2, "dx": 1.2, "dW": 1.6},
    "conv1x1": {"forward": 1.05, "dx": 1.05, "dW": 1.25},
    "conv-other": {"forward": 1.1, "dx": 1.1, "dW": 1.6},
    "conv-first": {"forward": 1.3, "dW": 2.0},
    "depthwise": {"forward": 1.25, "dx": 1.25, "dW": 1.6},
    "dense": {"forward": 1.0, "dx": 1.0, "dW": 1.0},
    "dense-128": {"forward": 1.2, "dx": 1.2, "dW": 1.2},
    "dense-16": {"forward": 2.5, "dx": 1.4, "dW": 2.0},
    "dense-1": {"forward": 2.0, "dx": 1.4, "dW": 2.0},
    "pool": {"forward": 1.5, "dx": 1.5},
    "elementwise": {"forward": 1.0, "dx": 1.0, "forward+dx": 1.0, "step": 1.0},
    "elementwise-big": {"forward": 3.0, "dx": 3.0, "forward+dx": 3.0, "step": 3.0},
    "training": {"step": 1.8},
    "inference": {"forward": 2.0},
}
FLOOR = {"training": 1.2}
XLA_GOAL = 1.5
AS_GEOMETRIC_MEAN = ("training", "inference")


def goal(peer: str, group: str, op: str) -> tuple[float, float] | None:
    """What the typical ratio and the lowest one shall be; None where nothing is asked for."""
    if peer == "torch" and op in GOALS.get(group, {}):
        return GOALS[group][op], FLOOR.get(group, 1.0)
    if peer == "numpy" and group.startswith("dense") and op != "together":
        return 1.0, 1.0
    if peer == "onnxruntime" and op == "forward" and (group.startswith("conv") or group in ("depthwise", "pool")):
        return 1.0, 1.0
    if peer == "jax" and group in GOALS and op != "together":
        return XLA_GOAL, XLA_GOAL
    return None


class Typical(NamedTuple):
    """The ratio to one peer over the cases of a group: the median (geometric mean of whole nets), and the lowest."""

    ratio: float
    lowest: float
    worst: str
    cases: int
    goal: tuple[float, float] | None

    @property
    def met(self) -> bool | None:
        """Whether both are as we want them; None where nothing is asked for."""
        return None if self.goal is None else self.ratio >= self.goal[0] and self.lowest >= self.goal[1]


class Line(NamedTuple):
    """One group and op on one number of threads."""

    group: str
    op: str
    threads: int
    peers: dict[str, Typical]
    share: float | None  # of the machine's limit, median over the cases


def lines(results: Iterable[Result], peers: Sequence[str]) -> list[Line]:
    """One line for each group, op and number of threads that has a ratio to somebody."""
    sorted_out: dict[tuple[int, str, str], list[Result]] = {}
    for result in results:
        sorted_out.setdefault((result.threads, result.group, result.op), []).append(result)
    order = list(GROUPS)
    found = []
    for (threads, group, op), members in sorted_out.items():
        typical = {peer: t for peer in peers if (t := _typical(group, op, members, peer))}
        shares = [share for member in members if (share := member.share()) is not None]
        if typical:
            found.append(Line(group, op, threads, typical, median(shares) if shares else None))
    return sorted(found, key=lambda line: (line.threads, order.index(line.group) if line.group in order else -1))


def _typical(group: str, op: str, members: list[Result], peer: str) -> Typical | None:
    ratios = {member.name: ratio.median for member in members if (ratio := member.ratio(peer))}
    if not ratios:
        return None
    worst = min(ratios, key=ratios.__getitem__)
    middle = geometric_mean(ratios.values()) if group in AS_GEOMETRIC_MEAN else median(ratios.values())
    return Typical(middle, ratios[worst], worst, len(ratios), goal(peer, group, op))
